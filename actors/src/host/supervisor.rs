//! The supervisor of hosts' actors. On a single node there is one: its own. A host whose actor can't be kept alive is set aside: its VMs go
//! on, with the room that was known last.

use super::actor::{Args, HostActor, HostMsg};
use crate::{
    error::CommandError,
    node::Who,
    operation::OperationsRef,
    shared::Shared,
    supervise::{Address, Progress, Roster, STALL_CHECK, Trouble, Verdict, exit_of, jitter},
};
use domain::{HostId, Name, event::Kind, host::Command, host::Host};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use ractor_cluster_derive::RactorMessage;
use std::sync::Arc;

pub(crate) struct Hosts;

#[derive(RactorMessage)]
pub(crate) enum HostsMsg {
    Command {
        id: HostId,
        command: Command,
        who: Who,
        reply_to: RpcReplyPort<Result<Arc<Host>, CommandError>>,
    },
    Respawn,
    /// Someone wants the host's actor started again, whatever became of it.
    Restart,
    LookForStalls,
}

impl HostsMsg {
    fn name(&self) -> &'static str {
        match self {
            HostsMsg::Command { .. } => "command",
            HostsMsg::Respawn => "respawn",
            HostsMsg::Restart => "restart",
            HostsMsg::LookForStalls => "look for stalls",
        }
    }
}

pub(crate) struct HostsArgs {
    pub shared: Arc<Shared>,
    pub operations: OperationsRef,
    pub name: Name,
    pub roster: Roster<HostId>,
    pub progress: Arc<Progress>,
}

pub(crate) struct State {
    args: HostsArgs,
    actor: Option<Address<HostMsg>>,
}

impl Actor for Hosts {
    type Msg = HostsMsg;
    type State = State;
    type Arguments = HostsArgs;

    async fn pre_start(&self, myself: ActorRef<HostsMsg>, args: HostsArgs) -> Result<State, ActorProcessingErr> {
        args.roster.clear();
        let myself = Address::new(myself, Arc::clone(&args.progress));
        let mut state = State { args, actor: None };
        start(&mut state, &myself).await;
        myself.send_interval(STALL_CHECK, || HostsMsg::LookForStalls);
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<HostsMsg>, message: HostsMsg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let _busy = state.args.progress.enter(message.name());
        let myself = Address::new(myself, Arc::clone(&state.args.progress));
        match message {
            HostsMsg::Command { id, reply_to, .. } if id != state.args.shared.host => {
                let _ = reply_to.send(Err(CommandError::NotFound { kind: Kind::Host, reference: id.to_string() }));
            }
            HostsMsg::Command { command, who, reply_to, .. } => {
                let set_aside = state.args.roster.quarantined(state.args.shared.host);
                if set_aside.is_some() {
                    // Whoever commands it wants it back.
                    restart(state, &myself).await;
                }
                match (&state.actor, set_aside) {
                    (Some(actor), _) => {
                        let _ = actor.cast(HostMsg::Command { command, who, reply_to });
                    }
                    (None, Some(reason)) => {
                        let _ = reply_to.send(Err(CommandError::SetAside { reason }));
                    }
                    (None, None) => {
                        let _ = reply_to.send(Err(CommandError::Restarting));
                    }
                }
            }
            HostsMsg::Respawn if state.actor.is_some() => {}
            HostsMsg::Respawn => start(state, &myself).await,
            HostsMsg::Restart => restart(state, &myself).await,
            HostsMsg::LookForStalls => {
                for trouble in state.args.roster.look() {
                    match trouble {
                        Trouble::Stalled { key, dump } => {
                            tracing::error!(host = %key, dump, "the host's actor is stuck; it is loaded again")
                        }
                        Trouble::Overdue { key, effect } => {
                            tracing::warn!(host = %key, effect = effect.what, lasts_s = effect.lasts.as_secs(), "takes longer than it should");
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<HostsMsg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let Some(exit) = exit_of(event) else { return Ok(()) };
        if state.args.roster.ended(exit.actor).is_some() {
            state.actor = None;
            let myself = Address::new(myself, Arc::clone(&state.args.progress));
            failed(state, &myself, &exit.error);
        }
        Ok(())
    }
}

fn failed(state: &State, myself: &Address<HostsMsg>, error: &str) {
    let id = state.args.shared.host;
    match state.args.roster.failed(id, error, jitter()) {
        Verdict::RestartAfter(wait) => {
            tracing::error!(host = %id, error, wait_ms = wait.as_millis(), "the host's actor failed; it is loaded again");
            myself.send_after(wait, || HostsMsg::Respawn);
        }
        Verdict::Quarantine => tracing::error!(host = %id, error, "the host's actor keeps failing and is set aside"),
    }
}

async fn restart(state: &mut State, myself: &Address<HostsMsg>) {
    if state.args.roster.pardon(state.args.shared.host, "started again on request") == Some(false) {
        start(state, myself).await;
    }
}

async fn start(state: &mut State, myself: &Address<HostsMsg>) {
    let facts = {
        let _waits = state.args.progress.waits_for("a look at the machine");
        state.args.shared.probe.facts().await
    };
    let progress: Arc<Progress> = Arc::default();
    let args = Args {
        shared: Arc::clone(&state.args.shared),
        operations: state.args.operations.clone(),
        name: state.args.name.clone(),
        progress: Arc::clone(&progress),
        facts,
    };
    match Actor::spawn_linked(None, HostActor, args, myself.cell()).await {
        Ok((actor, _)) => {
            let actor = Address::new(actor, Arc::clone(&progress));
            state.args.roster.started(state.args.shared.host, actor.cell(), progress);
            state.actor = Some(actor);
        }
        Err(error) => failed(state, myself, &error.to_string()),
    }
}
