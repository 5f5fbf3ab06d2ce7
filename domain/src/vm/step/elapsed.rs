//! What follows when a timer fired.

use super::{BOOT_DEADLINE_MS, build::Next, effect_of};
use crate::vm::{
    effect::Step,
    input::Timer,
    state::{Machine, ReasonCode, State, StopStage, Stopping, Then},
};

/// The guest's agent never said hello.
pub(super) fn boot(mut next: Next, machine: Machine) -> Step {
    let detail = format!("the guest's agent did not answer within {} s", BOOT_DEADLINE_MS / 1000);
    next.because(ReasonCode::AgentTimeout, detail.clone());
    next.fail("agent-timeout", detail, "look at its console log: the kernel or the image may not boot");
    next.kill(machine, Then::Failed);
    next.event("vm-exited");
    next.done()
}

/// The guest did not shut down in time, or an effect is due again. A timer of another stage says nothing about this one.
pub(super) fn stopping(mut next: Next, stopping: Stopping, timer: Timer) -> Step {
    match (stopping.stage, timer) {
        (StopStage::Asking(machine) | StopStage::Waiting(machine), Timer::Stop) => next.kill(machine, stopping.then),
        (stage @ (StopStage::Killing(_) | StopStage::Cleaning), Timer::Retry) => {
            next.issue(effect_of(&stage));
            next.vm.state = State::Stopping(Stopping { stage, then: stopping.then, tries: stopping.tries });
        }
        (StopStage::Asking(_) | StopStage::Waiting(_), Timer::Boot | Timer::Backoff | Timer::Retry | Timer::Hold)
        | (StopStage::Killing(_) | StopStage::Cleaning, Timer::Boot | Timer::Stop | Timer::Backoff | Timer::Hold) => {
            return next.unchanged();
        }
    }
    next.done()
}
