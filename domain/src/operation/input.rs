//! What can happen to an operation.

use super::state::{Amount, OperationError, OperationKind};
use crate::OperationId;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The step of that name begins; the one before is done.
    Advance {
        step: &'static str,
        progress: u8,
    },
    /// The step that runs has come this far.
    Measure {
        progress: u8,
        amount: Amount,
    },
    Succeed,
    Fail(OperationError),
    Cancel,
}

/// What a target's step wants of its operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Begin { id: OperationId, kind: OperationKind, actor: String },
    Apply { id: OperationId, input: Input },
}
