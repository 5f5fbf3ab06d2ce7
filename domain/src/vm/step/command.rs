//! What an admitted command sets in motion.

use super::{build::Next, effect_of};
use crate::{
    mutant::{self, Mutant},
    operation::OperationKind,
    vm::{
        effect::{Effect, Step},
        input::{Agent, Change, Command, StopMode, Ticket, Timer},
        state::{Machine, Restarts, Starting, State, StopStage, Stopping, Then},
    },
};

/// `command` was admitted by the table; a state that it does not fit is left as it is.
pub(super) fn carry_out(next: Next, command: Command, ticket: Ticket) -> Step {
    match command {
        Command::Start => start(next, ticket),
        Command::Stop(mode) => stop(next, mode, OperationKind::VmStop, Then::Stopped, ticket),
        Command::Reboot(mode) => stop(next, mode, OperationKind::VmReboot, Then::Relaunch, ticket),
        Command::Pause => pause(next, ticket),
        Command::Resume => resume(next, ticket),
        Command::Delete { .. } => delete(next, ticket),
        Command::Update(change) => update(next, change, ticket),
        Command::Cancel { .. } => cancel(next, ticket),
    }
}

fn start(mut next: Next, ticket: Ticket) -> Step {
    next.vm.state = State::Starting(Starting::Launching);
    next.vm.launches();
    next.vm.reason = None;
    // A user's start is a new beginning: the budget of the policy is whole again.
    next.vm.restarts = Restarts { in_window: 0, window_start: next.now, total: next.vm.restarts.total };
    next.begin(OperationKind::VmStart, &ticket, "launch");
    next.event_by("vm-starting", &ticket);
    next.issue(Effect::Launch);
    next.done()
}

fn stop(mut next: Next, mode: StopMode, kind: OperationKind, then: Then, ticket: Ticket) -> Step {
    let state = next.vm.state.clone();
    next.vm.reason = None;
    match (state, mode) {
        (State::Running(machine), StopMode::Graceful { deadline_ms }) => {
            ask_guest(&mut next, machine, deadline_ms, (kind, then), &ticket);
        }
        (state, _) => {
            next.begin(kind, &ticket, "end the machine");
            end(&mut next, &state, then);
            next.event_by("vm-stopping", &ticket);
        }
    }
    next.done()
}

fn ask_guest(next: &mut Next, machine: Machine, deadline_ms: u64, (kind, then): (OperationKind, Then), ticket: &Ticket) {
    let (stage, step) = match ticket.agent {
        Agent::Connected => (StopStage::Asking(machine.clone()), "ask the guest"),
        Agent::Away => (StopStage::Waiting(machine.clone()), "wait for the agent"),
    };
    next.vm.state = State::Stopping(Stopping { stage, then, tries: 0 });
    next.begin(kind, ticket, step);
    next.event_by("vm-stopping", ticket);
    match ticket.agent {
        Agent::Connected => next.issue(Effect::AskShutdown { machine, deadline_ms }),
        Agent::Away => next.vm.attempt = next.vm.attempt.next(),
    }
    next.timer(Timer::Stop, deadline_ms);
}

/// Turns back. What the operation in flight made is undone; it ends as cancelled when that is done.
fn cancel(mut next: Next, ticket: Ticket) -> Step {
    let Some(in_flight) = next.vm.operation else { return next.unchanged() };
    if mutant::on(Mutant::CancelsWithoutUndoing) {
        next.cancelled();
        return next.done();
    }
    match (in_flight.kind, next.vm.state.clone()) {
        (
            OperationKind::VmStop | OperationKind::VmReboot,
            State::Stopping(Stopping { stage: StopStage::Waiting(machine), .. }),
        ) => {
            next.vm.state = State::Running(machine.clone());
            next.event_by("vm-stop-cancelled", &ticket);
            next.cancelled();
            // A new attempt, which voids the deadline; and a machine that was found paused meanwhile is to run again.
            next.issue(Effect::Inspect(machine));
        }
        (_, State::Pausing(machine)) => {
            next.vm.state = State::Resuming(machine.clone());
            next.advance("resume again", 50);
            next.event_by("vm-resuming", &ticket);
            next.issue(Effect::Resume(machine));
        }
        (_, State::Resuming(machine)) => {
            next.vm.state = State::Pausing(machine.clone());
            next.advance("pause again", 50);
            next.event_by("vm-pausing", &ticket);
            next.issue(Effect::Pause(machine));
        }
        (kind, state) => {
            let (then, event) = match kind {
                OperationKind::VmCreate => (Then::Delete, "vm-deleting"),
                _ => (Then::Stopped, "vm-stopping"),
            };
            end(&mut next, &state, then);
            next.event_by(event, &ticket);
        }
    }
    next.done()
}

/// Ends whatever runs, at once.
fn end(next: &mut Next, state: &State, then: Then) {
    match state.machine() {
        Some(machine) => next.kill(machine.clone(), then),
        // A process may just be in the making; cleaning ends it too.
        None => next.clean(then),
    }
}

fn pause(mut next: Next, ticket: Ticket) -> Step {
    if let State::Running(machine) = next.vm.state.clone() {
        next.vm.state = State::Pausing(machine.clone());
        next.begin(OperationKind::VmPause, &ticket, "pause");
        next.event_by("vm-pausing", &ticket);
        next.issue(Effect::Pause(machine));
    }
    next.done()
}

fn resume(mut next: Next, ticket: Ticket) -> Step {
    if let State::Paused(machine) = next.vm.state.clone() {
        next.vm.state = State::Resuming(machine.clone());
        next.begin(OperationKind::VmResume, &ticket, "resume");
        next.event_by("vm-resuming", &ticket);
        next.issue(Effect::Resume(machine));
    }
    next.done()
}

fn delete(mut next: Next, ticket: Ticket) -> Step {
    let state = next.vm.state.clone();
    next.vm.reason = None;
    next.begin(OperationKind::VmDelete, &ticket, "end the machine");
    match state {
        // Cleaning goes on as it is, with another end.
        State::Stopping(Stopping { stage: StopStage::Cleaning, .. }) => {
            let stopping = Stopping { stage: StopStage::Cleaning, then: Then::Delete, tries: 0 };
            next.issue(effect_of(&stopping.stage));
            next.vm.state = State::Stopping(stopping);
        }
        state => end(&mut next, &state, Then::Delete),
    }
    next.event_by("vm-deleting", &ticket);
    next.done()
}

fn update(mut next: Next, change: Change, ticket: Ticket) -> Step {
    let vm = &mut next.vm;
    change.apply(&mut vm.spec);
    if vm.state.machine().is_some() {
        vm.memory.most_mib = vm.held_mem_mib();
    }
    let tunes = change.tunes(ticket.offer) || change.renews(ticket.offer);
    if let Some(networks) = change.networks {
        (vm.nics, vm.network_note) = (networks.nics, networks.note);
    }
    if let Some(name) = change.name {
        vm.name = name;
    }
    if let Some(labels) = change.labels {
        vm.labels = *labels;
    }
    next.event_by("vm-updated", &ticket);
    if let Some(event) = next.events.last_mut() {
        // The change is made with this step; no operation belongs to it.
        event.operation = None;
    }
    if tunes && (next.vm.state.machine().is_some() || next.vm.state == State::Starting(Starting::Launching)) {
        next.vm.retuned = true;
    }
    // Asked for once more, it is tried once more. One that is stopping has it when its stop is taken back.
    if let State::Running(machine) | State::Paused(machine) = next.vm.state.clone()
        && tunes
    {
        next.issue(Effect::Tune(machine));
    }
    next.done()
}
