//! The supervisor of all VMs' actors: who exists, under which name and address; starts them, starts them again when they fail, within a
//! budget, and sets aside the one that keeps failing.

mod interfaces;

use super::{
    actor::{Args, From, VmActor},
    address::Entry,
    messages::{Reply, VmMsg, VmRef, VmsMsg},
    timers::Timers,
};
use crate::{
    commit::{Commit, Subject},
    error::{CommandError, chain},
    node::{Accepted, NewVm, Who},
    operation::OperationsRef,
    shared::{Shared, new_id, now},
    supervise::{Address, Key, Names, Progress, Roster, STALL_CHECK, Trouble, Verdict, exit_of, jitter},
    view::{Page, VmView},
};
use domain::{
    ImageId, OperationId, VmId,
    event::Kind,
    ipam::{Pool, Subnet},
    mutant::{self, Mutant},
    vm::{self, BootImages, Command, Draft, Nic, Vm, spec::SpecProblem},
};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};
use storage::schema;
use tokio::task::JoinSet;

/// Where each VM's actor is now. Written by the supervisor alone.
#[derive(Default, Clone)]
pub struct Directory(Arc<RwLock<HashMap<VmId, VmRef>>>);

impl Directory {
    pub fn get(&self, id: VmId) -> Option<VmRef> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn set(&self, id: VmId, actor: Option<VmRef>) {
        let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match actor {
            Some(actor) => map.insert(id, actor),
            None => map.remove(&id),
        };
    }

    fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

pub(crate) struct Vms;

pub(crate) struct Args0 {
    pub shared: Arc<Shared>,
    pub operations: OperationsRef,
    pub directory: Directory,
    pub subnet: Subnet,
    /// The records as the journal has them.
    pub records: Vec<Arc<Vm>>,
    /// Addresses and MACs of VMs whose records were set aside: nobody else gets them.
    pub held: Vec<(VmId, Entry)>,
    pub roster: Roster<VmId>,
    pub progress: Arc<Progress>,
}

pub(crate) struct State {
    shared: Arc<Shared>,
    operations: OperationsRef,
    directory: Directory,
    children: Roster<VmId>,
    progress: Arc<Progress>,
    timers: Arc<Timers>,
    /// That of the timers; it ends with this supervisor.
    _tasks: JoinSet<()>,
    names: Names<VmId>,
    pool: Pool,
    /// What a VM that is going gives back.
    given: HashMap<VmId, Given>,
    /// VMs whose actors are changing their interfaces.
    changing: HashSet<VmId>,
    /// VMs whose actors were to change their interfaces and are no more. As for names: what is held stays so until the VM is loaded again.
    changing_doubtful: HashSet<VmId>,
}

struct Given {
    boot: BootImages,
    /// What it has, and while they are being changed what it is to have.
    nics: Vec<Nic>,
}

impl Actor for Vms {
    type Msg = VmsMsg;
    type State = State;
    type Arguments = Args0;

    async fn pre_start(&self, myself: ActorRef<VmsMsg>, args: Args0) -> Result<State, ActorProcessingErr> {
        args.directory.clear();
        args.roster.clear();
        let myself = Address::new(myself, Arc::clone(&args.progress));
        let timers: Arc<Timers> = Arc::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&timers).run(args.directory.clone()));
        let mut state = State {
            shared: args.shared,
            operations: args.operations,
            directory: args.directory,
            children: args.roster,
            progress: args.progress,
            timers,
            _tasks: tasks,
            names: Names::default(),
            pool: Pool::new(args.subnet),
            given: HashMap::new(),
            changing: HashSet::new(),
            changing_doubtful: HashSet::new(),
        };
        if let Some(mac) = state.shared.network.as_ref().and_then(|network| network.own_mac()) {
            state.pool.hold_for_host(mac);
        }
        for (id, entry) in args.held {
            state.pool.hold(id, entry.address, entry.mac);
        }
        adopt(&mut state, &args.records);
        for record in args.records {
            start(&mut state, &myself, record.id, From::Record(record)).await;
        }
        myself.send_interval(STALL_CHECK, || VmsMsg::LookForStalls);
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<VmsMsg>, message: VmsMsg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let _busy = state.progress.enter(message.name());
        let myself = Address::new(myself, Arc::clone(&state.progress));
        match message {
            VmsMsg::Create { new, who, reply_to } => create(state, &myself, *new, who, reply_to).await,
            VmsMsg::Update { id, command, who, reply_to } => match hold_for(state, id, command, &who) {
                Ok((actor, command)) => {
                    let _ = actor.cast(VmMsg::Command { command, who, reply_to });
                }
                Err(error) => {
                    let _ = reply_to.send(Err(error));
                }
            },
            // A later actor of the VM may have been told the same since, and its turn is still to come.
            VmsMsg::NameSettled { id, from, .. } | VmsMsg::InterfacesSettled { id, from } | VmsMsg::Loaded { id, from }
                if !state.children.is(id, from) => {}
            VmsMsg::NameSettled { id, name, .. } => state.names.settled(id, &name),
            VmsMsg::InterfacesSettled { id, .. } => interfaces::settled(state, id),
            VmsMsg::Loaded { id, .. } => settled_all(state, id),
            VmsMsg::Gone { id } => gone(state, id),
            // Someone was quicker.
            VmsMsg::Respawn { id } if state.directory.get(id).is_some() => {}
            VmsMsg::Respawn { id } => {
                doubt(state, id);
                start(state, &myself, id, From::Journal).await;
            }
            VmsMsg::Restart { id, reply_to } => {
                let _ = reply_to.send(restart(state, &myself, id).await);
            }
            VmsMsg::LookForStalls => look_for_stalls(state),
            #[cfg(any(test, feature = "faults"))]
            VmsMsg::Hang { since } => {
                state.progress.pretend_busy_since(since);
                std::future::pending::<()>().await;
            }
            #[cfg(any(test, feature = "faults"))]
            VmsMsg::Crash => panic!("told to"),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<VmsMsg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let Some(exit) = exit_of(event) else { return Ok(()) };
        let Some(id) = state.children.ended(exit.actor) else { return Ok(()) };
        // A VM that is no more ends its actor in order. One that fails before it is shown may be durable all the same: the journal is asked.
        if exit.in_order && state.shared.view.vm(id).is_none() {
            gone(state, id);
            return Ok(());
        }
        state.directory.set(id, None);
        let myself = Address::new(myself, Arc::clone(&state.progress));
        failed(state, &myself, id, &exit.error).await;
        Ok(())
    }
}

fn look_for_stalls(state: &State) {
    for trouble in state.children.look() {
        match trouble {
            Trouble::Stalled { key, dump } => tracing::error!(vm = %key, dump, "the VM's actor is stuck; it is loaded again"),
            Trouble::Overdue { key, effect } => {
                tracing::warn!(vm = %key, effect = effect.what, lasts_s = effect.lasts.as_secs(), "takes longer than it should");
            }
        }
    }
}

async fn failed(state: &mut State, myself: &Address<VmsMsg>, id: VmId, error: &str) {
    match state.children.failed(id, error, jitter()) {
        Verdict::RestartAfter(_) if mutant::on(Mutant::LeavesTheFallen) => {}
        Verdict::RestartAfter(wait) => {
            tracing::error!(vm = %id, error, wait_ms = wait.as_millis(), "the VM's actor failed; it is loaded again");
            myself.send_after(wait, move || VmsMsg::Respawn { id });
        }
        Verdict::Quarantine => quarantine(state, id).await,
    }
}

/// Its whole budget, and its actor: at once when it has none, else when it was killed.
async fn restart(state: &mut State, myself: &Address<VmsMsg>, id: VmId) -> Result<(), CommandError> {
    match state.children.pardon(id, "started again on request") {
        None => return Err(CommandError::NotFound { kind: Kind::Vm, reference: id.to_string() }),
        Some(true) => return Ok(()),
        Some(false) => {}
    }
    doubt(state, id);
    match spawn(state, myself, id, From::Journal).await {
        Ok(_) => Ok(()),
        Err(error) => {
            failed(state, myself, id, &error).await;
            Err(CommandError::SetAside { reason: error })
        }
    }
}

/// One that can't be started is no end of its supervisor.
async fn start(state: &mut State, myself: &Address<VmsMsg>, id: VmId, from: From) {
    if let Err(error) = spawn(state, myself, id, from).await {
        failed(state, myself, id, &error).await;
    }
}

/// The records are what exists: their names, addresses and images are taken, and all else that is shown or held is left from actors that
/// were killed in the middle of something.
fn adopt(state: &mut State, records: &[Arc<Vm>]) {
    let shared = Arc::clone(&state.shared);
    let known: HashSet<VmId> = records.iter().map(|record| record.id).collect();
    let (shown, _) = shared.view.vms(&Page::first(usize::MAX - 1));
    for row in shown.iter().filter(|row| !known.contains(&row.record.id)) {
        refresh_operation(state, &row.record);
        shared.view.drop_vm(row.record.id);
    }
    shared.ledger().retain(|id| known.contains(&id));
    let mut users: HashMap<ImageId, BTreeSet<VmId>> = HashMap::new();
    for record in records {
        for nic in record.nics.iter().filter(|_| !mutant::on(Mutant::ForgetsAddresses)) {
            state.pool.hold(record.id, nic.address, nic.mac);
        }
        for image in [record.boot.kernel, record.boot.rootfs] {
            users.entry(image).or_default().insert(record.id);
        }
        let given = Given { boot: record.boot, nics: record.nics.clone() };
        state.given.insert(record.id, given);
        match shared.view.vm(record.id) {
            Some(row) if row.record == *record => {}
            Some(row) => {
                refresh_operation(state, &row.record);
                refresh_operation(state, record);
            }
            None => refresh_operation(state, record),
        }
        shared.view.put_vm(VmView { record: Arc::clone(record), agent: None, started_at: None, hold: None });
    }
    shared.image_use().replace(users);
}

fn refresh_operation(state: &State, record: &Vm) {
    if let Some(in_flight) = record.operation {
        state.operations.refresh(&state.shared, in_flight.id);
    }
}

fn gone(state: &mut State, id: VmId) {
    state.directory.set(id, None);
    state.children.forget(id);
    state.shared.ledger().release(id);
    let_go(state, id);
    let Some(given) = state.given.remove(&id) else { return };
    interfaces::gone(state, id, &given);
    let mut images = state.shared.image_use();
    images.leave(given.boot.kernel, id);
    images.leave(given.boot.rootfs, id);
}

fn let_go(state: &mut State, id: VmId) {
    doubt(state, id);
    settled_all(state, id);
}

/// Its actor is no more; what it was told may have been done.
fn doubt(state: &mut State, id: VmId) {
    state.names.doubt(id);
    interfaces::doubt(state, id);
}

/// Of what is in doubt, what was done is in the view, and nobody does the rest any more. What the VM's next actor was told since is no part of
/// it: that is still to be done.
fn settled_all(state: &mut State, id: VmId) {
    interfaces::settled_doubtful(state, id);
    state.names.loaded(id);
}

/// Who has the name, or is about to have it.
fn holder(state: &State, key: &Key) -> Option<VmId> {
    state.names.holder(key).or_else(|| state.shared.view.find_vm(&key.0, &key.1))
}

async fn spawn(state: &mut State, myself: &Address<VmsMsg>, id: VmId, from: From) -> Result<VmRef, String> {
    let progress: Arc<Progress> = Arc::default();
    let args = Args {
        id,
        shared: Arc::clone(&state.shared),
        operations: state.operations.clone(),
        parent: myself.clone(),
        progress: Arc::clone(&progress),
        timers: Arc::clone(&state.timers),
        from,
    };
    let (actor, _) = Actor::spawn_linked(None, VmActor, args, myself.cell()).await.map_err(|error| error.to_string())?;
    let actor = Address::new(actor, Arc::clone(&progress));
    state.children.started(id, actor.cell(), progress);
    state.directory.set(id, Some(actor.clone()));
    Ok(actor)
}

async fn create(state: &mut State, myself: &Address<VmsMsg>, new: NewVm, who: Who, reply_to: Reply<Accepted<Arc<Vm>>>) {
    match draft(state, new) {
        Err(error) => {
            let _ = reply_to.send(Err(error));
        }
        Ok(draft) => {
            let id = draft.id;
            let actor = match spawn(state, myself, id, From::Nothing).await {
                Ok(actor) => actor,
                Err(error) => {
                    tracing::error!(vm = %id, error, "the actor of a new VM can't be started");
                    gone(state, id);
                    let _ = reply_to.send(Err(CommandError::Restarting));
                    return;
                }
            };
            let operation = OperationId::from_bits(new_id());
            // The actor makes it durable, answers, and tells `Gone` when it could not.
            let _ = actor.cast(VmMsg::Create { draft: Box::new(draft), who: Box::new(who), operation, reply_to });
        }
    }
}

/// All that must be known before a VM can be: refused here, nothing was taken.
fn draft(state: &mut State, new: NewVm) -> Result<Draft, CommandError> {
    let shared = Arc::clone(&state.shared);
    let id = VmId::from_bits(new_id());
    let host = crate::node::place(&shared, &new.spec)?;
    let boot = crate::node::resolve_boot(&shared, &new.project, &new.spec)?;
    let name = match new.name {
        Some(name) => name,
        None => format!("vm-{}", id.short()).parse().map_err(|_| CommandError::Restarting)?,
    };
    let key = (new.project.clone(), name.clone());
    if holder(state, &key).is_some() {
        return Err(CommandError::NameTaken { kind: Kind::Vm, name: name.to_string() });
    }
    let (nics, network_note) = interfaces::of_new(state, id, &new.spec.networks)?;
    let entered = {
        let mut images = shared.image_use();
        images.enter(boot.kernel, id) && images.enter(boot.rootfs, id)
    };
    state.names.hold(id, key);
    state.given.insert(id, Given { boot, nics: nics.clone() });
    if !entered {
        gone(state, id);
        return Err(CommandError::ImageNotReady { field: "spec.image", reference: new.spec.image, state: "being deleted" });
    }
    Ok(Draft {
        id,
        name,
        project: new.project,
        labels: new.labels,
        spec: new.spec,
        boot,
        host,
        nics,
        network_note,
        start: new.start,
    })
}

/// The name and the interfaces that the command is about are held for the VM, whose actor may now give them to it.
fn hold_for(state: &mut State, id: VmId, mut command: Box<Command>, who: &Who) -> Result<(VmRef, Box<Command>), CommandError> {
    let Some(row) = state.shared.view.vm(id) else {
        return Err(CommandError::NotFound { kind: Kind::Vm, reference: id.to_string() });
    };
    let actor = state.directory.get(id).ok_or(CommandError::Restarting)?;
    let name = match &*command {
        Command::Update(change) => change.name.clone(),
        _ => None,
    };
    let key = name.map(|name| (row.record.project.clone(), name));
    if let Some(key) = &key
        && holder(state, key).is_some_and(|holder| holder != id)
    {
        return Err(CommandError::NameTaken { kind: Kind::Vm, name: key.1.to_string() });
    }
    interfaces::of_change(state, &row.record, &mut command, who)?;
    if let Some(key) = key {
        state.names.hold(id, key);
    }
    Ok((actor, command))
}

/// The budget is spent: the VM is failed with the reason, and has no actor until someone asks for it. The supervisor is the owner of a VM
/// without an actor. What runs goes on; the next start or delete ends it first.
async fn quarantine(state: &mut State, id: VmId) {
    let error = state.children.quarantined(id).unwrap_or_default();
    state.shared.ledger().release(id);
    let shown = state.shared.view.vm(id).map(|row| row.record);
    let record = {
        let _waits = state.progress.waits_for("the journal to settle");
        state.shared.stored(schema::VMS, id.to_string(), shown.clone()).await
    };
    for known in [&shown, &record].into_iter().flatten() {
        refresh_operation(state, known);
    }
    let Some(record) = record else {
        state.shared.view.drop_vm(id);
        gone(state, id);
        return;
    };
    tracing::error!(vm = %id, error, "the VM's actor keeps failing; the VM is set aside as failed");
    let step = vm::quarantine(&record, &error, now());
    let Some(next) = step.next.map(Arc::new) else { return };
    let subject =
        Subject { kind: Kind::Vm, id: id.to_string(), name: &next.name, project: &next.project, generation: next.generation };
    let mut commit = Commit::new();
    let shared = Arc::clone(&state.shared);
    let _waits = state.progress.waits_for("the journal");
    let written = async {
        commit.put(schema::VMS, id.to_string(), next.as_ref())?;
        commit.events(&subject, step.events)?;
        commit.operations(&shared, &subject, step.operations)?;
        let show = || shared.view.put_vm(VmView { record: Arc::clone(&next), agent: None, started_at: None, hold: None });
        commit.write_with(&shared, &state.operations.clone(), show).await
    };
    if let Err(error) = written.await {
        tracing::error!(vm = %id, error = %chain(&error), "the failed VM could not be recorded");
        return;
    }
    let_go(state, id);
}

/// Names a specification that can't be met, with the field.
pub(crate) fn impossible(field: &'static str, detail: String) -> CommandError {
    CommandError::Invalid(vec![SpecProblem { field, detail }])
}
