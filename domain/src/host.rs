//! A host: a machine that runs VMs, what it can do, and whether it can be relied on.
//!
//! ```text
//! (registered) -> healthy <-> degraded      heard of
//!                    \  /
//!                   offline                 not heard of for a while
//! ```

pub mod capability;
pub mod effect;
pub mod input;
pub mod invariant;
pub mod state;
pub mod step;

pub use capability::{Capabilities, Capability, Lacking, Offer};
pub use effect::{Effect, Step};
pub use input::{Command, Input, Observed, Ticket};
pub use state::{Facts, Host, State, VmmFacts};
pub use step::{Refused, merge, merged, register, step};
