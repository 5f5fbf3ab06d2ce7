//! The supervisor of all images' actors: names, restarts, and the count of users before a deletion.

use super::actor::{Args, ImageActor, ImageMsg};
use crate::{
    error::CommandError,
    node::{Accepted, ImageCommand, NewImage, Who},
    operation::OperationsRef,
    shared::{Shared, new_id},
    supervise::{Children, Progress, Verdict},
};
use domain::{
    ImageId, Name,
    event::Kind,
    image::{Command, Draft, Image, ImageKind},
};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use ractor_cluster_derive::RactorMessage;
use std::{collections::HashMap, sync::Arc};

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
    /// The image's name is now the one in the view; others that it held are free.
    NameSettled {
        id: ImageId,
    },
    Gone {
        id: ImageId,
    },
    Respawn {
        id: ImageId,
    },
}

pub(crate) struct ImagesArgs {
    pub shared: Arc<Shared>,
    pub operations: OperationsRef,
    pub records: Vec<Arc<Image>>,
}

pub(crate) struct State {
    shared: Arc<Shared>,
    operations: OperationsRef,
    children: Children<ImageId>,
    actors: HashMap<ImageId, ActorRef<ImageMsg>>,
    names: HashMap<(Name, Name), ImageId>,
}

impl Actor for Images {
    type Msg = ImagesMsg;
    type State = State;
    type Arguments = ImagesArgs;

    async fn pre_start(&self, myself: ActorRef<ImagesMsg>, args: ImagesArgs) -> Result<State, ActorProcessingErr> {
        let mut state = State {
            shared: args.shared,
            operations: args.operations,
            children: Children::new(),
            actors: HashMap::new(),
            names: HashMap::new(),
        };
        for record in args.records {
            state.names.insert((record.project.clone(), record.name.clone()), record.id);
            state.shared.view.put_image(Arc::clone(&record));
            spawn(&mut state, &myself, record.id, Some(record)).await?;
        }
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<ImagesMsg>, message: ImagesMsg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match message {
            ImagesMsg::Create { new, who, reply_to } => create(state, &myself, *new, who, reply_to).await?,
            ImagesMsg::Command { id, command, who, reply_to } => {
                if let Err((error, reply_to)) = self::command(state, id, command, who, reply_to) {
                    let _ = reply_to.send(Err(error));
                }
            }
            ImagesMsg::NameSettled { id } => {
                if let Some(image) = state.shared.view.image(id) {
                    let current = (image.project.clone(), image.name.clone());
                    state.names.retain(|key, holder| *holder != id || *key == current);
                }
            }
            ImagesMsg::Gone { id } => gone(state, id),
            ImagesMsg::Respawn { id } => {
                if let Some(record) = state.shared.view.image(id) {
                    spawn(state, &myself, id, Some(record)).await?;
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
        let (actor, error) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell, error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, reason) => (cell, reason.unwrap_or_default()),
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ProcessGroupChanged(_)
            | SupervisionEvent::PidLifecycleEvent(_) => return Ok(()),
        };
        let Some(id) = state.children.ended(actor.get_id()) else { return Ok(()) };
        state.actors.remove(&id);
        if state.shared.view.image(id).is_none() {
            gone(state, id);
            return Ok(());
        }
        match state.children.failed(id, error.clone()) {
            Verdict::RestartAfter(wait) => {
                tracing::error!(image = %id, error, "the image's actor failed; it is loaded again");
                myself.send_after(wait, move || ImagesMsg::Respawn { id });
            }
            // Its record stays as it is; commands for it are answered with "restarting" until the server starts anew.
            Verdict::Quarantine => tracing::error!(image = %id, error, "the image's actor keeps failing and is set aside"),
        }
        Ok(())
    }
}

async fn spawn(
    state: &mut State,
    myself: &ActorRef<ImagesMsg>,
    id: ImageId,
    record: Option<Arc<Image>>,
) -> Result<ActorRef<ImageMsg>, ActorProcessingErr> {
    let args =
        Args { id, shared: Arc::clone(&state.shared), operations: state.operations.clone(), parent: myself.clone(), record };
    let (actor, _) = Actor::spawn_linked(None, ImageActor, args, myself.get_cell()).await?;
    state.children.started(id, actor.get_cell(), Arc::<Progress>::default());
    state.actors.insert(id, actor.clone());
    Ok(actor)
}

async fn create(
    state: &mut State,
    myself: &ActorRef<ImagesMsg>,
    new: NewImage,
    who: Who,
    reply_to: Reply,
) -> Result<(), ActorProcessingErr> {
    let key = (new.project.clone(), new.name.clone());
    if state.names.contains_key(&key) {
        let _ = reply_to.send(Err(CommandError::NameTaken { kind: Kind::Image, name: new.name.to_string() }));
        return Ok(());
    }
    if new.spec.kind != ImageKind::Kernel && (new.spec.default || new.spec.initrd.is_some()) {
        let field = if new.spec.default { "spec.default" } else { "spec.initrd" };
        let error = crate::vm::supervisor::impossible(field, "only a kernel has one".to_owned());
        let _ = reply_to.send(Err(error));
        return Ok(());
    }
    let id = ImageId::from_bits(new_id());
    state.names.insert(key, id);
    let actor = spawn(state, myself, id, None).await?;
    let draft = Draft { id, name: new.name, project: new.project, labels: new.labels, spec: new.spec };
    let _ = actor.cast(ImageMsg::Create { draft: Box::new(draft), who, reply_to });
    Ok(())
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
    let Some(actor) = state.actors.get(&id) else { return Err((CommandError::Restarting, reply_to)) };
    let command = match command {
        ImageCommand::Cancel { operation } => Command::Cancel { operation },
        ImageCommand::Delete => Command::Delete { users: state.shared.image_use().close(id) },
        ImageCommand::Update { name, labels, default, description } => {
            if let Some(name) = &name {
                let key = (record.project.clone(), name.clone());
                match state.names.get(&key) {
                    Some(holder) if *holder != id => {
                        return Err((CommandError::NameTaken { kind: Kind::Image, name: name.to_string() }, reply_to));
                    }
                    _ => {
                        // Held now; the actor tells `NameSettled` when one of the two is free.
                        state.names.insert(key, id);
                    }
                }
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
    state.names.retain(|_, holder| *holder != id);
    state.shared.image_use().open(id);
}
