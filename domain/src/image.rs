//! An image: a kernel or a root file system that VMs boot from, kept as a file of ours under its digest.
//!
//! ```text
//! importing -> ready -> deleting -> (gone)
//!     \-> failed ------/
//!     \-> cancelling -> (gone)
//! ```

pub mod effect;
pub mod input;
pub mod invariant;
pub mod state;
pub mod step;

pub use effect::{Effect, Step};
pub use input::{Command, Finished, Input, Ticket};
pub use state::{Files, Image, ImageKind, ImageSpec, State};
pub use step::{Draft, Refused, cancellable, create, quarantine, step};
