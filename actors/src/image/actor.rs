//! One image's actor.

use super::supervisor::ImagesMsg;
use crate::{
    commit::{Commit, Subject},
    error::{CommandError, chain},
    node::{Accepted, Who},
    operation::OperationsRef,
    shared::{Shared, new_id, now},
};
use domain::{
    Attempt, ImageId, OperationId,
    event::{Datum, Kind},
    image::{self, Command, Draft, Effect, Finished, Image, Input, Step, Ticket},
};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster_derive::RactorMessage;
use std::{sync::Arc, time::Duration};
use storage::schema;
use tokio::task::JoinSet;

/// A copy of a terabyte at 300 MB/s: what takes longer has no end.
const EFFECT_DEADLINE: Duration = Duration::from_secs(3_600);

pub(super) struct ImageActor;

type Reply = RpcReplyPort<Result<Accepted<Arc<Image>>, CommandError>>;

#[derive(RactorMessage)]
pub(super) enum ImageMsg {
    Create { draft: Box<Draft>, who: Who, reply_to: Reply },
    Command { command: Command, who: Who, reply_to: Reply },
    Done { attempt: Attempt, result: Finished },
}

pub(super) struct Args {
    pub id: ImageId,
    pub shared: Arc<Shared>,
    pub operations: OperationsRef,
    pub parent: ActorRef<ImagesMsg>,
    pub record: Option<Arc<Image>>,
}

pub(super) struct State {
    args: Args,
    tasks: JoinSet<()>,
}

impl Actor for ImageActor {
    type Msg = ImageMsg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, _: ActorRef<ImageMsg>, args: Args) -> Result<State, ActorProcessingErr> {
        Ok(State { args, tasks: JoinSet::new() })
    }

    async fn post_start(&self, myself: ActorRef<ImageMsg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        drive(state, &myself, Input::Recovered).await
    }

    async fn handle(&self, myself: ActorRef<ImageMsg>, message: ImageMsg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match message {
            ImageMsg::Create { draft, who, reply_to } => {
                let operation = OperationId::from_bits(new_id());
                let step = image::create(*draft, Ticket { operation, actor: who.actor.clone() }, now());
                let answer = accept(state, &myself, step, &who, Some(operation)).await;
                let failed = answer.is_err();
                let _ = reply_to.send(answer);
                if failed {
                    let _ = state.args.parent.cast(ImagesMsg::Gone { id: state.args.id });
                    myself.stop(None);
                }
            }
            ImageMsg::Command { command, who, reply_to } => {
                let deletes = matches!(command, Command::Delete { .. });
                let answer = self::command(state, &myself, command, &who).await;
                if deletes && answer.is_err() {
                    // It stays, so VMs may boot from it again.
                    state.args.shared.image_use().open(state.args.id);
                }
                if !deletes {
                    let _ = state.args.parent.cast(ImagesMsg::NameSettled { id: state.args.id });
                }
                let _ = reply_to.send(answer);
            }
            ImageMsg::Done { attempt, result } => {
                while state.tasks.try_join_next().is_some() {}
                drive(state, &myself, Input::Finished { attempt, result }).await?;
                if state.args.record.is_none() {
                    myself.stop(None);
                }
            }
        }
        Ok(())
    }
}

async fn command(
    state: &mut State,
    myself: &ActorRef<ImageMsg>,
    command: Command,
    who: &Who,
) -> Result<Accepted<Arc<Image>>, CommandError> {
    let record = state.args.record.clone().ok_or(CommandError::Restarting)?;
    if let Some(expected) = who.if_match
        && expected != record.generation
    {
        return Err(CommandError::Stale { current: record.generation });
    }
    let operation = matches!(command, Command::Delete { .. }).then(|| OperationId::from_bits(new_id()));
    let ticket = Ticket { operation: operation.unwrap_or(OperationId::from_bits(0)), actor: who.actor.clone() };
    let mut step = image::step(&record, Input::Command { command, ticket }, now()).map_err(CommandError::Image)?;
    if operation.is_none() {
        for event in &mut step.events {
            event.operation = None;
        }
    }
    accept(state, myself, step, who, operation).await
}

async fn accept(
    state: &mut State,
    myself: &ActorRef<ImageMsg>,
    step: Step,
    who: &Who,
    operation: Option<OperationId>,
) -> Result<Accepted<Arc<Image>>, CommandError> {
    let before = state.args.record.clone();
    let effects = commit(state, step, Some((who, operation))).await?;
    let resource = state.args.record.clone().or(before).ok_or(CommandError::Restarting)?;
    perform(state, myself, &resource, effects);
    Ok(Accepted { resource, operation })
}

async fn drive(state: &mut State, myself: &ActorRef<ImageMsg>, input: Input) -> Result<(), ActorProcessingErr> {
    let Some(record) = state.args.record.clone() else { return Ok(()) };
    let Ok(step) = image::step(&record, input, now()) else { return Ok(()) };
    let effects = commit(state, step, None).await.map_err(|error| ActorProcessingErr::from(chain(&error)))?;
    let shown = state.args.record.clone().unwrap_or(record);
    perform(state, myself, &shown, effects);
    Ok(())
}

async fn commit(state: &mut State, step: Step, asked: Option<(&Who, Option<OperationId>)>) -> Result<Vec<Effect>, CommandError> {
    let before = state.args.record.clone();
    let next = step.next.map(Arc::new);
    if before == next && step.events.is_empty() && asked.is_none() {
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
        Some(next) => commit.put(schema::IMAGES, id.to_string(), next.as_ref())?,
        None => commit.delete(schema::IMAGES, id.to_string()),
    }
    let mut events = step.events;
    for event in &mut events {
        event.data.insert(0, ("state", Datum::Text(subject.state.name().to_owned())));
    }
    commit.events(&whose, events)?;
    commit.operations(&shared, &whose, step.operations)?;
    if let Some((who, operation)) = asked {
        commit.answer(who, Kind::Image, id.to_string(), operation)?;
    }
    let show = || {
        match &next {
            Some(next) => shared.view.put_image(Arc::clone(next)),
            None => {
                shared.view.drop_image(id);
                let _ = state.args.parent.cast(ImagesMsg::Gone { id });
            }
        }
        state.args.record = next.clone();
    };
    commit.write_with(&shared, &operations, show).await?;
    Ok(step.effects)
}

fn perform(state: &mut State, myself: &ActorRef<ImageMsg>, record: &Arc<Image>, effects: Vec<Effect>) {
    for effect in effects {
        let (myself, shared, record) = (myself.clone(), Arc::clone(&state.args.shared), Arc::clone(record));
        state.tasks.spawn(async move {
            let too_late = given_up_on(&effect);
            let work = carry_out(&shared, &record, effect);
            let result = tokio::time::timeout(EFFECT_DEADLINE, work).await.unwrap_or(too_late);
            let _ = myself.cast(ImageMsg::Done { attempt: record.attempt, result });
        });
    }
}

async fn carry_out(shared: &Shared, record: &Image, effect: Effect) -> Finished {
    match effect {
        Effect::Import(spec) => match shared.images.import(record.id, &spec).await {
            Ok(files) => Finished::Imported(files),
            Err(error) => Finished::ImportFailed { code: error.code().to_owned(), detail: chain(&error) },
        },
        Effect::Remove => match shared.images.remove(record.id).await {
            Ok(()) => Finished::Removed,
            Err(error) => Finished::RemoveFailed { detail: chain(&error) },
        },
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
