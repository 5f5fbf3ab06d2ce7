//! What happens next to an image.

use super::{
    effect::{Effect, Step},
    input::{Command, Finished, Input, Ticket},
    state::{Image, ImageKind, ImageSpec, State},
};
use crate::{
    Attempt, Generation, ImageId, Labels, Name, OperationId, Timestamp,
    event::{Datum, Draft as EventDraft},
    operation::{self, Change as OperationChange, OperationError, OperationKind},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the image is used by VMs")]
    InUse,
    #[error("the image is still being imported")]
    Importing,
    #[error("the image is being deleted")]
    Deleting,
    #[error("only a kernel can be the default kernel")]
    NotAKernel,
}

/// All that a new image is made from.
#[derive(Debug, Clone)]
pub struct Draft {
    pub id: ImageId,
    pub name: Name,
    pub project: Name,
    pub labels: Labels,
    pub spec: ImageSpec,
}

pub fn create(draft: Draft, ticket: Ticket, now: Timestamp) -> Step {
    let image = Image {
        id: draft.id,
        name: draft.name,
        project: draft.project,
        labels: draft.labels,
        generation: Generation(1),
        created_at: now,
        updated_at: now,
        spec: draft.spec,
        state: State::Importing,
        attempt: Attempt(1),
        operation: Some(ticket.operation),
    };
    Step {
        events: vec![event("image-created", &ticket)],
        operations: vec![
            OperationChange::Begin { id: ticket.operation, kind: OperationKind::ImageCreate, actor: ticket.actor },
            advance(ticket.operation, "import", 10),
        ],
        effects: vec![Effect::Import(image.spec.clone())],
        next: Some(image),
    }
}

pub fn step(image: &Image, input: Input, now: Timestamp) -> Result<Step, Refused> {
    let mut next = image.clone();
    next.generation = next.generation.next();
    next.updated_at = now;
    match (&image.state, input) {
        (state, Input::Command { command: Command::Delete { users }, ticket }) => match state {
            // A half-made import must end first: its files are not known yet.
            State::Importing => Err(Refused::Importing),
            State::Deleting => Err(Refused::Deleting),
            State::Ready(_) | State::Failed { .. } if users > 0 => Err(Refused::InUse),
            State::Ready(_) | State::Failed { .. } => Ok(begin_delete(next, ticket)),
        },
        // Looks change at any time; nothing outside has to follow.
        (state, Input::Command { command: Command::Update { name, labels, default, description }, ticket }) => {
            if *state == State::Deleting {
                return Err(Refused::Deleting);
            }
            if default == Some(true) && image.spec.kind != ImageKind::Kernel {
                return Err(Refused::NotAKernel);
            }
            next.name = name.unwrap_or(next.name);
            next.labels = labels.unwrap_or(next.labels);
            next.spec.default = default.unwrap_or(next.spec.default);
            next.spec.description = description.unwrap_or(next.spec.description);
            Ok(Step { next: Some(next), events: vec![event("image-updated", &ticket)], operations: vec![], effects: vec![] })
        }
        // An answer to an older attempt says nothing about this one.
        (_, Input::Finished { attempt, .. }) if attempt != image.attempt => Ok(unchanged(image)),
        (State::Importing, Input::Finished { result, .. }) => Ok(match result {
            Finished::Imported(files) => {
                let data = vec![("digest", Datum::Text(files.digest.clone())), ("size_bytes", Datum::Number(files.size_bytes))];
                next.state = State::Ready(files);
                end(next, "image-ready", data, operation::Input::Succeed)
            }
            Finished::ImportFailed { code, detail } => {
                next.state = State::Failed { code: code.clone(), detail: detail.clone() };
                let data = vec![("reason", Datum::Text(code.clone())), ("detail", Datum::Text(detail.clone()))];
                let hint = "mend the cause, delete the image and create it again".to_owned();
                end(next, "image-failed", data, operation::Input::Fail(OperationError { code, detail, hint }))
            }
            Finished::Removed | Finished::RemoveFailed { .. } => unchanged(image),
        }),
        (State::Deleting, Input::Finished { result, .. }) => Ok(match result {
            Finished::Removed => {
                let mut step = end(next, "image-deleted", vec![], operation::Input::Succeed);
                step.next = None;
                step
            }
            Finished::RemoveFailed { detail } => {
                next.state = State::Failed { code: "remove-failed".to_owned(), detail: detail.clone() };
                let data = vec![("reason", Datum::Text("remove-failed".to_owned())), ("detail", Datum::Text(detail.clone()))];
                let hint = "mend the cause and delete the image again".to_owned();
                let error = OperationError { code: "remove-failed".to_owned(), detail, hint };
                end(next, "image-failed", data, operation::Input::Fail(error))
            }
            Finished::Imported(_) | Finished::ImportFailed { .. } => unchanged(image),
        }),
        (State::Ready(_) | State::Failed { .. }, Input::Finished { .. }) => Ok(unchanged(image)),
        // A crash in the middle: the effect is idempotent and is done again under a new number.
        (State::Importing, Input::Recovered) => {
            next.attempt = next.attempt.next();
            Ok(Step { effects: vec![Effect::Import(next.spec.clone())], next: Some(next), events: vec![], operations: vec![] })
        }
        (State::Deleting, Input::Recovered) => {
            next.attempt = next.attempt.next();
            Ok(Step { effects: vec![Effect::Remove], next: Some(next), events: vec![], operations: vec![] })
        }
        (State::Ready(_) | State::Failed { .. }, Input::Recovered) => Ok(unchanged(image)),
    }
}

fn unchanged(image: &Image) -> Step {
    Step { next: Some(image.clone()), events: vec![], operations: vec![], effects: vec![] }
}

fn begin_delete(mut next: Image, ticket: Ticket) -> Step {
    next.state = State::Deleting;
    next.attempt = next.attempt.next();
    next.operation = Some(ticket.operation);
    Step {
        next: Some(next),
        events: vec![event("image-deleting", &ticket)],
        operations: vec![
            OperationChange::Begin { id: ticket.operation, kind: OperationKind::ImageDelete, actor: ticket.actor },
            advance(ticket.operation, "remove", 10),
        ],
        effects: vec![Effect::Remove],
    }
}

/// The work ends: one event, and the end of the operation that it belonged to.
fn end(mut next: Image, name: &'static str, data: Vec<(&'static str, Datum)>, how: operation::Input) -> Step {
    let operation: Option<OperationId> = next.operation.take();
    Step {
        events: vec![EventDraft { name, actor: None, operation, data }],
        operations: operation.map(|id| OperationChange::Apply { id, input: how }).into_iter().collect(),
        effects: vec![],
        next: Some(next),
    }
}

fn advance(id: OperationId, step: &'static str, progress: u8) -> OperationChange {
    OperationChange::Apply { id, input: operation::Input::Advance { step, progress } }
}

fn event(name: &'static str, ticket: &Ticket) -> EventDraft {
    EventDraft { name, actor: Some(ticket.actor.clone()), operation: Some(ticket.operation), data: vec![] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Files;

    fn ticket() -> Ticket {
        Ticket { operation: OperationId::from_bits(9), actor: "user:admin".into() }
    }

    fn image(state: State) -> Image {
        let spec = ImageSpec { kind: ImageKind::Rootfs, path: "/a".into(), initrd: None, default: false, description: None };
        let name: Name = "base".parse().expect("a name");
        let draft = Draft { id: ImageId::from_bits(1), name: name.clone(), project: name, labels: Labels::new(), spec };
        let mut image = create(draft, ticket(), Timestamp(1)).next.expect("an image");
        if matches!(state, State::Ready(_) | State::Failed { .. }) {
            image.operation = None;
        }
        image.state = state;
        image
    }

    fn files() -> Files {
        Files { digest: "sha256:0".into(), size_bytes: 1, initrd_digest: None, initrd_size_bytes: 0 }
    }

    fn failed() -> State {
        State::Failed { code: "x".into(), detail: "y".into() }
    }

    /// Each row: a state, an input, and the state after it (`gone`) or the refusal.
    #[test]
    fn every_state_by_every_input() {
        let finished = |result| Input::Finished { attempt: Attempt(1), result };
        let delete = |users| Input::Command { command: Command::Delete { users }, ticket: ticket() };
        let update = || Input::Command {
            command: Command::Update { name: None, labels: None, default: None, description: None },
            ticket: ticket(),
        };
        let inputs: Vec<(Input, [&str; 4])> = vec![
            (delete(0), ["still", "deleting", "deleting", "being deleted"]),
            (delete(1), ["still", "used", "used", "being deleted"]),
            (update(), ["importing", "ready", "failed", "being deleted"]),
            (finished(Finished::Imported(files())), ["ready", "ready", "failed", "deleting"]),
            (
                finished(Finished::ImportFailed { code: "c".into(), detail: "d".into() }),
                ["failed", "ready", "failed", "deleting"],
            ),
            (finished(Finished::Removed), ["importing", "ready", "failed", "gone"]),
            (finished(Finished::RemoveFailed { detail: "d".into() }), ["importing", "ready", "failed", "failed"]),
            (Input::Recovered, ["importing", "ready", "failed", "deleting"]),
        ];
        let states = [State::Importing, State::Ready(files()), failed(), State::Deleting];
        for (input, expected) in inputs {
            for (state, expected) in states.iter().zip(expected) {
                let before = image(state.clone());
                let got = match step(&before, input.clone(), Timestamp(2)) {
                    Err(refused) => refused.to_string(),
                    Ok(step) => {
                        if let Some(next) = &step.next {
                            super::super::invariant::check(next).expect("the invariants hold");
                        }
                        step.next.map_or("gone".to_owned(), |next| next.state.name().to_owned())
                    }
                };
                assert!(got.contains(expected), "{} + {input:?}: {got}, not {expected}", state.name());
            }
        }
    }

    #[test]
    fn an_older_attempts_answer_is_ignored() {
        let mut before = image(State::Importing);
        before.attempt = Attempt(2);
        let input = Input::Finished { attempt: Attempt(1), result: Finished::Imported(files()) };
        assert_eq!(step(&before, input, Timestamp(2)).expect("accepted").next, Some(before));
    }

    #[test]
    fn only_a_kernel_is_a_default_kernel() {
        let command = Command::Update { name: None, labels: None, default: Some(true), description: None };
        let input = Input::Command { command, ticket: ticket() };
        assert_eq!(step(&image(State::Ready(files())), input, Timestamp(2)), Err(Refused::NotAKernel));
    }
}
