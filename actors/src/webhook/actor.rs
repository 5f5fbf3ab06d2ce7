//! One webhook's actor.

use super::{letters, perform, supervisor::WebhooksMsg};
use crate::{
    ambient,
    commit::{Commit, Subject},
    error::{CommandError, chain},
    node::{Accepted, Who},
    operation::OperationsRef,
    shared::{Shared, now},
    supervise::{Address, Progress},
};
use domain::{
    Attempt, WebhookId,
    event::{Datum, Kind},
    webhook::{self, Command, Draft, Effect, Finished, Input, Step, Webhook, step::BACKOFF_MAX_MS},
};
use host::secret::{Secret, SecretError};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster_derive::RactorMessage;
use std::{sync::Arc, time::Duration};
use storage::schema;
use tokio::task::JoinSet;

pub(super) struct WebhookActor;

pub(super) type Reply = RpcReplyPort<Result<Accepted<Arc<Webhook>>, CommandError>>;

#[derive(RactorMessage)]
pub(super) enum WebhookMsg {
    Create { draft: Box<Draft>, secret: Secret, who: Who, reply_to: Reply },
    Command { command: Box<Command>, secret: Option<Secret>, who: Who, reply_to: Reply },
    Done { attempt: Attempt, done: Done },
    Elapsed { attempt: Attempt },
}

impl WebhookMsg {
    fn name(&self) -> &'static str {
        match self {
            WebhookMsg::Create { .. } => "create",
            WebhookMsg::Command { .. } => "command",
            WebhookMsg::Done { .. } => "done",
            WebhookMsg::Elapsed { .. } => "elapsed",
        }
    }
}

/// How an effect ended, and the events that it had in hand.
pub(super) struct Done {
    pub result: Finished,
    pub events: Vec<Arc<[u8]>>,
}

impl Done {
    pub fn of(result: Finished) -> Done {
        Done { result, events: Vec::new() }
    }
}

pub(super) struct Args {
    pub id: WebhookId,
    pub shared: Arc<Shared>,
    pub operations: OperationsRef,
    pub parent: Address<WebhooksMsg>,
    pub progress: Arc<Progress>,
    pub record: Option<Arc<Webhook>>,
}

pub(super) struct State {
    args: Args,
    /// At most one effect; it ends with the actor.
    tasks: JoinSet<()>,
}

impl Actor for WebhookActor {
    type Msg = WebhookMsg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, _: ActorRef<WebhookMsg>, args: Args) -> Result<State, ActorProcessingErr> {
        args.shared.may_start(&args.id)?;
        Ok(State { args, tasks: JoinSet::new() })
    }

    async fn post_start(&self, myself: ActorRef<WebhookMsg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        let _busy = state.args.progress.begin("recovered");
        let myself = Address::new(myself, Arc::clone(&state.args.progress));
        let input = if lacks_secret(state).await {
            tracing::warn!(webhook = %state.args.id, "the webhook's secret is not there: nothing is sent until it has a new one");
            Input::SecretMissing
        } else {
            Input::Recovered
        };
        drive(state, &myself, input, &[]).await
    }

    async fn handle(
        &self,
        myself: ActorRef<WebhookMsg>,
        message: WebhookMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let _busy = state.args.progress.enter(message.name());
        let myself = Address::new(myself, Arc::clone(&state.args.progress));
        match message {
            WebhookMsg::Create { draft, secret, who, reply_to } => {
                let name = draft.name.clone();
                let answer = create(state, &myself, *draft, secret, &who).await;
                let failed = answer.is_err();
                if !failed {
                    let _ = state.args.parent.cast(WebhooksMsg::NameSettled { id: state.args.id, name, from: myself.id() });
                }
                let _ = reply_to.send(answer);
                // Its secret is swept at the next start: after a failed write nobody knows whether the record is there.
                if failed {
                    let _ = state.args.parent.cast(WebhooksMsg::Gone { id: state.args.id });
                    myself.stop();
                }
            }
            WebhookMsg::Command { command, secret, who, reply_to } => {
                let renamed = match &*command {
                    Command::Update(change) => change.name.clone(),
                    _ => None,
                };
                let answer = self::command(state, &myself, *command, secret, &who).await;
                if let Some(name) = renamed {
                    let _ = state.args.parent.cast(WebhooksMsg::NameSettled { id: state.args.id, name, from: myself.id() });
                }
                let _ = reply_to.send(answer);
                // Who is on the way to it hears that it is no more.
                if state.args.record.is_none() {
                    myself.drain();
                }
            }
            WebhookMsg::Done { attempt, done } => {
                let jitter = (ambient::fraction() * 1_001.0) as u16;
                let input = Input::Finished { attempt, result: done.result, jitter };
                drive(state, &myself, input, &done.events).await?;
            }
            WebhookMsg::Elapsed { attempt } => drive(state, &myself, Input::Elapsed { attempt }, &[]).await?,
        }
        Ok(())
    }
}

/// The secret first: a record without one could deliver nothing. One that no record names is swept at the next start.
async fn keep_secret(state: &State, named_by: &Webhook, secret: Secret) -> Result<(), CommandError> {
    let kept = state.args.shared.webhooks.secrets.put(&named_by.secret_name(), secret).await;
    kept.map_err(|error| CommandError::Secret { detail: chain(&error) })
}

/// Once no record names it any more.
async fn remove_secret(state: &State, named_by: &Webhook) {
    if let Err(error) = state.args.shared.webhooks.secrets.remove(&named_by.secret_name()).await {
        tracing::warn!(webhook = %state.args.id, error = chain(&error), "a webhook's secret of before was not removed");
    }
}

/// As after a restore without it. One that can't be read now may be readable later.
async fn lacks_secret(state: &State) -> bool {
    let Some(record) = &state.args.record else { return false };
    let read = state.args.shared.webhooks.secrets.get(&record.secret_name()).await;
    matches!(read, Err(SecretError::Missing { .. }))
}

async fn create(
    state: &mut State,
    myself: &Address<WebhookMsg>,
    draft: Draft,
    secret: Secret,
    who: &Who,
) -> Result<Accepted<Arc<Webhook>>, CommandError> {
    let step = webhook::create(draft, who.actor.clone(), now());
    if let Some(next) = &step.next {
        keep_secret(state, next, secret).await?;
    }
    accept(state, myself, step, who).await
}

async fn command(
    state: &mut State,
    myself: &Address<WebhookMsg>,
    mut command: Command,
    secret: Option<Secret>,
    who: &Who,
) -> Result<Accepted<Arc<Webhook>>, CommandError> {
    let gone = || CommandError::NotFound { kind: Kind::Webhook, reference: state.args.id.to_string() };
    let record = state.args.record.clone().ok_or_else(gone)?;
    who.check(record.generation)?;
    if let Command::Update(change) = &mut command {
        // Never one that was tried before: whether a commit that failed took place is not known until the next start.
        change.secret = secret.is_some().then(|| (ambient::random() as u64).max(1));
        let problems = webhook::check(&change.applied(&record.spec));
        if !problems.is_empty() {
            return Err(CommandError::Invalid(problems));
        }
    }
    let input = Input::Command { command, actor: who.actor.clone() };
    let step = webhook::step(&record, input, now()).map_err(CommandError::Webhook)?;
    if let (Some(secret), Some(next)) = (secret, &step.next) {
        keep_secret(state, next, secret).await?;
    }
    let accepted = accept(state, myself, step, who).await?;
    if state.args.record.as_ref().is_none_or(|now| now.secret != record.secret) {
        remove_secret(state, &record).await;
    }
    Ok(accepted)
}

async fn accept(
    state: &mut State,
    myself: &Address<WebhookMsg>,
    step: Step,
    who: &Who,
) -> Result<Accepted<Arc<Webhook>>, CommandError> {
    let before = state.args.record.clone();
    let effect = commit(state, step, Some(who), &[]).await?;
    perform(state, myself, effect);
    let resource = state.args.record.clone().or(before).ok_or(CommandError::Restarting)?;
    Ok(Accepted { resource, operation: None })
}

async fn drive(
    state: &mut State,
    myself: &Address<WebhookMsg>,
    input: Input,
    events: &[Arc<[u8]>],
) -> Result<(), ActorProcessingErr> {
    let Some(record) = state.args.record.clone() else { return Ok(()) };
    let Ok(step) = webhook::step(&record, input, now()) else { return Ok(()) };
    // Nobody waits for this: it stands in line behind commands.
    let shared = Arc::clone(&state.args.shared);
    let _place = shared.unasked.acquire().await?;
    let effect = commit(state, step, None, events).await.map_err(|error| ActorProcessingErr::from(chain(&error)))?;
    perform(state, myself, effect);
    Ok(())
}

/// `events`: those of the delivery that just failed.
async fn commit(
    state: &mut State,
    step: Step,
    asked: Option<&Who>,
    events: &[Arc<[u8]>],
) -> Result<Option<Effect>, CommandError> {
    let before = state.args.record.clone();
    let next = step.next.map(Arc::new);
    if before == next && step.events.is_empty() && asked.is_none() {
        return Ok(step.effect);
    }
    let id = state.args.id;
    let Some(subject) = next.clone().or_else(|| before.clone()) else { return Ok(step.effect) };
    debug_assert_eq!(webhook::invariant::check(&subject), Ok(()));
    let whose = Subject {
        kind: Kind::Webhook,
        id: id.to_string(),
        name: &subject.name,
        project: &subject.project,
        generation: subject.generation,
    };
    let mut commit = Commit::new();
    match &next {
        Some(next) => commit.put(schema::WEBHOOKS, id.to_string(), next.as_ref())?,
        None => {
            commit.delete(schema::WEBHOOKS, id.to_string());
            for dead in &subject.dead {
                letters::remove(&mut commit, id, *dead);
            }
        }
    }
    for change in step.letters {
        letters::write(&mut commit, id, change, events)?;
    }
    let mut told = step.events;
    for event in &mut told {
        event.data.insert(0, ("state", Datum::Text(subject.state.name().to_owned())));
    }
    commit.events(&whose, told)?;
    if let Some(who) = asked {
        commit.answer(who, Kind::Webhook, id.to_string(), None)?;
    }
    let shared = Arc::clone(&state.args.shared);
    let operations = state.args.operations.clone();
    let show = || {
        match &next {
            Some(next) => shared.view.put_webhook(Arc::clone(next)),
            None => {
                shared.view.drop_webhook(id);
                let _ = state.args.parent.cast(WebhooksMsg::Gone { id });
            }
        }
        state.args.record = next.clone();
    };
    commit.write_with(&shared, &operations, show).await?;
    Ok(step.effect)
}

/// Starts the effect in place of the one under way.
fn perform(state: &mut State, myself: &Address<WebhookMsg>, effect: Option<Effect>) {
    while state.tasks.try_join_next().is_some() {}
    let Some(effect) = effect else { return };
    state.tasks.abort_all();
    let Some(record) = state.args.record.clone() else { return };
    let (myself, shared, attempt) = (myself.clone(), Arc::clone(&state.args.shared), record.attempt);
    match effect {
        Effect::Cease => {}
        Effect::Find { after } => {
            state.tasks.spawn(async move {
                let done = perform::find(shared, record, after).await;
                let _ = myself.cast(WebhookMsg::Done { attempt, done });
            });
        }
        Effect::Send(delivery) => {
            state.tasks.spawn(async move {
                let done = perform::send(shared, record, delivery).await;
                let _ = myself.cast(WebhookMsg::Done { attempt, done });
            });
        }
        Effect::StartTimer { until } => {
            let wait = Duration::from_millis(until.since_ms(now()).min(BACKOFF_MAX_MS));
            state.tasks.spawn(async move {
                tokio::time::sleep(wait).await;
                let _ = myself.cast(WebhookMsg::Elapsed { attempt });
            });
        }
    }
}
