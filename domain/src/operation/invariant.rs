//! What is true of every operation at any time.

use super::state::{Operation, STEPS_MAX, Status, StepStatus};

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("progress is 100 exactly when the operation succeeded")]
    Progress,
    #[error("an ended operation has no running step")]
    RunningStep,
    #[error("too many steps")]
    Steps,
    #[error("more was done than there is to do")]
    Amount,
}

pub fn check(operation: &Operation) -> Result<(), Broken> {
    if (operation.progress == 100) != (operation.status == Status::Succeeded) {
        return Err(Broken::Progress);
    }
    if operation.status.is_final() && operation.steps.iter().any(|step| step.status == StepStatus::Running) {
        return Err(Broken::RunningStep);
    }
    if operation.steps.len() > STEPS_MAX {
        return Err(Broken::Steps);
    }
    if operation.amount.is_some_and(|amount| amount.done_bytes > amount.total_bytes) {
        return Err(Broken::Amount);
    }
    Ok(())
}
