//! What happens next to an operation.

use super::{
    effect::{Effect, Step},
    input::Input,
    state::{Amount, Operation, OperationKind, STEPS_MAX, Status, StepRecord, StepStatus, Target},
};
use crate::{Generation, Name, OperationId, Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the operation has ended")]
    Ended,
}

/// A new operation, running.
pub fn begin(id: OperationId, kind: OperationKind, target: Target, project: Name, actor: String, now: Timestamp) -> Operation {
    Operation {
        id,
        kind,
        target,
        project,
        actor,
        generation: Generation(1),
        created_at: now,
        updated_at: now,
        status: Status::Running,
        progress: 0,
        steps: Vec::new(),
        amount: None,
    }
}

pub fn step(operation: &Operation, input: Input, now: Timestamp) -> Result<Step, Refused> {
    let mut next = operation.clone();
    next.updated_at = now;
    next.generation = next.generation.next();
    match (&operation.status, input) {
        // What has ended never changes: late reports of an effect find it closed.
        (Status::Succeeded | Status::Failed(_) | Status::Cancelled, _) => Err(Refused::Ended),
        (Status::Running, Input::Advance { step, progress }) => {
            close_step(&mut next, StepStatus::Done, now);
            if next.steps.len() < STEPS_MAX {
                next.steps.push(StepRecord {
                    name: step.to_owned(),
                    status: StepStatus::Running,
                    started_at: now,
                    ended_at: None,
                });
            }
            // Progress never goes back, and 100 is for success alone.
            next.progress = next.progress.max(progress.min(99));
            Ok(Step { next, effects: Vec::new() })
        }
        (Status::Running, Input::Measure { progress, amount }) => {
            next.progress = next.progress.max(progress.min(99));
            // Work that is begun again after a crash counts from where it was seen last.
            let done_bytes = next.amount.map_or(0, |known| known.done_bytes).max(amount.done_bytes);
            next.amount = Some(Amount { done_bytes: done_bytes.min(amount.total_bytes), total_bytes: amount.total_bytes });
            Ok(Step { next, effects: Vec::new() })
        }
        (Status::Running, Input::Succeed) => {
            close_step(&mut next, StepStatus::Done, now);
            next.progress = 100;
            next.status = Status::Succeeded;
            Ok(Step { next, effects: vec![Effect::WakeWaiters] })
        }
        (Status::Running, Input::Fail(error)) => {
            close_step(&mut next, StepStatus::Failed, now);
            next.status = Status::Failed(error);
            Ok(Step { next, effects: vec![Effect::WakeWaiters] })
        }
        (Status::Running, Input::Cancel) => {
            close_step(&mut next, StepStatus::Failed, now);
            next.status = Status::Cancelled;
            Ok(Step { next, effects: vec![Effect::WakeWaiters] })
        }
    }
}

fn close_step(operation: &mut Operation, status: StepStatus, now: Timestamp) {
    if let Some(last) = operation.steps.last_mut()
        && last.status == StepStatus::Running
    {
        last.status = status;
        last.ended_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::Kind, operation::OperationError};

    fn fresh() -> Operation {
        let name: Name = "demo".parse().expect("a name");
        let target = Target { kind: Kind::Vm, id: "vm_x".into(), name: name.clone() };
        begin(OperationId::from_bits(1), OperationKind::VmStart, target, name, "user:admin".into(), Timestamp(5))
    }

    fn error() -> OperationError {
        OperationError { code: "x".into(), detail: "y".into(), hint: "z".into() }
    }

    #[test]
    fn every_state_by_every_input() {
        let measure = Input::Measure { progress: 20, amount: Amount { done_bytes: 3, total_bytes: 2 } };
        let inputs =
            [measure, Input::Advance { step: "boot", progress: 50 }, Input::Succeed, Input::Fail(error()), Input::Cancel];
        let statuses = [Status::Running, Status::Succeeded, Status::Failed(error()), Status::Cancelled];
        for status in statuses {
            for input in &inputs {
                let mut operation = fresh();
                operation.status = status.clone();
                let result = step(&operation, input.clone(), Timestamp(6));
                assert_eq!(result.is_ok(), status == Status::Running, "{status:?} {input:?}");
                if let Ok(step) = result {
                    assert_eq!(step.next.generation, Generation(2));
                    assert_eq!(step.next.status.is_final(), !step.effects.is_empty());
                    super::super::invariant::check(&step.next).expect("the invariants hold");
                }
            }
        }
    }

    #[test]
    fn progress_never_goes_back_and_steps_are_bounded() {
        let mut operation = fresh();
        for n in 0..100 {
            let progress = if n == 0 { 90 } else { 10 };
            operation = step(&operation, Input::Advance { step: "again", progress }, Timestamp(6)).expect("running").next;
            assert_eq!(operation.progress, 90);
        }
        assert_eq!(operation.steps.len(), STEPS_MAX);
    }

    #[test]
    fn bytes_never_go_back() {
        let mut operation = fresh();
        for (done, shown) in [(10, 10), (4, 10), (11, 11)] {
            let amount = Amount { done_bytes: done, total_bytes: 20 };
            operation = step(&operation, Input::Measure { progress: 1, amount }, Timestamp(6)).expect("running").next;
            assert_eq!(operation.amount.map(|amount| amount.done_bytes), Some(shown));
        }
    }
}
