//! What follows from a report about the machine that the VM has now.

use super::build::Next;
use super::{ended, finished};
use crate::mutant::{self, Mutant};
use crate::vm::{
    effect::{Effect, Step},
    input::{Exit, Inspection, Timer},
    state::{Machine, Starting, State, StopStage, Stopping},
};

/// The agent said hello: a VM that boots is running from here on. A later hello of the same launch is a reconnect and no news.
pub(super) fn guest_ready(mut next: Next, machine: Machine) -> Step {
    match &next.vm.state {
        State::Starting(Starting::Booting(_)) => {}
        // It came back in the middle of a stop, so it may not have heard. No new attempt: the deadline goes on counting.
        State::Stopping(Stopping { stage: stage @ StopStage::Asking(_), .. }) => {
            next.effects.push(super::effect_of(stage));
            return next.done();
        }
        // It is here, and hears of the stop now.
        State::Stopping(Stopping { stage: StopStage::Waiting(_), then, tries }) => {
            let stage = StopStage::Asking(machine);
            next.effects.push(super::effect_of(&stage));
            next.vm.state = State::Stopping(Stopping { stage, then: *then, tries: *tries });
            next.advance("ask the guest", 25);
            return next.done();
        }
        _ => return next.unchanged(),
    }
    next.vm.state = State::Running(machine.clone());
    next.vm.reason = None;
    // The boot's timer no longer counts.
    next.vm.attempt = next.vm.attempt.next();
    next.event("vm-started");
    next.settle();
    finished::tune_again(&mut next, machine);
    next.done()
}

/// The host was asked after a restart of ours: go on from what is true.
pub(super) fn inspected(next: Next, machine: Machine, found: Inspection) -> Step {
    match found {
        Inspection::Gone { exit } => gone(next, exit),
        Inspection::Held => held(next, machine),
        Inspection::Running => alive(next, machine, true),
        Inspection::Paused => alive(next, machine, false),
        // That it is held is for `hold` to follow. What is to run counts as running, or its boot would have no end, and a stop no deadline.
        Inspection::DiskFull => {
            let is_paused = matches!(next.vm.state, State::Pausing(_) | State::Paused(_) | State::Snapshotting(_));
            alive(next, machine, !is_paused)
        }
    }
}

fn gone(next: Next, exit: Exit) -> Step {
    match next.vm.state {
        // It was never let run: it ended because hearth did, which is nobody's failure.
        State::Starting(Starting::Releasing(_)) => finished::launch(next),
        _ => ended::exited(next, exit),
    }
}

fn held(mut next: Next, machine: Machine) -> Step {
    match next.vm.state {
        State::Starting(Starting::Releasing(_)) => {
            next.issue(Effect::Release(machine));
            next.done()
        }
        // Everything else presumes that it ran; a held process is no such machine.
        _ => ended::exited(next, Exit::Unknown),
    }
}

/// The process is there, with its vCPUs running or not.
fn alive(mut next: Next, machine: Machine, running: bool) -> Step {
    match (next.vm.state.clone(), running) {
        (State::Starting(Starting::Releasing(_) | Starting::Booting(_)), true) => {
            return finished::boot(next, machine);
        }
        // It was let run and runs no more, as when the host's disk was full under it: nobody else lets it go on, and until then its agent
        // can't answer.
        (State::Starting(Starting::Releasing(_) | Starting::Booting(_)), false) => {
            next.vm.state = State::Starting(Starting::Releasing(machine.clone()));
            next.issue(Effect::Release(machine));
        }
        (State::Running(_), true) | (State::Paused(_), false) => {
            next.follow(&machine);
            next.event("vm-adopted");
            // As `tune_again`, without a number of its own.
            if next.vm.retuned && !mutant::on(Mutant::LeavesItUntuned) {
                next.effects.push(Effect::Tune(machine));
            }
            // As recorded: the record stays, and with it every ETag that a client holds.
            return next.unmoved();
        }
        // Somebody paused it behind our back; the VM is to run.
        (State::Running(_), false) => {
            next.follow(&machine);
            next.vm.state = State::Resuming(machine.clone());
            next.event("vm-adopted");
            next.issue(Effect::Resume(machine));
        }
        (State::Paused(_) | State::Snapshotting(_), true) => {
            next.follow(&machine);
            next.vm.state = State::Pausing(machine.clone());
            next.event("vm-adopted");
            next.issue(Effect::Pause(machine));
        }
        (State::Snapshotting(_), false) => {
            next.follow(&machine);
            return finished::paused(next, machine);
        }
        // Also where it seems to be so already: the look may be older than what was asked for since, and what is so is soon done.
        (State::Pausing(_), _) => {
            next.follow(&machine);
            next.issue(Effect::Pause(machine));
        }
        (State::Resuming(_), _) => {
            next.follow(&machine);
            next.issue(Effect::Resume(machine));
        }
        (State::Stopping(Stopping { stage: StopStage::Asking(_) | StopStage::Waiting(_), .. }), _) => {
            // The agent is asked once it is connected again: asked now it would fail, and the guest be ended without its time.
            next.follow(&machine);
            next.vm.attempt = next.vm.attempt.next();
            next.timer(Timer::Stop, super::STOP_DEADLINE_MS);
        }
        // Killing goes on by itself; the other states have no machine.
        (
            State::Stopping(_)
            | State::Creating { .. }
            | State::Created
            | State::Starting(Starting::Launching | Starting::BackingOff)
            | State::Stopped
            | State::Restoring
            | State::Failed
            | State::Deleting,
            _,
        ) => return next.unchanged(),
    }
    next.done()
}
