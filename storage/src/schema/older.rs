//! The shapes that records had in earlier schemas, and what became of them.

use domain::{
    Generation, Name, OperationId, Timestamp,
    operation::{Operation, OperationKind, Status, StepRecord, Target},
};
use serde::{Deserialize, Serialize};

/// Schema 1 of an operation: without what was done in bytes.
#[derive(Serialize, Deserialize)]
pub(super) struct Operation1 {
    id: OperationId,
    kind: OperationKind,
    target: Target,
    project: Name,
    actor: String,
    generation: Generation,
    created_at: Timestamp,
    updated_at: Timestamp,
    status: Status,
    progress: u8,
    steps: Vec<StepRecord>,
}

impl From<Operation1> for Operation {
    fn from(old: Operation1) -> Operation {
        Operation {
            id: old.id,
            kind: old.kind,
            target: old.target,
            project: old.project,
            actor: old.actor,
            generation: old.generation,
            created_at: old.created_at,
            updated_at: old.updated_at,
            status: old.status,
            progress: old.progress,
            steps: old.steps,
            amount: None,
        }
    }
}
