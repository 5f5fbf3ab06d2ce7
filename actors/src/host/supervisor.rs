//! The supervisor of hosts' actors. On a single node there is one: its own.

use super::actor::{Args, HostActor, HostMsg};
use crate::{
    error::CommandError,
    node::Who,
    operation::OperationsRef,
    shared::Shared,
    supervise::{Children, Progress, Verdict},
};
use domain::{HostId, Name, event::Kind, host::Command, host::Host};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use ractor_cluster_derive::RactorMessage;
use std::sync::Arc;

pub(crate) struct Hosts;

#[derive(RactorMessage)]
pub(crate) enum HostsMsg {
    Command { id: HostId, command: Command, who: Who, reply_to: RpcReplyPort<Result<Arc<Host>, CommandError>> },
    Respawn,
}

pub(crate) struct HostsArgs {
    pub shared: Arc<Shared>,
    pub operations: OperationsRef,
    pub name: Name,
}

pub(crate) struct State {
    args: HostsArgs,
    children: Children<HostId>,
    actor: Option<ActorRef<HostMsg>>,
}

impl Actor for Hosts {
    type Msg = HostsMsg;
    type State = State;
    type Arguments = HostsArgs;

    async fn pre_start(&self, myself: ActorRef<HostsMsg>, args: HostsArgs) -> Result<State, ActorProcessingErr> {
        let mut state = State { args, children: Children::new(), actor: None };
        spawn(&mut state, &myself).await?;
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<HostsMsg>, message: HostsMsg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match message {
            HostsMsg::Command { id, command, who, reply_to } => match &state.actor {
                _ if id != state.args.shared.host => {
                    let _ = reply_to.send(Err(CommandError::NotFound { kind: Kind::Host, reference: id.to_string() }));
                }
                None => {
                    let _ = reply_to.send(Err(CommandError::Restarting));
                }
                Some(actor) => {
                    let _ = actor.cast(HostMsg::Command { command, who, reply_to });
                }
            },
            HostsMsg::Respawn => spawn(state, &myself).await?,
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<HostsMsg>,
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
        state.actor = None;
        match state.children.failed(id, error.clone()) {
            Verdict::RestartAfter(wait) => {
                tracing::error!(host = %id, error, "the host's actor failed; it is loaded again");
                myself.send_after(wait, || HostsMsg::Respawn);
                Ok(())
            }
            // Without its host a node is of no use: this goes up.
            Verdict::Quarantine => Err(format!("the host's actor keeps failing: {error}").into()),
        }
    }
}

async fn spawn(state: &mut State, myself: &ActorRef<HostsMsg>) -> Result<(), ActorProcessingErr> {
    let facts = state.args.shared.probe.facts().await;
    let args = Args {
        shared: Arc::clone(&state.args.shared),
        operations: state.args.operations.clone(),
        name: state.args.name.clone(),
        facts,
    };
    let (actor, _) = Actor::spawn_linked(None, HostActor, args, myself.get_cell()).await?;
    state.children.started(state.args.shared.host, actor.get_cell(), Arc::<Progress>::default());
    state.actor = Some(actor);
    Ok(())
}
