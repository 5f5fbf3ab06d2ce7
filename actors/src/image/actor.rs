//! One image's actor.

use super::supervisor::{self, ImagesMsg};
use crate::{
    commit::{Asked, Commit, Subject},
    error::{CommandError, chain},
    node::{Accepted, Who},
    operation::OperationsRef,
    shared::{Shared, new_id, now},
    supervise::{Address, Progress},
};
use domain::{
    Attempt, ImageId, OperationId,
    event::{Datum, Kind},
    image::{self, Command, Draft, Effect, Finished, Image, Input, Step, Ticket},
    operation::Amount,
};
use host::image::{Copied, Copying};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster_derive::RactorMessage;
use std::{sync::Arc, time::Duration};
use storage::schema;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};

/// Progress is telemetry, but it is written: not more often than people look, and only when a percentage has changed.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// An import takes as long as it takes, but it moves: a hundredth of the largest images on the slowest disks that we know takes this long.
const IMPORT_CHUNK_WITHIN: Duration = Duration::from_secs(60);
/// Files are unlinked; before that an import may have to end.
const REMOVE_WITHIN: Duration = Duration::from_secs(60);

/// A copy of a terabyte at 300 MB/s: what takes longer has no end.
const EFFECT_DEADLINE: Duration = Duration::from_secs(3_600);

pub(super) struct ImageActor;

type Reply = RpcReplyPort<Result<Accepted<Arc<Image>>, CommandError>>;

#[derive(RactorMessage)]
pub(super) enum ImageMsg {
    Create {
        draft: Box<Draft>,
        who: Who,
        reply_to: Reply,
    },
    Command {
        command: Command,
        who: Who,
        reply_to: Reply,
    },
    Progressed {
        attempt: Attempt,
        amount: Amount,
    },
    Done {
        attempt: Attempt,
        result: Finished,
    },
    /// Panics on purpose: what supervision is for is tested with it.
    #[cfg(any(test, feature = "faults"))]
    Crash,
}

impl ImageMsg {
    fn name(&self) -> &'static str {
        match self {
            ImageMsg::Create { .. } => "create",
            ImageMsg::Command { .. } => "command",
            ImageMsg::Progressed { .. } => "progressed",
            ImageMsg::Done { .. } => "done",
            #[cfg(any(test, feature = "faults"))]
            ImageMsg::Crash => "crash",
        }
    }
}

pub(super) struct Args {
    pub id: ImageId,
    pub shared: Arc<Shared>,
    pub operations: OperationsRef,
    pub parent: Address<ImagesMsg>,
    pub progress: Arc<Progress>,
    pub from: From,
}

/// Where an image's actor begins.
pub(super) enum From {
    /// The image is new, and `Create` comes first.
    Nothing,
    /// The record as the journal has it.
    Record(Arc<Image>),
    /// An earlier actor of this image failed, or was killed while it committed: what the journal has is the truth.
    Journal,
}

pub(super) struct State {
    args: Args,
    record: Option<Arc<Image>>,
    tasks: JoinSet<()>,
    /// The import under way. Aborted it gives up, and leaves nothing.
    import: Option<AbortHandle>,
}

impl Actor for ImageActor {
    type Msg = ImageMsg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, _: ActorRef<ImageMsg>, args: Args) -> Result<State, ActorProcessingErr> {
        args.shared.may_start(&args.id)?;
        let record = match &args.from {
            From::Record(record) => Some(Arc::clone(record)),
            From::Nothing | From::Journal => None,
        };
        Ok(State { args, record, tasks: JoinSet::new(), import: None })
    }

    async fn post_start(&self, myself: ActorRef<ImageMsg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        let _busy = state.args.progress.begin("recovered");
        let myself = Address::new(myself, Arc::clone(&state.args.progress));
        if matches!(state.args.from, From::Journal) {
            reload(state).await;
            let _ = state.args.parent.cast(ImagesMsg::Loaded { id: state.args.id, from: myself.id() });
            if state.record.is_none() {
                let _ = state.args.parent.cast(ImagesMsg::Gone { id: state.args.id });
                myself.drain();
            }
        }
        drive(state, &myself, Input::Recovered).await
    }

    async fn handle(&self, myself: ActorRef<ImageMsg>, message: ImageMsg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let _busy = state.args.progress.enter(message.name());
        let myself = Address::new(myself, Arc::clone(&state.args.progress));
        match message {
            ImageMsg::Create { draft, who, reply_to } => {
                let operation = OperationId::from_bits(new_id());
                let name = draft.name.clone();
                let step = image::create(*draft, Ticket { operation, actor: who.actor.clone() }, now());
                let asked = Asked { who: &who, kind: Kind::Image, id: state.args.id.to_string(), operation: Some(operation) };
                let answer = accept(state, &myself, step, asked).await;
                let failed = answer.is_err();
                if !failed {
                    let _ = state.args.parent.cast(ImagesMsg::NameSettled { id: state.args.id, name, from: myself.id() });
                }
                let _ = reply_to.send(answer);
                if failed {
                    let _ = state.args.parent.cast(ImagesMsg::Gone { id: state.args.id });
                    myself.stop();
                }
            }
            ImageMsg::Command { command, who, reply_to } => {
                let deletes = matches!(command, Command::Delete { .. });
                let renamed = match &command {
                    Command::Update { name, .. } => name.clone(),
                    _ => None,
                };
                let command = match command {
                    Command::Delete { .. } => Command::Delete { users: state.args.shared.image_use().close(state.args.id) },
                    other => other,
                };
                let answer = self::command(state, &myself, command, &who).await;
                if deletes && answer.is_err() {
                    // It stays, so VMs may boot from it again.
                    state.args.shared.image_use().open(state.args.id);
                }
                if let Some(name) = renamed {
                    let _ = state.args.parent.cast(ImagesMsg::NameSettled { id: state.args.id, name, from: myself.id() });
                }
                let _ = reply_to.send(answer);
            }
            #[cfg(any(test, feature = "faults"))]
            ImageMsg::Crash => panic!("told to"),
            ImageMsg::Progressed { attempt, amount } => drive(state, &myself, Input::Progressed { attempt, amount }).await?,
            ImageMsg::Done { attempt, result } => {
                state.args.progress.performed();
                while state.tasks.try_join_next().is_some() {}
                drive(state, &myself, Input::Finished { attempt, result }).await?;
                // Who is on the way to it hears that it is no more.
                if state.record.is_none() {
                    myself.drain();
                }
            }
        }
        Ok(())
    }
}

/// The record as the journal has it, into the view with its operation.
async fn reload(state: &mut State) {
    let (shared, id) = (Arc::clone(&state.args.shared), state.args.id);
    let shown = shared.view.image(id);
    let stored = {
        let _waits = Arc::clone(&state.args.progress).waits_for("the journal to settle");
        shared.stored(schema::IMAGES, id.to_string(), shown.clone()).await
    };
    supervisor::show(&shared, &state.args.operations, shown.as_ref(), stored.as_ref());
    state.record = stored;
}

async fn command(
    state: &mut State,
    myself: &Address<ImageMsg>,
    command: Command,
    who: &Who,
) -> Result<Accepted<Arc<Image>>, CommandError> {
    let gone = || CommandError::NotFound { kind: Kind::Image, reference: state.args.id.to_string() };
    let record = state.record.clone().ok_or_else(gone)?;
    if let Command::Cancel { operation } = command {
        if let Some(shown) = state.args.shared.view.operation(operation) {
            who.check(shown.generation)?;
        }
        let ticket = Ticket { operation, actor: who.actor.clone() };
        let step = image::step(&record, Input::Command { command, ticket }, now()).map_err(CommandError::Image)?;
        let asked = Asked { who, kind: Kind::Operation, id: operation.to_string(), operation: Some(operation) };
        return accept(state, myself, step, asked).await;
    }
    who.check(record.generation)?;
    let operation = matches!(command, Command::Delete { .. }).then(|| OperationId::from_bits(new_id()));
    let ticket = Ticket { operation: operation.unwrap_or(OperationId::from_bits(0)), actor: who.actor.clone() };
    let mut step = image::step(&record, Input::Command { command, ticket }, now()).map_err(CommandError::Image)?;
    if operation.is_none() {
        for event in &mut step.events {
            event.operation = None;
        }
    }
    let asked = Asked { who, kind: Kind::Image, id: state.args.id.to_string(), operation };
    accept(state, myself, step, asked).await
}

async fn accept(
    state: &mut State,
    myself: &Address<ImageMsg>,
    step: Step,
    asked: Asked<'_>,
) -> Result<Accepted<Arc<Image>>, CommandError> {
    let (before, operation) = (state.record.clone(), asked.operation);
    let effects = commit(state, step, Some(asked)).await?;
    let resource = state.record.clone().or(before).ok_or(CommandError::Restarting)?;
    perform(state, myself, &resource, effects);
    Ok(Accepted { resource, operation })
}

async fn drive(state: &mut State, myself: &Address<ImageMsg>, input: Input) -> Result<(), ActorProcessingErr> {
    let Some(record) = state.record.clone() else { return Ok(()) };
    let Ok(step) = image::step(&record, input, now()) else { return Ok(()) };
    let effects = commit(state, step, None).await.map_err(|error| ActorProcessingErr::from(chain(&error)))?;
    let shown = state.record.clone().unwrap_or(record);
    perform(state, myself, &shown, effects);
    Ok(())
}

async fn commit(state: &mut State, step: Step, asked: Option<Asked<'_>>) -> Result<Vec<Effect>, CommandError> {
    let before = state.record.clone();
    let next = step.next.map(Arc::new);
    let changed = before != next;
    if !changed && step.events.is_empty() && step.operations.is_empty() && asked.is_none() {
        return Ok(step.effects);
    }
    let id = state.args.id;
    let Some(subject) = next.clone().or(before) else { return Ok(step.effects) };
    let whose = Subject {
        kind: Kind::Image,
        id: id.to_string(),
        name: &subject.name,
        project: &subject.project,
        generation: subject.generation,
    };
    let shared = Arc::clone(&state.args.shared);
    let operations = state.args.operations.clone();
    let mut commit = Commit::new();
    match &next {
        // Only its operation has moved.
        Some(_) if !changed => {}
        Some(next) => commit.put(schema::IMAGES, id.to_string(), next.as_ref())?,
        None => commit.delete(schema::IMAGES, id.to_string()),
    }
    let mut events = step.events;
    for event in &mut events {
        event.data.insert(0, ("state", Datum::Text(subject.state.name().to_owned())));
    }
    commit.events(&whose, events)?;
    commit.operations(&shared, &whose, step.operations)?;
    if let Some(asked) = asked {
        commit.answer(asked.who, asked.kind, asked.id, asked.operation)?;
    }
    let show = || {
        match &next {
            Some(next) => shared.view.put_image(Arc::clone(next)),
            None => {
                shared.view.drop_image(id);
                let _ = state.args.parent.cast(ImagesMsg::Gone { id });
            }
        }
        state.record = next.clone();
    };
    let _waits = Arc::clone(&state.args.progress).waits_for("the journal");
    commit.write_with(&shared, &operations, show).await?;
    Ok(step.effects)
}

fn perform(state: &mut State, myself: &Address<ImageMsg>, record: &Arc<Image>, effects: Vec<Effect>) {
    for effect in effects {
        let (myself, shared, record) = (myself.clone(), Arc::clone(&state.args.shared), Arc::clone(record));
        if let Some(import) = state.import.take() {
            import.abort();
        }
        let imports = matches!(effect, Effect::Import(_));
        let (what, within) = if imports { ("import", IMPORT_CHUNK_WITHIN) } else { ("remove", REMOVE_WITHIN) };
        myself.progress().performs(what, within);
        let task = state.tasks.spawn(async move {
            let too_late = given_up_on(&effect);
            let attempt = record.attempt;
            let work = carry_out(&shared, &record, effect, &myself);
            let result = tokio::time::timeout(EFFECT_DEADLINE, work).await.unwrap_or(too_late);
            let _ = myself.cast(ImageMsg::Done { attempt, result });
        });
        state.import = imports.then_some(task);
    }
}

async fn carry_out(shared: &Shared, record: &Image, effect: Effect, myself: &Address<ImageMsg>) -> Finished {
    match effect {
        Effect::Import(spec) => {
            let copying: Arc<Copying> = Arc::default();
            let imported = tokio::select! {
                biased;
                imported = shared.images.import(record.id, &spec, &copying) => imported,
                never = tell(myself, record.attempt, copying.watch()) => match never {},
            };
            match imported {
                Ok(files) => Finished::Imported(files),
                Err(error) => Finished::ImportFailed { code: error.code().to_owned(), detail: chain(&error) },
            }
        }
        Effect::Remove => match shared.images.remove(record.id).await {
            Ok(()) => Finished::Removed,
            Err(error) => Finished::RemoveFailed { detail: chain(&error) },
        },
    }
}

/// Tells the actor how far the import is, for as long as there is one.
async fn tell(myself: &Address<ImageMsg>, attempt: Attempt, mut copied: watch::Receiver<Copied>) -> std::convert::Infallible {
    let mut told = 0;
    loop {
        if copied.changed().await.is_err() {
            // Nobody copies any more; the result is on its way.
            return std::future::pending().await;
        }
        let Copied { done_bytes, total_bytes } = *copied.borrow_and_update();
        let percent = u128::from(done_bytes) * 100 / u128::from(total_bytes.max(1));
        if percent == told {
            continue;
        }
        told = percent;
        // It moves: its deadline begins anew.
        myself.progress().performs("import", IMPORT_CHUNK_WITHIN);
        let amount = Amount { done_bytes: done_bytes.min(total_bytes), total_bytes };
        let _ = myself.cast(ImageMsg::Progressed { attempt, amount });
        tokio::time::sleep(TELL_EVERY).await;
    }
}

/// What an effect that never answers has ended as.
fn given_up_on(effect: &Effect) -> Finished {
    let detail = format!("the store did not answer within {} s", EFFECT_DEADLINE.as_secs());
    match effect {
        Effect::Import(_) => Finished::ImportFailed { code: "store-failed".to_owned(), detail },
        Effect::Remove => Finished::RemoveFailed { detail },
    }
}
