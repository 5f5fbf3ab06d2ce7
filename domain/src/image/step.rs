//! What happens next to an image.

use super::{
    effect::{Effect, Step},
    input::{Command, Finished, Input, Ticket},
    state::{Image, ImageKind, ImageSpec, State},
};
use crate::{
    Attempt, Generation, ImageId, Labels, Name, OperationId, Timestamp,
    event::{Datum, Draft as EventDraft},
    operation::{self, Amount, Change as OperationChange, NotCancellable, OperationError, OperationKind},
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
    #[error(transparent)]
    NotCancellable(NotCancellable),
}

/// An import's progress in per cent, from its first byte to its last; then the file is synced and put in its place.
const IMPORT_FROM: u8 = 10;
const IMPORTED_AT: u8 = 95;

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
            advance(ticket.operation, "import", IMPORT_FROM),
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
            State::Deleting | State::Cancelling => Err(Refused::Deleting),
            State::Ready(_) | State::Failed { .. } if users > 0 => Err(Refused::InUse),
            State::Ready(_) | State::Failed { .. } => Ok(begin_delete(next, ticket)),
        },
        // Looks change at any time; nothing outside has to follow.
        (state, Input::Command { command: Command::Update { name, labels, default, description }, ticket }) => {
            if matches!(state, State::Deleting | State::Cancelling) {
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
        (_, Input::Command { command: Command::Cancel { operation }, ticket }) => {
            cancellable(image, operation).map_err(Refused::NotCancellable)?;
            Ok(begin_cancel(next, operation, &ticket))
        }
        // An answer to an older attempt says nothing about this one.
        (_, Input::Finished { attempt, .. } | Input::Progressed { attempt, .. }) if attempt != image.attempt => {
            Ok(unchanged(image))
        }
        (State::Importing, Input::Progressed { amount, .. }) => Ok(measured(image, amount)),
        (_, Input::Progressed { .. }) => Ok(unchanged(image)),
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
            Finished::RemoveFailed { detail } => remove_failed(next, detail),
            Finished::Imported(_) | Finished::ImportFailed { .. } => unchanged(image),
        }),
        (State::Cancelling, Input::Finished { result, .. }) => Ok(match result {
            Finished::Removed => {
                let mut step = end(next, "image-deleted", vec![], operation::Input::Cancel);
                step.next = None;
                step
            }
            Finished::RemoveFailed { detail } => remove_failed(next, detail),
            Finished::Imported(_) | Finished::ImportFailed { .. } => unchanged(image),
        }),
        (State::Ready(_) | State::Failed { .. }, Input::Finished { .. }) => Ok(unchanged(image)),
        // A crash in the middle: the effect is idempotent and is done again under a new number.
        (State::Importing, Input::Recovered) => {
            next.attempt = next.attempt.next();
            Ok(Step { effects: vec![Effect::Import(next.spec.clone())], next: Some(next), events: vec![], operations: vec![] })
        }
        (State::Deleting | State::Cancelling, Input::Recovered) => {
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

/// Whether `operation` may be cancelled now.
pub fn cancellable(image: &Image, operation: OperationId) -> Result<(), NotCancellable> {
    match &image.state {
        _ if image.operation != Some(operation) => Err(NotCancellable::Ended),
        State::Importing => Ok(()),
        State::Cancelling => Err(NotCancellable::Already),
        State::Deleting => Err(NotCancellable::DeletionBegun),
        // Nothing is in flight there.
        State::Ready(_) | State::Failed { .. } => Err(NotCancellable::Ended),
    }
}

/// Half an image is of no use: what the import left is removed, and the image with it.
fn begin_cancel(mut next: Image, operation: OperationId, ticket: &Ticket) -> Step {
    next.state = State::Cancelling;
    next.attempt = next.attempt.next();
    let mut deleting = event("image-deleting", ticket);
    deleting.operation = Some(operation);
    Step {
        events: vec![deleting],
        operations: vec![advance(operation, "remove", 90)],
        effects: vec![Effect::Remove],
        next: Some(next),
    }
}

/// The image is as it was; its operation has come further.
fn measured(image: &Image, amount: Amount) -> Step {
    let mut step = unchanged(image);
    let share = u128::from(amount.done_bytes) * u128::from(IMPORTED_AT - IMPORT_FROM) / u128::from(amount.total_bytes.max(1));
    let progress = IMPORT_FROM.saturating_add(u8::try_from(share).unwrap_or(u8::MAX)).min(IMPORTED_AT);
    step.operations
        .extend(image.operation.map(|id| OperationChange::Apply { id, input: operation::Input::Measure { progress, amount } }));
    step
}

fn remove_failed(mut next: Image, detail: String) -> Step {
    next.state = State::Failed { code: "remove-failed".to_owned(), detail: detail.clone() };
    let data = vec![("reason", Datum::Text("remove-failed".to_owned())), ("detail", Datum::Text(detail.clone()))];
    let hint = "mend the cause and delete the image again".to_owned();
    let error = OperationError { code: "remove-failed".to_owned(), detail, hint };
    end(next, "image-failed", data, operation::Input::Fail(error))
}

/// The image's actor keeps failing over this record: it is set aside. What is left of it goes with its deletion.
pub fn quarantine(image: &Image, error: &str, now: Timestamp) -> Step {
    let mut next = image.clone();
    match &image.state {
        // A good image stays one: VMs go on booting from it.
        State::Ready(_) | State::Failed { .. } => return unchanged(image),
        State::Importing | State::Deleting | State::Cancelling => {}
    }
    next.generation = next.generation.next();
    next.updated_at = now;
    next.attempt = next.attempt.next();
    next.state = State::Failed { code: "actor-failed".to_owned(), detail: error.to_owned() };
    let data = vec![("reason", Datum::Text("actor-failed".to_owned())), ("detail", Datum::Text(error.to_owned()))];
    let hint = "this is a bug of hearth: please report it with the server's log".to_owned();
    let failure = OperationError { code: "actor-failed".to_owned(), detail: error.to_owned(), hint };
    end(next, "image-failed", data, operation::Input::Fail(failure))
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
        let cancel =
            |bits| Input::Command { command: Command::Cancel { operation: OperationId::from_bits(bits) }, ticket: ticket() };
        let amount = Amount { done_bytes: 1, total_bytes: 2 };
        let inputs: Vec<(Input, [&str; 5])> = vec![
            (delete(0), ["still", "deleting", "deleting", "being deleted", "being deleted"]),
            (delete(1), ["still", "used", "used", "being deleted", "being deleted"]),
            (update(), ["importing", "ready", "failed", "being deleted", "being deleted"]),
            (finished(Finished::Imported(files())), ["ready", "ready", "failed", "deleting", "deleting"]),
            (
                finished(Finished::ImportFailed { code: "c".into(), detail: "d".into() }),
                ["failed", "ready", "failed", "deleting", "deleting"],
            ),
            (finished(Finished::Removed), ["importing", "ready", "failed", "gone", "gone"]),
            (finished(Finished::RemoveFailed { detail: "d".into() }), ["importing", "ready", "failed", "failed", "failed"]),
            (Input::Recovered, ["importing", "ready", "failed", "deleting", "deleting"]),
            (cancel(9), ["deleting", "has ended", "has ended", "deletion can't", "being cancelled already"]),
            (cancel(8), ["has ended", "has ended", "has ended", "has ended", "has ended"]),
            (Input::Progressed { attempt: Attempt(1), amount }, ["importing", "ready", "failed", "deleting", "deleting"]),
        ];
        let states = [State::Importing, State::Ready(files()), failed(), State::Deleting, State::Cancelling];
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

    fn input(before: &Image, input: Input) -> Step {
        step(before, input, Timestamp(3)).expect("accepted")
    }

    #[test]
    fn an_import_that_is_cancelled_leaves_nothing_also_after_a_crash() {
        let command = Command::Cancel { operation: OperationId::from_bits(9) };
        let cancelled = input(&image(State::Importing), Input::Command { command, ticket: ticket() });
        assert_eq!(cancelled.effects, [Effect::Remove]);
        let cancelling = cancelled.next.expect("still there");
        // The copy that ends all the same is of an older attempt.
        let late = Input::Finished { attempt: Attempt(1), result: Finished::Imported(files()) };
        assert_eq!(input(&cancelling, late).next.as_ref(), Some(&cancelling));
        let recovered = input(&cancelling, Input::Recovered);
        assert_eq!(recovered.effects, [Effect::Remove]);
        let attempt = recovered.next.as_ref().expect("still there").attempt;
        let gone = input(&recovered.next.expect("still there"), Input::Finished { attempt, result: Finished::Removed });
        let ended = OperationChange::Apply { id: OperationId::from_bits(9), input: operation::Input::Cancel };
        assert_eq!((gone.next, gone.operations), (None, vec![ended]));
    }

    #[test]
    fn bytes_move_the_operation_and_not_the_image() {
        let before = image(State::Importing);
        let mut told = Vec::new();
        for done_bytes in [0, 50, 100, 200] {
            let amount = Amount { done_bytes, total_bytes: 100 };
            let step = input(&before, Input::Progressed { attempt: Attempt(1), amount });
            assert_eq!(step.next.as_ref(), Some(&before));
            let [OperationChange::Apply { input: operation::Input::Measure { progress, .. }, .. }] = step.operations[..] else {
                panic!("{step:?}")
            };
            told.push(progress);
        }
        assert_eq!(told, [IMPORT_FROM, 52, IMPORTED_AT, IMPORTED_AT]);
    }

    #[test]
    fn who_is_set_aside_ends_its_operation() {
        let set_aside = quarantine(&image(State::Importing), "it fell", Timestamp(4));
        let next = set_aside.next.expect("still there");
        super::super::invariant::check(&next).expect("the invariants hold");
        assert_eq!((next.state.name(), set_aside.operations.len()), ("failed", 1));
        let ready = image(State::Ready(files()));
        assert_eq!(quarantine(&ready, "it fell", Timestamp(4)).next, Some(ready), "VMs go on booting from it");
    }
}
