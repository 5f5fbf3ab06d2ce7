//! An operation: something that takes longer than a request, with its steps, progress and end.
//!
//! ```text
//! running --> succeeded | failed | cancelled        (final: nothing follows)
//! ```
//! While it runs, its record changes in the same atomic batch as its target's, so the two never disagree (docs/adr/0004).

pub mod cancel;
pub mod effect;
pub mod input;
pub mod invariant;
pub mod state;
pub mod step;

pub use cancel::NotCancellable;
pub use effect::{Effect, Step};
pub use input::{Change, Input};
pub use state::{Amount, Operation, OperationError, OperationKind, Status, StepRecord, StepStatus, Target};
pub use step::{Refused, begin, step};
