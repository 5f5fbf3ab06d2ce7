//! The VM's actor: translate, decide, commit, show, answer, perform.

use super::{
    address, admission,
    guest::GuestLink,
    hold,
    messages::{VmMsg, VmRef, VmsMsg},
    perform::{Outcome, Performer},
    timers::Timers,
};
use crate::{
    ambient,
    commit::{Asked, Commit, Subject},
    error::{CommandError, chain},
    node::{Accepted, Who},
    operation::OperationsRef,
    shared::{Shared, new_id, now},
    supervise::{Address, Progress},
    view::VmView,
};
use domain::{
    OperationId, VmId,
    capacity::Share,
    event::Kind,
    mutant::{self, Mutant},
    vm::{
        self, Agent, Command, Effect, Hold, Input, Inspection, Observed, State as VmState, Step, Ticket, Timer, Vm, hold::Heard,
    },
};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::{sync::Arc, time::Duration};
use storage::schema;

pub(super) struct VmActor;

pub(super) struct Args {
    pub id: VmId,
    pub shared: Arc<Shared>,
    pub operations: OperationsRef,
    pub parent: Address<VmsMsg>,
    pub progress: Arc<Progress>,
    pub timers: Arc<Timers>,
    pub from: From,
}

/// Where a VM's actor begins.
pub(super) enum From {
    /// The VM is new, and `Create` comes first.
    Nothing,
    /// The record as the journal has it.
    Record(Arc<Vm>),
    /// An earlier actor of this VM failed, or was killed while it committed: what the journal has is the truth.
    Journal,
}

pub(super) struct State {
    pub id: VmId,
    pub shared: Arc<Shared>,
    operations: OperationsRef,
    parent: Address<VmsMsg>,
    progress: Arc<Progress>,
    pub timers: Arc<Timers>,
    pub record: Option<Arc<Vm>>,
    reload: bool,
    pub performer: Performer,
    pub guest: GuestLink,
    /// Of the record's machine, when its VMM holds it for want of room.
    pub hold: Option<Hold>,
}

impl Actor for VmActor {
    type Msg = VmMsg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, _: ActorRef<VmMsg>, args: Args) -> Result<State, ActorProcessingErr> {
        args.shared.may_start(&args.id)?;
        let (record, reload) = match args.from {
            From::Nothing => (None, false),
            From::Record(record) => (Some(record), false),
            From::Journal => (None, true),
        };
        Ok(State {
            id: args.id,
            shared: args.shared,
            operations: args.operations,
            parent: args.parent,
            progress: args.progress,
            timers: args.timers,
            record,
            reload,
            performer: Performer::default(),
            guest: GuestLink::default(),
            hold: None,
        })
    }

    /// A loaded record reconciles with the world. Here and not in `pre_start`: the supervisor must not wait for it. In a box: an idle VM's
    /// actor must not keep room for the largest of its handlers (31.7 KiB a VM without the boxes, 25.5 with them).
    async fn post_start(&self, myself: ActorRef<VmMsg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        Box::pin(begin(myself, state)).await
    }

    /// In a box, as above.
    async fn handle(&self, myself: ActorRef<VmMsg>, message: VmMsg, state: &mut State) -> Result<(), ActorProcessingErr> {
        Box::pin(receive(myself, message, state)).await
    }
}

async fn begin(myself: ActorRef<VmMsg>, state: &mut State) -> Result<(), ActorProcessingErr> {
    let _busy = state.progress.begin("load");
    let myself = Address::new(myself, Arc::clone(&state.progress));
    if std::mem::take(&mut state.reload) {
        reload(state).await;
        let told = if state.record.is_some() {
            VmsMsg::Loaded { id: state.id, from: myself.id() }
        } else {
            VmsMsg::Gone { id: state.id }
        };
        let _ = state.parent.cast(told);
        if state.record.is_none() {
            myself.drain();
        }
    }
    if let Some(record) = state.record.clone() {
        hold_capacity(state, &record);
        drive(state, &myself, Input::Recovered).await?;
    }
    Ok(())
}

async fn receive(myself: ActorRef<VmMsg>, message: VmMsg, state: &mut State) -> Result<(), ActorProcessingErr> {
    let _busy = state.progress.enter(message.name());
    let myself = Address::new(myself, Arc::clone(&state.progress));
    if state.record.is_none() && !matches!(message, VmMsg::Create { .. }) {
        after_the_end(state.id, message);
        return Ok(());
    }
    match message {
        VmMsg::Create { draft, who, operation, reply_to } => {
            let ticket = ticket(state, operation, &who);
            let answer = create(state, &myself, vm::create(*draft, ticket, now()), &who, operation).await;
            let failed = answer.is_err();
            let _ = reply_to.send(answer);
            if failed {
                let _ = state.parent.cast(VmsMsg::Gone { id: state.id });
                myself.stop();
            }
        }
        VmMsg::Command { command, who, reply_to } => {
            let (renamed, rewired) = match &*command {
                Command::Update(change) => (change.name.clone(), change.networks.is_some()),
                _ => (None, false),
            };
            let answer = self::command(state, &myself, *command, &who).await;
            if let Some(name) = renamed {
                let _ = state.parent.cast(VmsMsg::NameSettled { id: state.id, name, from: myself.id() });
            }
            if rewired {
                let _ = state.parent.cast(VmsMsg::InterfacesSettled { id: state.id, from: myself.id() });
            }
            // A journal that takes no more is nothing that this actor can mend; it answers so and stays.
            let _ = reply_to.send(answer);
        }
        VmMsg::Done { attempt, outcome } => {
            state.performer.ended(attempt, &outcome, &state.progress);
            match *outcome {
                Outcome::Finished(result) => drive(state, &myself, Input::Finished { attempt, result }).await?,
                Outcome::Inspected { launch, found } => {
                    let is_full = found == Inspection::DiskFull;
                    drive(state, &myself, Input::Observed(Observed::Inspected { launch, found })).await?;
                    if is_full {
                        hold::hear(state, &myself, Heard::Full { launch }).await?;
                    }
                }
                Outcome::WentOn { launch, found } => hold::hear(state, &myself, Heard::Tried { launch, found }).await?,
            }
            state.performer.next(&myself, &state.shared);
        }
        VmMsg::Elapsed { attempt: launch, timer: Timer::Hold } => hold::hear(state, &myself, Heard::Due { launch }).await?,
        VmMsg::Elapsed { attempt, timer } if hold::puts_off(state, attempt, timer) => {}
        VmMsg::Full { launch } => hold::hear(state, &myself, Heard::Full { launch }).await?,
        VmMsg::Elapsed { attempt, timer } => drive(state, &myself, Input::Elapsed { attempt, timer }).await?,
        VmMsg::Observed(observed) => drive(state, &myself, Input::Observed(*observed)).await?,
        VmMsg::GuestUp { launch, session } => {
            if state.guest.up(&state.shared, state.id, launch, session) {
                drive(state, &myself, Input::Observed(Observed::GuestReady { launch })).await?;
            }
        }
        VmMsg::GuestDown { launch } => state.guest.down(&state.shared, state.id, launch),
        VmMsg::Guest { reply_to } => {
            let _ = reply_to.send(guest(state));
        }
        #[cfg(any(test, feature = "faults"))]
        VmMsg::Crash => panic!("told to"),
        #[cfg(any(test, feature = "faults"))]
        VmMsg::Hang { since } => {
            state.progress.pretend_busy_since(since);
            std::future::pending::<()>().await;
        }
    }
    if state.record.is_none() {
        myself.drain();
    }
    Ok(())
}

/// The record as the journal has it, into the view with its operations.
async fn reload(state: &mut State) {
    let shared = Arc::clone(&state.shared);
    let shown = shared.view.vm(state.id).map(|row| row.record);
    let stored = {
        let _waits = state.progress.waits_for("the journal to settle");
        shared.stored(schema::VMS, state.id.to_string(), shown.clone()).await
    };
    let operation = |vm: &Option<Arc<Vm>>| vm.as_ref().and_then(|vm| vm.operation).map(|in_flight| in_flight.id);
    for id in [operation(&shown), operation(&stored)].into_iter().flatten() {
        state.operations.refresh(&shared, id);
    }
    match &stored {
        Some(record) => shared.view.put_vm(VmView { record: Arc::clone(record), agent: None, started_at: None, hold: None }),
        None => shared.view.drop_vm(state.id),
    }
    state.record = stored;
}

async fn create(
    state: &mut State,
    myself: &VmRef,
    step: Step,
    who: &Who,
    operation: OperationId,
) -> Result<Accepted<Arc<Vm>>, CommandError> {
    if let Some(next) = &step.next {
        reserve(state, next)?;
    }
    let asked = Asked { who, kind: Kind::Vm, id: state.id.to_string(), operation: Some(operation) };
    let committed = commit(state, step, Some(asked)).await;
    match committed {
        Ok((Some(record), effects)) => {
            let _ = state.parent.cast(VmsMsg::NameSettled { id: state.id, name: record.name.clone(), from: myself.id() });
            perform(state, myself, &record, effects);
            Ok(Accepted { resource: record, operation: Some(operation) })
        }
        Ok((None, _)) => Err(CommandError::Restarting),
        Err(error) => {
            state.shared.ledger().release(state.id);
            Err(error)
        }
    }
}

async fn command(state: &mut State, myself: &VmRef, command: Command, who: &Who) -> Result<Accepted<Arc<Vm>>, CommandError> {
    let record = state.record.clone().ok_or_else(|| gone(state.id))?;
    if let Command::Cancel { operation } = command {
        return cancel(state, myself, record, operation, who).await;
    }
    admission::admit(&record, &command, who, state.shared.view.offer(state.shared.host))?;
    // An update is done with its commit; everything else goes on after it.
    let operation = (!matches!(command, Command::Update(_))).then(|| OperationId::from_bits(new_id()));
    let ticket = ticket(state, operation.unwrap_or(OperationId::from_bits(0)), who);
    let step = vm::step(&record, Input::Command { command, ticket }, now()).map_err(CommandError::Vm)?;
    // What is only being ended (the deletion of a VM that does not run) needs no room. One that runs may be given more memory.
    if let Some(next) = &step.next
        && match record.state.holds_capacity() {
            true => next.held_mem_mib() > record.held_mem_mib(),
            false => matches!(next.state, VmState::Starting(_)),
        }
    {
        reserve(state, next)?;
    }
    let asked = Asked { who, kind: Kind::Vm, id: state.id.to_string(), operation };
    match commit(state, step, Some(asked)).await {
        Ok((next, effects)) => {
            let shown = next.clone().unwrap_or(record);
            perform(state, myself, &shown, effects);
            Ok(Accepted { resource: shown, operation })
        }
        Err(error) => {
            hold_capacity(state, &record);
            Err(error)
        }
    }
}

/// Turns back what is in flight. The condition is the operation's: that is what the asker has seen.
async fn cancel(
    state: &mut State,
    myself: &VmRef,
    record: Arc<Vm>,
    operation: OperationId,
    who: &Who,
) -> Result<Accepted<Arc<Vm>>, CommandError> {
    if let Some(shown) = state.shared.view.operation(operation) {
        who.check(shown.generation)?;
    }
    let ticket = ticket(state, operation, who);
    let input = Input::Command { command: Command::Cancel { operation }, ticket };
    let step = vm::step(&record, input, now()).map_err(CommandError::Vm)?;
    let asked = Asked { who, kind: Kind::Operation, id: operation.to_string(), operation: Some(operation) };
    let (next, effects) = commit(state, step, Some(asked)).await?;
    let shown = next.unwrap_or(record);
    perform(state, myself, &shown, effects);
    Ok(Accepted { resource: shown, operation: Some(operation) })
}

fn ticket(state: &State, operation: OperationId, who: &Who) -> Ticket {
    let agent = if state.guest.session().is_some() { Agent::Connected } else { Agent::Away };
    Ticket { operation, actor: who.actor.clone(), agent, offer: state.shared.view.offer(state.shared.host) }
}

/// An input that nobody waits for. An error ends the actor: it is loaded again and finds out what is true.
pub(super) async fn drive(state: &mut State, myself: &VmRef, input: Input) -> Result<(), ActorProcessingErr> {
    let Some(record) = state.record.clone() else { return Ok(()) };
    let Ok(step) = vm::step(&record, input, now()) else { return Ok(()) };
    let shared = Arc::clone(&state.shared);
    if mutant::on(Mutant::PerformsBeforeTheCommit)
        && let Some(next) = &step.next
    {
        perform(state, myself, &Arc::new(next.clone()), step.effects.clone());
    }
    let _turn = {
        let _waits = state.progress.waits_for("its turn to commit");
        shared.unasked.acquire().await?
    };
    let (next, effects) = commit(state, step, None).await.map_err(|error| ActorProcessingErr::from(chain(&error)))?;
    let shown = next.unwrap_or(record);
    perform(state, myself, &shown, effects);
    Ok(())
}

/// Makes the step durable and shows it. What did not change is not written.
pub(super) async fn commit(
    state: &mut State,
    step: Step,
    asked: Option<Asked<'_>>,
) -> Result<(Option<Arc<Vm>>, Vec<Effect>), CommandError> {
    let before = state.record.clone();
    let changed = match (&before, &step.next) {
        (Some(before), Some(next)) => **before != *next,
        _ => true,
    };
    if !changed && step.events.is_empty() && step.operations.is_empty() && asked.is_none() {
        return Ok((before, step.effects));
    }
    // The very same record stays the one that the view shares.
    let last = if changed { step.next.map(Arc::new) } else { before.clone() };
    let Some(subject) = last.clone().or_else(|| before.clone()) else { return Ok((None, step.effects)) };
    let whose = Subject {
        kind: Kind::Vm,
        id: state.id.to_string(),
        name: &subject.name,
        project: &subject.project,
        generation: subject.generation,
    };
    let mut commit = Commit::new();
    match &last {
        Some(next) if changed => commit.put(schema::VMS, state.id.to_string(), next.as_ref())?,
        Some(_) => {}
        None => commit.delete(schema::VMS, state.id.to_string()),
    }
    address::follow(&mut commit, before.as_deref(), last.as_deref())?;
    commit.events(&whose, step.events)?;
    commit.operations(&state.shared, &whose, step.operations)?;
    if let Some(asked) = asked {
        commit.answer(asked.who, asked.kind, asked.id, asked.operation)?;
    }
    let shared = Arc::clone(&state.shared);
    let operations = state.operations.clone();
    // The view first, then who waits: whoever hears of the end must see it.
    let _waits = state.progress.waits_for("the journal");
    commit.write_with(&shared, &operations, || show(state, before.as_deref(), last.as_ref())).await?;
    Ok((last, step.effects))
}

/// What is durable becomes visible; capacity and the guest's link follow the state.
fn show(state: &mut State, before: Option<&Vm>, next: Option<&Arc<Vm>>) {
    state.record = next.cloned();
    let Some(next) = next else {
        state.shared.view.drop_vm(state.id);
        state.shared.ledger().release(state.id);
        state.guest.forget(&state.shared, state.id);
        let _ = state.parent.cast(VmsMsg::Gone { id: state.id });
        return;
    };
    if !next.state.holds_capacity() {
        state.shared.ledger().release(state.id);
    } else if before.is_some_and(|before| share(before) != share(next)) {
        // A new launch has what is recorded now, which may be less than the one before was given.
        state.shared.ledger().hold(state.id, share(next));
    }
    let machine = |vm: &Vm| vm.state.machine().map(|machine| machine.launch);
    if machine(next).is_none() || before.and_then(machine) != machine(next) {
        state.guest.forget(&state.shared, state.id);
        if machine(next).is_none() {
            state.performer.unfollow();
        }
    }
    state.hold = state.hold.filter(|hold| machine(next) == Some(hold.launch));
    let was = state.shared.view.vm(state.id);
    let running = matches!(next.state, VmState::Running(_) | VmState::Pausing(_) | VmState::Paused(_) | VmState::Resuming(_));
    let started_at = match was.as_ref().and_then(|was| was.started_at) {
        _ if !running => None,
        Some(since) => Some(since),
        None => Some(next.updated_at),
    };
    let agent = was.and_then(|was| was.agent).filter(|_| machine(next).is_some());
    state.shared.view.put_vm(VmView { record: Arc::clone(next), agent, started_at, hold: state.hold });
}

fn perform(state: &mut State, myself: &VmRef, record: &Arc<Vm>, effects: Vec<Effect>) {
    for effect in effects {
        match effect {
            Effect::StartTimer { timer, after_ms } => start_timer(state, record, timer, after_ms),
            Effect::Watch(machine) => state.performer.watch(myself, &state.shared, state.id, machine),
            Effect::AwaitGuest(machine) => state.performer.await_guest(myself, &state.shared, state.id, machine),
            effect => state.performer.queue(Arc::clone(record), effect, state.guest.session()),
        }
    }
    state.performer.next(myself, &state.shared);
}

fn start_timer(state: &State, record: &Vm, timer: Timer, after_ms: u64) {
    // VMs that wait for the same thing do not all come back in the same moment.
    let spread = if timer == Timer::Backoff { ambient::random() as u64 % (after_ms / 10 + 1) } else { 0 };
    state.timers.set(record.id, record.attempt, timer, Duration::from_millis(after_ms + spread));
}

/// The VM is no more, and its actor ends once it has answered to all that is on its way: who asks hears that, and not that nobody knows.
fn after_the_end(id: VmId, message: VmMsg) {
    match message {
        VmMsg::Command { reply_to, .. } => drop(reply_to.send(Err(gone(id)))),
        VmMsg::Guest { reply_to } => drop(reply_to.send(Err(gone(id)))),
        // Of its machine, which is no more either.
        _ => {}
    }
}

fn gone(id: VmId) -> CommandError {
    CommandError::NotFound { kind: Kind::Vm, reference: id.to_string() }
}

fn share(vm: &Vm) -> Share {
    Share { vcpus: vm.spec.vcpus, mem_mib: vm.held_mem_mib() }
}

fn reserve(state: &State, next: &Vm) -> Result<(), CommandError> {
    if !next.state.holds_capacity() {
        return Ok(());
    }
    state.shared.ledger().reserve(state.id, share(next)).map_err(CommandError::NoCapacity)
}

/// What a loaded record uses already is entered, whatever the capacity says; and what it does not use is given back: an actor that was killed
/// between the disk and the view had no time for it, nor one that had reserved for a start that never reached the disk.
fn hold_capacity(state: &State, record: &Vm) {
    if !record.state.holds_capacity() {
        state.shared.ledger().release(state.id);
    } else if !mutant::on(Mutant::ForgetsCapacity) {
        state.shared.ledger().hold(state.id, share(record));
    }
}

fn guest(state: &State) -> Result<(vm::Machine, Arc<dyn host::guest::GuestSession>), CommandError> {
    let record = state.record.as_ref().ok_or_else(|| gone(state.id))?;
    let offer = state.shared.view.offer(record.host);
    let mut table = vm::table(record, offer).into_iter();
    let refused = table.find(|(action, _)| *action == vm::Action::Exec).and_then(|(_, refused)| refused);
    if let Some(refused) = refused {
        return Err(CommandError::Vm(refused));
    }
    match (record.state.machine(), state.guest.session()) {
        (Some(machine), Some(session)) => Ok((machine.clone(), session)),
        _ => Err(CommandError::GuestUnavailable { detail: "its agent is not connected just now".to_owned() }),
    }
}
