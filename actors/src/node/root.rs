//! The root actor: the supervisors are its children.

use super::{aside, load};
use crate::{
    ambient,
    host::{Hosts, HostsArgs, HostsMsg},
    image::{Images, ImagesArgs, ImagesMsg},
    operation::OperationsRef,
    operation::{Operations, OperationsArgs, Slot},
    shared::Shared,
    supervise::{Address, Progress, Roster, STALL_CHECK, Trouble, Verdict, exit_of, jitter},
    vm::{Vms, VmsMsg, address, supervisor},
    webhook::{Webhooks, WebhooksArgs, WebhooksMsg},
};
use domain::{HostId, ImageId, Name, OperationId, VmId, WebhookId, ipam::Subnet, vm::Vm};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, Message, SupervisionEvent};
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
    pub const ALL: [Supervisor; 5] =
        [Supervisor::Operations, Supervisor::Hosts, Supervisor::Images, Supervisor::Vms, Supervisor::Webhooks];

    /// As the tree calls it.
    pub fn name(self) -> &'static str {
        match self {
            Supervisor::Operations => "operations",
            Supervisor::Hosts => "hosts",
            Supervisor::Images => "images",
            Supervisor::Vms => "vms",
            Supervisor::Webhooks => "webhooks",
        }
    }
}

#[derive(RactorMessage)]
pub(super) enum RootMsg {
    Respawn(Supervisor),
    /// Someone wants it started again, whatever became of it.
    Restart(Supervisor),
    LookForStalls,
}

impl RootMsg {
    fn name(&self) -> &'static str {
        match self {
            RootMsg::Respawn(_) => "respawn",
            RootMsg::Restart(_) => "restart",
            RootMsg::LookForStalls => "look for stalls",
        }
    }
}

/// Who lives under whom, for who looks at the tree.
#[derive(Clone, Default)]
pub(super) struct Rosters {
    pub supervisors: Roster<Supervisor>,
    pub operations: Roster<OperationId>,
    pub hosts: Roster<HostId>,
    pub images: Roster<ImageId>,
    pub vms: Roster<VmId>,
    pub webhooks: Roster<WebhookId>,
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
    pub rosters: Rosters,
}

pub(super) struct Args {
    pub shared: Arc<Shared>,
    pub slots: Slots,
    pub subnet: Subnet,
    pub host_name: Name,
    pub progress: Arc<Progress>,
    /// As the node has just read them, for the first start of their supervisor; a later one reads the journal.
    pub vms: Option<Vec<Arc<Vm>>>,
    /// Told once, with the reason, when the node can't go on.
    pub fatal: watch::Sender<Option<String>>,
}

pub(super) struct State {
    args: Args,
}

impl Actor for Root {
    type Msg = RootMsg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<RootMsg>, args: Args) -> Result<State, ActorProcessingErr> {
        let mut state = State { args };
        let myself = Address::new(myself, Arc::clone(&state.args.progress));
        for supervisor in Supervisor::ALL {
            start(&mut state, &myself, supervisor).await?;
        }
        myself.send_interval(STALL_CHECK, || RootMsg::LookForStalls);
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<RootMsg>, message: RootMsg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let _busy = state.args.progress.enter(message.name());
        let myself = Address::new(myself, Arc::clone(&state.args.progress));
        match message {
            // Someone was quicker: a second one would give every child a second actor.
            RootMsg::Respawn(supervisor) if state.children().lives(supervisor) => {}
            RootMsg::Respawn(supervisor) => again(state, &myself, supervisor).await,
            RootMsg::Restart(supervisor) => {
                if state.children().pardon(supervisor, "started again on request") == Some(false) {
                    again(state, &myself, supervisor).await;
                }
            }
            RootMsg::LookForStalls => {
                for trouble in state.children().look() {
                    match trouble {
                        Trouble::Stalled { key, dump } => {
                            tracing::error!(supervisor = key.name(), dump, "a supervisor is stuck; it is started again");
                        }
                        // A supervisor has no effects.
                        Trouble::Overdue { .. } => {}
                    }
                }
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
        let Some(exit) = exit_of(event) else { return Ok(()) };
        if let Some(supervisor) = state.children().ended(exit.actor) {
            let myself = Address::new(myself, Arc::clone(&state.args.progress));
            failed(state, &myself, supervisor, exit.error);
        }
        Ok(())
    }

    async fn post_stop(&self, myself: ActorRef<RootMsg>, _: &mut State) -> Result<(), ActorProcessingErr> {
        myself.get_cell().stop_children_and_wait(None, Some(STOP_DEADLINE)).await;
        Ok(())
    }
}

impl State {
    fn children(&self) -> &Roster<Supervisor> {
        &self.args.slots.rosters.supervisors
    }
}

fn failed(state: &State, myself: &Address<RootMsg>, supervisor: Supervisor, error: String) {
    match state.children().failed(supervisor, &error, jitter()) {
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

async fn again(state: &mut State, myself: &Address<RootMsg>, supervisor: Supervisor) {
    if let Err(error) = start(state, myself, supervisor).await {
        failed(state, myself, supervisor, error.to_string());
    }
}

/// Linked to the root, known under its slot and on the roster.
fn started<M: Message>(slot: &Slot<M>, actor: ActorRef<M>, progress: &Arc<Progress>) -> ActorCell {
    let actor = Address::new(actor, Arc::clone(progress));
    let cell = actor.cell();
    slot.set(Some(actor));
    cell
}

async fn start(state: &mut State, myself: &Address<RootMsg>, supervisor: Supervisor) -> Result<(), ActorProcessingErr> {
    let (shared, slots) = (Arc::clone(&state.args.shared), state.args.slots.clone());
    let rosters = slots.rosters.clone();
    let progress: Arc<Progress> = Arc::default();
    let (parent, known) = (myself.cell(), Arc::clone(&progress));
    let operations = slots.operations.clone();
    let cell = match supervisor {
        Supervisor::Operations => {
            let args = OperationsArgs { shared, roster: rosters.operations, progress };
            started(&slots.operations, Actor::spawn_linked(None, Operations, args, parent).await?.0, &known)
        }
        Supervisor::Hosts => {
            let name = state.args.host_name.clone();
            let args = HostsArgs { shared, name, operations, roster: rosters.hosts, progress };
            started(&slots.hosts, Actor::spawn_linked(None, Hosts, args, parent).await?.0, &known)
        }
        Supervisor::Images => {
            let records = read(&shared, schema::IMAGES).await?;
            let args = ImagesArgs { shared, operations, records, roster: rosters.images, progress };
            started(&slots.images, Actor::spawn_linked(None, Images, args, parent).await?.0, &known)
        }
        Supervisor::Vms => {
            let records = match state.args.vms.take() {
                Some(records) => records,
                None => read(&shared, schema::VMS).await?,
            };
            let aside = aside::set_aside(&shared.journal)?;
            let held = address::settle(&shared, &records, &aside.vms).await?;
            let directory = slots.directory.clone();
            let subnet = state.args.subnet;
            let args = supervisor::Args0 { shared, operations, directory, subnet, records, held, roster: rosters.vms, progress };
            started(&slots.vms, Actor::spawn_linked(None, Vms, args, parent).await?.0, &known)
        }
        Supervisor::Webhooks => {
            let records = read(&shared, schema::WEBHOOKS).await?;
            let args = WebhooksArgs { shared, operations, records, roster: rosters.webhooks, progress };
            started(&slots.webhooks, Actor::spawn_linked(None, Webhooks, args, parent).await?.0, &known)
        }
    };
    state.children().started(supervisor, cell, known);
    Ok(())
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
