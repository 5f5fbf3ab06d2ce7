//! hearth's decisions, without I/O: what each VM, host, image and operation is, which states it has, and what happens next.
//!
//! Nothing here reads a clock, draws randomness, waits or touches the machine. Time and ids arrive with the input; effects are data
//! that the actors carry out. The same code decides on a real host and in the simulator.
//!
//! Start with [`vm::step()`]: one table of state and input. The other machines have the same five files.

pub mod capacity;
pub mod event;
pub mod host;
pub mod idempotency;
pub mod ids;
pub mod image;
pub mod integrity;
pub mod invariant;
pub mod ipam;
pub mod mutant;
pub mod name;
pub mod operation;
pub mod units;
pub mod vm;
pub mod webhook;

pub use ids::{HostId, ImageId, OperationId, VmId, WebhookId};
pub use name::{Labels, Name, NameError};
pub use units::{Attempt, Generation, Timestamp};
