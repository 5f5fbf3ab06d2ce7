//! The root actor: the supervisors are its children.

use super::load;
use crate::{
    ambient,
    host::{Hosts, HostsArgs, HostsMsg},
    image::{Images, ImagesArgs, ImagesMsg},
    operation::OperationsRef,
    operation::{Operations, Slot},
    shared::Shared,
    supervise::{ChildInfo, Children, Progress, Verdict},
    vm::{Vms, VmsMsg, supervisor},
    webhook::{Webhooks, WebhooksArgs, WebhooksMsg},
};
use domain::{Name, OperationId, ipam::Subnet, vm::Vm};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use ractor_cluster_derive::RactorMessage;
use std::{sync::Arc, time::Duration};
use storage::schema;
use tokio::sync::watch;

/// How long children may take to stop before they are killed. Nothing is lost then: what is durable is durable.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

pub(super) struct Root;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Supervisor {
    Operations,
    Hosts,
    Images,
    Vms,
    Webhooks,
}

impl Supervisor {
    /// In the order of their start: who is told of commits comes before who commits.
    const ALL: [Supervisor; 5] =
        [Supervisor::Operations, Supervisor::Hosts, Supervisor::Images, Supervisor::Vms, Supervisor::Webhooks];
}

#[derive(RactorMessage)]
pub(super) enum RootMsg {
    Respawn(Supervisor),
    /// The supervisors: which, restarts, last error, whether it lives.
    Inspect {
        reply_to: RpcReplyPort<Vec<ChildInfo<Supervisor>>>,
    },
}

/// Where the supervisors are.
#[derive(Clone, Default)]
pub(super) struct Slots {
    pub operations: OperationsRef,
    pub hosts: Slot<HostsMsg>,
    pub images: Slot<ImagesMsg>,
    pub vms: Slot<VmsMsg>,
    pub webhooks: Slot<WebhooksMsg>,
    pub directory: supervisor::Directory,
}

pub(super) struct Args {
    pub shared: Arc<Shared>,
    pub slots: Slots,
    pub subnet: Subnet,
    pub host_name: Name,
    pub ended: Vec<OperationId>,
    /// As the node has just read them, for the first start of their supervisor; a later one reads the journal.
    pub vms: Option<Vec<Arc<Vm>>>,
    /// Told once, with the reason, when the node can't go on.
    pub fatal: watch::Sender<Option<String>>,
}

pub(super) struct State {
    args: Args,
    children: Children<Supervisor>,
}

impl Actor for Root {
    type Msg = RootMsg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<RootMsg>, args: Args) -> Result<State, ActorProcessingErr> {
        let mut state = State { args, children: Children::new() };
        for supervisor in Supervisor::ALL {
            start(&mut state, &myself, supervisor).await?;
        }
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<RootMsg>, message: RootMsg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match message {
            RootMsg::Respawn(supervisor) => {
                if let Err(error) = start(state, &myself, supervisor).await {
                    failed(state, &myself, supervisor, error.to_string());
                }
            }
            RootMsg::Inspect { reply_to } => {
                let _ = reply_to.send(state.children.list());
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RootMsg>,
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
        if let Some(supervisor) = state.children.ended(actor.get_id()) {
            failed(state, &myself, supervisor, error);
        }
        Ok(())
    }

    async fn post_stop(&self, myself: ActorRef<RootMsg>, _: &mut State) -> Result<(), ActorProcessingErr> {
        myself.get_cell().stop_children_and_wait(None, Some(STOP_DEADLINE)).await;
        Ok(())
    }
}

fn failed(state: &mut State, myself: &ActorRef<RootMsg>, supervisor: Supervisor, error: String) {
    match state.children.failed(supervisor, error.clone()) {
        Verdict::RestartAfter(wait) => {
            tracing::error!(?supervisor, error, "a supervisor failed; it is started again from the journal");
            myself.send_after(wait, move || RootMsg::Respawn(supervisor));
        }
        Verdict::Quarantine => {
            let reason = format!("the supervisor {supervisor:?} keeps failing: {error}");
            tracing::error!(reason, "the node can't go on");
            let _ = state.args.fatal.send(Some(reason));
        }
    }
}

async fn start(state: &mut State, myself: &ActorRef<RootMsg>, supervisor: Supervisor) -> Result<(), ActorProcessingErr> {
    let cell = match supervisor {
        Supervisor::Operations => operations(&mut state.args, myself).await?,
        Supervisor::Hosts => {
            let (shared, name) = (Arc::clone(&state.args.shared), state.args.host_name.clone());
            let args = HostsArgs { shared, name, operations: state.args.slots.operations.clone() };
            let (actor, _) = Actor::spawn_linked(None, Hosts, args, myself.get_cell()).await?;
            state.args.slots.hosts.set(Some(actor.clone()));
            actor.get_cell()
        }
        Supervisor::Images => {
            let records = read(&state.args.shared, schema::IMAGES).await?;
            let shared = Arc::clone(&state.args.shared);
            let args = ImagesArgs { shared, operations: state.args.slots.operations.clone(), records };
            let (actor, _) = Actor::spawn_linked(None, Images, args, myself.get_cell()).await?;
            state.args.slots.images.set(Some(actor.clone()));
            actor.get_cell()
        }
        Supervisor::Vms => {
            let records = match state.args.vms.take() {
                Some(records) => records,
                None => read(&state.args.shared, schema::VMS).await?,
            };
            let args = supervisor::Args0 {
                shared: Arc::clone(&state.args.shared),
                operations: state.args.slots.operations.clone(),
                directory: state.args.slots.directory.clone(),
                subnet: state.args.subnet,
                records,
            };
            let (actor, _) = Actor::spawn_linked(None, Vms, args, myself.get_cell()).await?;
            state.args.slots.vms.set(Some(actor.clone()));
            actor.get_cell()
        }
        Supervisor::Webhooks => {
            let records = read(&state.args.shared, schema::WEBHOOKS).await?;
            let shared = Arc::clone(&state.args.shared);
            let args = WebhooksArgs { shared, operations: state.args.slots.operations.clone(), records };
            let (actor, _) = Actor::spawn_linked(None, Webhooks, args, myself.get_cell()).await?;
            state.args.slots.webhooks.set(Some(actor.clone()));
            actor.get_cell()
        }
    };
    state.children.started(supervisor, cell, Arc::<Progress>::default());
    Ok(())
}

async fn operations(args: &mut Args, myself: &ActorRef<RootMsg>) -> Result<ActorCell, ActorProcessingErr> {
    let ended = std::mem::take(&mut args.ended);
    let (actor, _) = Actor::spawn_linked(None, Operations, (Arc::clone(&args.shared), ended), myself.get_cell()).await?;
    args.slots.operations.set(Some(actor.clone()));
    Ok(actor.get_cell())
}

/// The table as the journal has it, off the actors' threads.
async fn read<T: storage::envelope::Stored + Send + Sync + 'static>(
    shared: &Arc<Shared>,
    table: &'static str,
) -> Result<Vec<Arc<T>>, ActorProcessingErr> {
    shared.settled().await;
    let journal = shared.journal.clone();
    Ok(ambient::blocking(move || load::table::<T>(&journal, table)).await??)
}
