//! The actors of a node: one per VM, host, image and operation, under one supervisor a kind, under the node's root.
//!
//! An actor translates a message into an input, lets `domain` decide, commits the decision to the journal, shows it in the view, then
//! carries out the effects, whose results come back as messages. No rule of hearth's is decided here.
//!
//! ```text
//! Node ─┬─ Vms ──────── Vm, Vm, …           a failed child is loaded again from the journal, with back-off and a budget
//!       ├─ Images ───── Image, …
//!       ├─ Hosts ────── Host
//!       ├─ Operations ─ Operation, …        one while it runs and somebody waits
//!       └─ Webhooks ─── Webhook, …
//! ```
//! Calls go down, casts go up. Every call has a deadline. Start with [`Node`].

pub mod ambient;
mod ask;
mod commit;
pub mod error;
#[cfg(any(test, feature = "faults"))]
pub mod faults;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod host;
pub mod idempotency;
pub mod image;
pub mod node;
pub mod operation;
pub mod shared;
mod supervise;
pub mod view;
pub mod vm;
pub mod webhook;

pub use commit::decode_event;
pub use error::{CommandError, StartError};
pub use node::{
    Accepted, ActorInfo, Doing, IfMatch, ImageCommand, KindInfo, NewImage, NewVm, NewWebhook, Node, Parts, Ports, Tree,
    TreeQuery, Who,
};
pub use shared::HostProbe;
pub use view::View;
