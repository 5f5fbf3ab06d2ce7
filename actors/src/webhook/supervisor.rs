//! The supervisor of all webhooks' actors: names, how many there may be, and restarts.

use super::actor::{Args, Reply, WebhookActor, WebhookMsg};
use crate::{
    error::CommandError,
    node::{NewWebhook, Who},
    operation::OperationsRef,
    shared::{Shared, new_id},
    supervise::{Address, Key, Names, Progress, Roster, STALL_CHECK, Trouble, Verdict, exit_of, jitter},
    view::Page,
};
use domain::{
    Name, WebhookId,
    event::Kind,
    webhook::{self, Command, Draft, Refused, Webhook},
};
use host::secret::Secret;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use ractor_cluster_derive::RactorMessage;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Each looks at every event: 100 of them at 1,000 events a second cost about as much as a subscriber each.
pub const WEBHOOKS_MAX: usize = 100;

pub(crate) struct Webhooks;

#[derive(RactorMessage)]
pub(crate) enum WebhooksMsg {
    /// The webhook's actor answers.
    Create {
        new: Box<NewWebhook>,
        who: Who,
        reply_to: Reply,
    },
    /// The webhook's actor answers.
    Command {
        id: WebhookId,
        command: Box<Command>,
        secret: Option<Secret>,
        who: Who,
        reply_to: Reply,
    },
    /// That name of the webhook is in the view, or was not taken: it is held no longer. From the webhook's actor; what comes from one that is no
    /// more is passed over.
    NameSettled {
        id: WebhookId,
        name: Name,
        from: ActorId,
    },
    Gone {
        id: WebhookId,
    },
    Respawn {
        id: WebhookId,
    },
    /// Someone wants the webhook's actor started again, whatever became of it.
    Restart {
        id: WebhookId,
    },
    LookForStalls,
    /// Panics the webhook's actor on purpose: what supervision is for is tested with it.
    #[cfg(any(test, feature = "faults"))]
    Kill {
        id: WebhookId,
    },
}

impl WebhooksMsg {
    fn name(&self) -> &'static str {
        match self {
            WebhooksMsg::Create { .. } => "create",
            WebhooksMsg::Command { .. } => "command",
            WebhooksMsg::NameSettled { .. } => "name settled",
            WebhooksMsg::Gone { .. } => "gone",
            WebhooksMsg::Respawn { .. } => "respawn",
            WebhooksMsg::Restart { .. } => "restart",
            WebhooksMsg::LookForStalls => "look for stalls",
            #[cfg(any(test, feature = "faults"))]
            WebhooksMsg::Kill { .. } => "kill",
        }
    }
}

pub(crate) struct WebhooksArgs {
    pub shared: Arc<Shared>,
    pub operations: OperationsRef,
    pub records: Vec<Arc<Webhook>>,
    pub roster: Roster<WebhookId>,
    pub progress: Arc<Progress>,
}

pub(crate) struct State {
    shared: Arc<Shared>,
    operations: OperationsRef,
    children: Roster<WebhookId>,
    progress: Arc<Progress>,
    actors: HashMap<WebhookId, Address<WebhookMsg>>,
    names: Names<WebhookId>,
}

impl Actor for Webhooks {
    type Msg = WebhooksMsg;
    type State = State;
    type Arguments = WebhooksArgs;

    async fn pre_start(&self, myself: ActorRef<WebhooksMsg>, args: WebhooksArgs) -> Result<State, ActorProcessingErr> {
        args.roster.clear();
        let myself = Address::new(myself, Arc::clone(&args.progress));
        let mut state = State {
            shared: args.shared,
            operations: args.operations,
            children: args.roster,
            progress: args.progress,
            actors: HashMap::new(),
            names: Names::default(),
        };
        // The records are what exists: all else that is shown is left from actors that were killed in the middle of something.
        let known: HashSet<WebhookId> = args.records.iter().map(|record| record.id).collect();
        for shown in state.shared.view.webhooks(&Page::first(usize::MAX - 1)).0.iter().filter(|shown| !known.contains(&shown.id))
        {
            state.shared.view.drop_webhook(shown.id);
        }
        for record in args.records {
            state.shared.view.put_webhook(Arc::clone(&record));
            start(&mut state, &myself, record.id, record).await;
        }
        myself.send_interval(STALL_CHECK, || WebhooksMsg::LookForStalls);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<WebhooksMsg>,
        message: WebhooksMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let _busy = state.progress.enter(message.name());
        let myself = Address::new(myself, Arc::clone(&state.progress));
        match message {
            WebhooksMsg::Create { new, who, reply_to } => create(state, &myself, *new, who, reply_to).await,
            WebhooksMsg::Command { id, command, secret, who, reply_to } => {
                let set_aside = state.children.quarantined(id);
                if set_aside.is_some() {
                    // Whoever commands it wants it back.
                    restart(state, &myself, id).await;
                }
                if let Err(error) = may(state, id, &command) {
                    let error = match (error, set_aside) {
                        (CommandError::Restarting, Some(reason)) => CommandError::SetAside { reason },
                        (error, _) => error,
                    };
                    let _ = reply_to.send(Err(error));
                } else if let Some(actor) = state.actors.get(&id) {
                    let _ = actor.cast(WebhookMsg::Command { command, secret, who, reply_to });
                }
            }
            // A later actor of the webhook may have been told the same since, and its turn is still to come.
            WebhooksMsg::NameSettled { id, from, .. } if !state.children.is(id, from) => {}
            WebhooksMsg::NameSettled { id, name, .. } => state.names.settled(id, &name),
            WebhooksMsg::Gone { id } => gone(state, id),
            WebhooksMsg::Respawn { id } if state.actors.contains_key(&id) => {}
            WebhooksMsg::Respawn { id } => load(state, &myself, id).await,
            WebhooksMsg::Restart { id } => restart(state, &myself, id).await,
            WebhooksMsg::LookForStalls => look_for_stalls(state),
            #[cfg(any(test, feature = "faults"))]
            WebhooksMsg::Kill { id } => {
                if let Some(actor) = state.actors.get(&id) {
                    actor.cell().kill();
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<WebhooksMsg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let Some(exit) = exit_of(event) else { return Ok(()) };
        let Some(id) = state.children.ended(exit.actor) else { return Ok(()) };
        state.actors.remove(&id);
        // A webhook that is no more ends its actor in order. One that fails before it is shown may be durable all the same.
        if exit.in_order && state.shared.view.webhook(id).is_none() {
            gone(state, id);
            return Ok(());
        }
        let myself = Address::new(myself, Arc::clone(&state.progress));
        failed(state, &myself, id, &exit.error);
        Ok(())
    }
}

fn look_for_stalls(state: &State) {
    for trouble in state.children.look() {
        match trouble {
            Trouble::Stalled { key, dump } => {
                tracing::error!(webhook = %key, dump, "the webhook's actor is stuck; it is loaded again");
            }
            // Its effects wait for what happens, for as long as it takes; attempts have a deadline of their own.
            Trouble::Overdue { .. } => {}
        }
    }
}

fn failed(state: &State, myself: &Address<WebhooksMsg>, id: WebhookId, error: &str) {
    match state.children.failed(id, error, jitter()) {
        Verdict::RestartAfter(wait) => {
            tracing::error!(webhook = %id, error, wait_ms = wait.as_millis(), "the webhook's actor failed; it is loaded again");
            myself.send_after(wait, move || WebhooksMsg::Respawn { id });
        }
        // Its record stays as it is; nothing is lost but time, for the cursor stays, too.
        Verdict::Quarantine => tracing::error!(webhook = %id, error, "the webhook's actor keeps failing and is set aside"),
    }
}

async fn restart(state: &mut State, myself: &Address<WebhooksMsg>, id: WebhookId) {
    if state.children.pardon(id, "started again on request") == Some(false) {
        load(state, myself, id).await;
    }
}

/// As it is durable, which is not always as it was shown; or not at all, when that is what became of it.
async fn load(state: &mut State, myself: &Address<WebhooksMsg>, id: WebhookId) {
    let shown = state.shared.view.webhook(id);
    match state.shared.stored(storage::schema::WEBHOOKS, id.to_string(), shown).await {
        Some(record) => {
            state.shared.view.put_webhook(Arc::clone(&record));
            // What its actor was told that is no more was done, or never will be.
            state.names.let_go(id);
            start(state, myself, id, record).await;
        }
        None => {
            state.shared.view.drop_webhook(id);
            gone(state, id);
        }
    }
}

/// One that can't be started is no end of its supervisor.
async fn start(state: &mut State, myself: &Address<WebhooksMsg>, id: WebhookId, record: Arc<Webhook>) {
    if let Err(error) = spawn(state, myself, id, Some(record)).await {
        failed(state, myself, id, &error);
    }
}

async fn spawn(
    state: &mut State,
    myself: &Address<WebhooksMsg>,
    id: WebhookId,
    record: Option<Arc<Webhook>>,
) -> Result<Address<WebhookMsg>, String> {
    let progress: Arc<Progress> = Arc::default();
    let args = Args {
        id,
        shared: Arc::clone(&state.shared),
        operations: state.operations.clone(),
        parent: myself.clone(),
        progress: Arc::clone(&progress),
        record,
    };
    let (actor, _) = Actor::spawn_linked(None, WebhookActor, args, myself.cell()).await.map_err(|error| error.to_string())?;
    let actor = Address::new(actor, Arc::clone(&progress));
    state.children.started(id, actor.cell(), progress);
    state.actors.insert(id, actor.clone());
    Ok(actor)
}

async fn create(state: &mut State, myself: &Address<WebhooksMsg>, new: NewWebhook, who: Who, reply_to: Reply) {
    let key = (new.project.clone(), new.name.clone());
    let problems = webhook::check(&new.spec);
    let refused = if holder(state, &key).is_some() {
        Some(CommandError::NameTaken { kind: Kind::Webhook, name: new.name.to_string() })
    } else if state.children.len() >= WEBHOOKS_MAX {
        Some(CommandError::Webhook(Refused::TooMany))
    } else if !problems.is_empty() {
        Some(CommandError::Invalid(problems))
    } else {
        None
    };
    let cursor = refused.map_or_else(|| from(state, new.after), Err);
    let cursor = match cursor {
        Ok(cursor) => cursor,
        Err(error) => {
            let _ = reply_to.send(Err(error));
            return;
        }
    };
    let id = WebhookId::from_bits(new_id());
    state.names.hold(id, key);
    let actor = match spawn(state, myself, id, None).await {
        Ok(actor) => actor,
        Err(error) => {
            tracing::error!(webhook = %id, error, "the actor of a new webhook can't be started");
            gone(state, id);
            let _ = reply_to.send(Err(CommandError::Restarting));
            return;
        }
    };
    let draft =
        Draft { id, name: new.name, project: new.project, labels: new.labels, spec: new.spec, cursor, enabled: new.enabled };
    let _ = actor.cast(WebhookMsg::Create { draft: Box::new(draft), secret: new.secret, who, reply_to });
}

/// As the event stream takes `after`; only a cursor from the future is no mistake that a webhook could live with.
fn from(state: &State, after: Option<u64>) -> Result<u64, CommandError> {
    let journal = &state.shared.journal;
    // The oldest first: it may only rise.
    let (oldest, latest) = (journal.oldest(), journal.latest());
    match after {
        None => Ok(latest),
        Some(0) => Ok(oldest.saturating_sub(1)),
        Some(after) if after > latest => Err(CommandError::Webhook(Refused::CursorAhead)),
        Some(after) => Ok(after),
    }
}

/// Who has the name, or is about to have it.
fn holder(state: &State, key: &Key) -> Option<WebhookId> {
    state.names.holder(key).or_else(|| state.shared.view.find_webhook(&key.0, &key.1))
}

/// Whether the command may go to the actor. A new name is held until the actor tells `NameSettled`.
fn may(state: &mut State, id: WebhookId, command: &Command) -> Result<(), CommandError> {
    let Some(record) = state.shared.view.webhook(id) else {
        return Err(CommandError::NotFound { kind: Kind::Webhook, reference: id.to_string() });
    };
    if !state.actors.contains_key(&id) {
        return Err(CommandError::Restarting);
    }
    if let Command::Update(change) = command
        && let Some(name) = &change.name
    {
        let key = (record.project.clone(), name.clone());
        if holder(state, &key).is_some_and(|holder| holder != id) {
            return Err(CommandError::NameTaken { kind: Kind::Webhook, name: name.to_string() });
        }
        state.names.hold(id, key);
    }
    Ok(())
}

fn gone(state: &mut State, id: WebhookId) {
    state.actors.remove(&id);
    state.children.forget(id);
    state.names.let_go(id);
}
