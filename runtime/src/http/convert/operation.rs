//! An operation's record.

use super::time;
use api::{problem::Problem, v1};
use domain::operation::{NotCancellable, Operation, OperationError, Status, StepStatus};

/// `cancellable`: as the machine of its target judges it now.
pub fn operation(record: &Operation, cancellable: Result<(), NotCancellable>) -> v1::Operation {
    v1::Operation {
        id: record.id.to_string(),
        kind: record.kind.as_str().to_owned(),
        target: v1::operation::Target {
            kind: record.target.kind.as_str().to_owned(),
            id: record.target.id.clone(),
            name: record.target.name.to_string(),
        },
        project: record.project.to_string(),
        actor: record.actor.clone(),
        generation: record.generation.0,
        created_at: time(record.created_at),
        updated_at: time(record.updated_at),
        status: match record.status {
            Status::Running => v1::OperationStatus::Running,
            Status::Succeeded => v1::OperationStatus::Succeeded,
            Status::Failed(_) => v1::OperationStatus::Failed,
            Status::Cancelled => v1::OperationStatus::Cancelled,
        },
        progress: record.progress,
        error: match &record.status {
            Status::Failed(error) => Some(problem(error)),
            Status::Running | Status::Succeeded | Status::Cancelled => None,
        },
        done_bytes: record.amount.map(|amount| amount.done_bytes),
        total_bytes: record.amount.map(|amount| amount.total_bytes),
        cancellable: cancellable.is_ok(),
        cancel_refused: cancellable.err().map(|why| why.to_string()),
        steps: record
            .steps
            .iter()
            .map(|step| v1::OperationStep {
                name: step.name.clone(),
                status: match step.status {
                    StepStatus::Running => v1::StepStatus::Running,
                    StepStatus::Done => v1::StepStatus::Done,
                    StepStatus::Failed => v1::StepStatus::Failed,
                },
                started_at: time(step.started_at),
                ended_at: step.ended_at.map(time),
            })
            .collect(),
    }
}

fn problem(error: &OperationError) -> Problem {
    Problem {
        problem_type: "about:blank".to_owned(),
        title: "the operation failed".to_owned(),
        code: error.code.clone(),
        detail: error.detail.clone(),
        hint: error.hint.clone(),
        ..Problem::default()
    }
}
