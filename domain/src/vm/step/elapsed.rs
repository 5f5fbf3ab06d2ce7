//! What follows when a timer fired.

use super::{BOOT_DEADLINE_MS, build::Next, effect_of};
use crate::vm::{
    effect::Step,
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

/// The guest did not shut down in time, or an effect is due again.
pub(super) fn stopping(mut next: Next, stopping: Stopping) -> Step {
    match stopping.stage {
        StopStage::Asking(machine) => next.kill(machine, stopping.then),
        stage @ (StopStage::Killing(_) | StopStage::Cleaning) => {
            next.issue(effect_of(&stage));
            next.vm.state = State::Stopping(Stopping { stage, then: stopping.then, tries: stopping.tries });
        }
    }
    next.done()
}
