//! The supervisor of all images' actors: names, restarts, and the count of users before a deletion.

use super::actor::{Args, From, ImageActor, ImageMsg};
use crate::{
    commit::{Commit, Subject},
    error::{CommandError, chain},
    node::{Accepted, ImageCommand, NewImage, Who},
    operation::OperationsRef,
    shared::{Shared, new_id, now},
    supervise::{Address, Key, Names, Progress, Roster, STALL_CHECK, Trouble, Verdict, exit_of, jitter},
    view::Page,
};
use domain::{
    ImageId, Name,
    event::Kind,
    image::{self, Command, Draft, Image, ImageKind},
};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use ractor_cluster_derive::RactorMessage;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use storage::schema;

pub(crate) struct Images;

type Reply = RpcReplyPort<Result<Accepted<Arc<Image>>, CommandError>>;

#[derive(RactorMessage)]
pub(crate) enum ImagesMsg {
    /// The image's actor answers.
    Create {
        new: Box<NewImage>,
        who: Who,
        reply_to: Reply,
    },
    /// The image's actor answers.
    Command {
        id: ImageId,
        command: ImageCommand,
        who: Who,
        reply_to: Reply,
    },
    /// That name of the image is in the view, or was not taken: it is held no longer. From the image's actor, as the one below; what comes from
    /// one that is no more is passed over.
    NameSettled {
        id: ImageId,
        name: Name,
        from: ActorId,
    },
    /// The image was loaded again and is in the view as it is durable.
    Loaded {
        id: ImageId,
        from: ActorId,
    },
    Gone {
        id: ImageId,
    },
    Respawn {
        id: ImageId,
    },
    /// Someone wants the image's actor started again, whatever became of it.
    Restart {
        id: ImageId,
    },
    LookForStalls,
    /// The image's actor panics on purpose.
    #[cfg(any(test, feature = "faults"))]
    Crash {
        id: ImageId,
    },
}

impl ImagesMsg {
    fn name(&self) -> &'static str {
        match self {
            ImagesMsg::Create { .. } => "create",
            ImagesMsg::Command { .. } => "command",
            ImagesMsg::NameSettled { .. } => "name settled",
            ImagesMsg::Loaded { .. } => "loaded",
            ImagesMsg::Gone { .. } => "gone",
            ImagesMsg::Respawn { .. } => "respawn",
            ImagesMsg::Restart { .. } => "restart",
            ImagesMsg::LookForStalls => "look for stalls",
            #[cfg(any(test, feature = "faults"))]
            ImagesMsg::Crash { .. } => "crash",
        }
    }
}

pub(crate) struct ImagesArgs {
    pub shared: Arc<Shared>,
    pub operations: OperationsRef,
    pub records: Vec<Arc<Image>>,
    pub roster: Roster<ImageId>,
    pub progress: Arc<Progress>,
}

pub(crate) struct State {
    shared: Arc<Shared>,
    operations: OperationsRef,
    children: Roster<ImageId>,
    progress: Arc<Progress>,
    actors: HashMap<ImageId, Address<ImageMsg>>,
    names: Names<ImageId>,
}

impl Actor for Images {
    type Msg = ImagesMsg;
    type State = State;
    type Arguments = ImagesArgs;

    async fn pre_start(&self, myself: ActorRef<ImagesMsg>, args: ImagesArgs) -> Result<State, ActorProcessingErr> {
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
        adopt(&mut state, &args.records);
        for record in args.records {
            start(&mut state, &myself, record.id, From::Record(record)).await;
        }
        myself.send_interval(STALL_CHECK, || ImagesMsg::LookForStalls);
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<ImagesMsg>, message: ImagesMsg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let _busy = state.progress.enter(message.name());
        let myself = Address::new(myself, Arc::clone(&state.progress));
        match message {
            ImagesMsg::Create { new, who, reply_to } => create(state, &myself, *new, who, reply_to).await,
            ImagesMsg::Command { id, command, who, reply_to } => {
                let set_aside = state.children.quarantined(id);
                if set_aside.is_some() {
                    // Whoever commands it wants it back.
                    restart(state, &myself, id).await;
                }
                if let Err((error, reply_to)) = self::command(state, id, command, who, reply_to) {
                    let error = match (error, set_aside) {
                        (CommandError::Restarting, Some(reason)) => CommandError::SetAside { reason },
                        (error, _) => error,
                    };
                    let _ = reply_to.send(Err(error));
                }
            }
            // A later actor of the image may have been told the same since, and its turn is still to come.
            ImagesMsg::NameSettled { id, from, .. } | ImagesMsg::Loaded { id, from } if !state.children.is(id, from) => {}
            ImagesMsg::NameSettled { id, name, .. } => state.names.settled(id, &name),
            ImagesMsg::Loaded { id, .. } => state.names.loaded(id),
            ImagesMsg::Gone { id } => gone(state, id),
            ImagesMsg::Respawn { id } if state.actors.contains_key(&id) => {}
            ImagesMsg::Respawn { id } => {
                state.names.doubt(id);
                start(state, &myself, id, From::Journal).await;
            }
            ImagesMsg::Restart { id } => restart(state, &myself, id).await,
            ImagesMsg::LookForStalls => look_for_stalls(state),
            #[cfg(any(test, feature = "faults"))]
            ImagesMsg::Crash { id } => {
                if let Some(actor) = state.actors.get(&id) {
                    let _ = actor.cast(ImageMsg::Crash);
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<ImagesMsg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let Some(exit) = exit_of(event) else { return Ok(()) };
        let Some(id) = state.children.ended(exit.actor) else { return Ok(()) };
        state.actors.remove(&id);
        // An image that is no more ends its actor in order. One that fails before it is shown may be durable all the same.
        if exit.in_order && state.shared.view.image(id).is_none() {
            gone(state, id);
            return Ok(());
        }
        let myself = Address::new(myself, Arc::clone(&state.progress));
        failed(state, &myself, id, &exit.error).await;
        Ok(())
    }
}

/// The records are what exists: all else that is shown or held is left from actors that were killed in the middle of something.
fn adopt(state: &mut State, records: &[Arc<Image>]) {
    let shared = Arc::clone(&state.shared);
    let known: HashSet<ImageId> = records.iter().map(|record| record.id).collect();
    for shown in shared.view.images(&Page::first(usize::MAX - 1)).0.iter().filter(|shown| !known.contains(&shown.id)) {
        show(&shared, &state.operations, Some(shown), None);
        shared.image_use().open(shown.id);
    }
    for record in records {
        show(&shared, &state.operations, shared.view.image(record.id).as_ref(), Some(record));
    }
}

/// Into the view, as it is durable, with the operations that it names and named. Of an image without a living actor: a deletion that was on
/// its way and did not become durable keeps no VM from booting.
pub(super) fn show(shared: &Shared, operations: &OperationsRef, shown: Option<&Arc<Image>>, stored: Option<&Arc<Image>>) {
    for id in [shown, stored].into_iter().flatten().filter_map(|image| image.operation) {
        operations.refresh(shared, id);
    }
    match (shown, stored) {
        (_, Some(stored)) => {
            shared.view.put_image(Arc::clone(stored));
            if !matches!(stored.state, image::State::Deleting | image::State::Cancelling) {
                shared.image_use().open(stored.id);
            }
        }
        (Some(shown), None) => shared.view.drop_image(shown.id),
        (None, None) => {}
    }
}

fn look_for_stalls(state: &State) {
    for trouble in state.children.look() {
        match trouble {
            Trouble::Stalled { key, dump } => {
                tracing::error!(image = %key, dump, "the image's actor is stuck; it is loaded again")
            }
            Trouble::Overdue { key, effect } => {
                tracing::warn!(image = %key, effect = effect.what, lasts_s = effect.lasts.as_secs(), "takes longer than it should");
            }
        }
    }
}

async fn failed(state: &mut State, myself: &Address<ImagesMsg>, id: ImageId, error: &str) {
    match state.children.failed(id, error, jitter()) {
        Verdict::RestartAfter(wait) => {
            tracing::error!(image = %id, error, wait_ms = wait.as_millis(), "the image's actor failed; it is loaded again");
            myself.send_after(wait, move || ImagesMsg::Respawn { id });
        }
        Verdict::Quarantine => quarantine(state, id, error).await,
    }
}

/// The budget is spent: what was under way has failed, and nothing is done with the image until someone asks.
async fn quarantine(state: &mut State, id: ImageId, error: &str) {
    tracing::error!(image = %id, error, "the image's actor keeps failing and is set aside");
    let shown = state.shared.view.image(id);
    let record = {
        let _waits = state.progress.waits_for("the journal to settle");
        state.shared.stored(schema::IMAGES, id.to_string(), shown.clone()).await
    };
    show(&state.shared, &state.operations, shown.as_ref(), record.as_ref());
    let Some(record) = record else { return gone(state, id) };
    state.names.let_go(id);
    let step = image::quarantine(&record, error, now());
    let Some(next) = step.next.filter(|next| *next != *record).map(Arc::new) else { return };
    let subject =
        Subject { kind: Kind::Image, id: id.to_string(), name: &next.name, project: &next.project, generation: next.generation };
    let (shared, operations) = (Arc::clone(&state.shared), state.operations.clone());
    let mut commit = Commit::new();
    let _waits = state.progress.waits_for("the journal");
    let written = async {
        commit.put(schema::IMAGES, id.to_string(), next.as_ref())?;
        commit.events(&subject, step.events)?;
        commit.operations(&shared, &subject, step.operations)?;
        commit.write_with(&shared, &operations, || shared.view.put_image(Arc::clone(&next))).await
    };
    if let Err(error) = written.await {
        tracing::error!(image = %id, error = %chain(&error), "the failed image could not be recorded");
    }
}

async fn restart(state: &mut State, myself: &Address<ImagesMsg>, id: ImageId) {
    if state.children.pardon(id, "started again on request") == Some(false) {
        state.names.doubt(id);
        start(state, myself, id, From::Journal).await;
    }
}

/// One that can't be started is no end of its supervisor.
async fn start(state: &mut State, myself: &Address<ImagesMsg>, id: ImageId, from: From) {
    if let Err(error) = spawn(state, myself, id, from).await {
        failed(state, myself, id, &error).await;
    }
}

async fn spawn(state: &mut State, myself: &Address<ImagesMsg>, id: ImageId, from: From) -> Result<Address<ImageMsg>, String> {
    let progress: Arc<Progress> = Arc::default();
    let args = Args {
        id,
        shared: Arc::clone(&state.shared),
        operations: state.operations.clone(),
        parent: myself.clone(),
        progress: Arc::clone(&progress),
        from,
    };
    let (actor, _) = Actor::spawn_linked(None, ImageActor, args, myself.cell()).await.map_err(|error| error.to_string())?;
    let actor = Address::new(actor, Arc::clone(&progress));
    state.children.started(id, actor.cell(), progress);
    state.actors.insert(id, actor.clone());
    Ok(actor)
}

async fn create(state: &mut State, myself: &Address<ImagesMsg>, new: NewImage, who: Who, reply_to: Reply) {
    let key = (new.project.clone(), new.name.clone());
    if holder(state, &key).is_some() {
        let _ = reply_to.send(Err(CommandError::NameTaken { kind: Kind::Image, name: new.name.to_string() }));
        return;
    }
    if new.spec.kind != ImageKind::Kernel && (new.spec.default || new.spec.initrd.is_some()) {
        let field = if new.spec.default { "spec.default" } else { "spec.initrd" };
        let error = crate::vm::supervisor::impossible(field, "only a kernel has one".to_owned());
        let _ = reply_to.send(Err(error));
        return;
    }
    let id = ImageId::from_bits(new_id());
    state.names.hold(id, key);
    let actor = match spawn(state, myself, id, From::Nothing).await {
        Ok(actor) => actor,
        Err(error) => {
            tracing::error!(image = %id, error, "the actor of a new image can't be started");
            gone(state, id);
            let _ = reply_to.send(Err(CommandError::Restarting));
            return;
        }
    };
    let draft = Draft { id, name: new.name, project: new.project, labels: new.labels, spec: new.spec };
    let _ = actor.cast(ImageMsg::Create { draft: Box::new(draft), who, reply_to });
}

/// Who has the name, or is about to have it.
fn holder(state: &State, key: &Key) -> Option<ImageId> {
    state.names.holder(key).or_else(|| state.shared.view.find_image(&key.0, &key.1))
}

/// Hands the command on, or gives the port back with the reason why not.
fn command(
    state: &mut State,
    id: ImageId,
    command: ImageCommand,
    who: Who,
    reply_to: Reply,
) -> Result<(), (CommandError, Reply)> {
    let Some(record) = state.shared.view.image(id) else {
        return Err((CommandError::NotFound { kind: Kind::Image, reference: id.to_string() }, reply_to));
    };
    let Some(actor) = state.actors.get(&id) else {
        let reason = state.children.quarantined(id);
        return Err((reason.map_or(CommandError::Restarting, |reason| CommandError::SetAside { reason }), reply_to));
    };
    let command = match command {
        ImageCommand::Cancel { operation } => Command::Cancel { operation },
        // The actor counts, as it decides.
        ImageCommand::Delete => Command::Delete { users: 0 },
        ImageCommand::Update { name, labels, default, description } => {
            if let Some(name) = &name {
                let key = (record.project.clone(), name.clone());
                if holder(state, &key).is_some_and(|holder| holder != id) {
                    return Err((CommandError::NameTaken { kind: Kind::Image, name: name.to_string() }, reply_to));
                }
                // Until the actor tells `NameSettled`.
                state.names.hold(id, key);
            }
            Command::Update { name, labels, default, description }
        }
    };
    let _ = actor.cast(ImageMsg::Command { command, who, reply_to });
    Ok(())
}

fn gone(state: &mut State, id: ImageId) {
    state.actors.remove(&id);
    state.children.forget(id);
    state.names.let_go(id);
    state.shared.image_use().open(id);
}
