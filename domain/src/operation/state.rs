//! What an operation is.

use crate::{Generation, Name, OperationId, Timestamp, event};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OperationKind {
    VmCreate,
    VmStart,
    VmStop,
    VmPause,
    VmResume,
    VmReboot,
    VmDelete,
    ImageCreate,
    ImageDelete,
}

impl OperationKind {
    pub fn as_str(self) -> &'static str {
        match self {
            OperationKind::VmCreate => "vm-create",
            OperationKind::VmStart => "vm-start",
            OperationKind::VmStop => "vm-stop",
            OperationKind::VmPause => "vm-pause",
            OperationKind::VmResume => "vm-resume",
            OperationKind::VmReboot => "vm-reboot",
            OperationKind::VmDelete => "vm-delete",
            OperationKind::ImageCreate => "image-create",
            OperationKind::ImageDelete => "image-delete",
        }
    }
}

/// The resource that the operation works on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub kind: event::Kind,
    pub id: String,
    pub name: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    Running,
    Succeeded,
    Failed(OperationError),
    Cancelled,
}

impl Status {
    pub fn is_final(&self) -> bool {
        !matches!(self, Status::Running)
    }

    pub fn as_str(&self) -> &'static str {
        match self {
            Status::Running => "running",
            Status::Succeeded => "succeeded",
            Status::Failed(_) => "failed",
            Status::Cancelled => "cancelled",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationError {
    pub code: String,
    pub detail: String,
    pub hint: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    pub name: String,
    pub status: StepStatus,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepStatus {
    Running,
    Done,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    pub id: OperationId,
    pub kind: OperationKind,
    pub target: Target,
    pub project: Name,
    pub actor: String,
    pub generation: Generation,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub status: Status,
    /// Per cent.
    pub progress: u8,
    /// At most [`STEPS_MAX`], in the order in which they began.
    pub steps: Vec<StepRecord>,
    /// Of work that is measured in bytes; never goes back while the total stays.
    pub amount: Option<Amount>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    pub done_bytes: u64,
    pub total_bytes: u64,
}

/// A procedure of ours has five steps; one that goes round in circles must not fill the journal.
pub const STEPS_MAX: usize = 32;
