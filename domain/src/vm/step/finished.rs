//! What follows when an effect ended.

use super::{BOOT_DEADLINE_MS, RETRY_MS, TRIES_MAX, build::Next, ended};
use crate::vm::{
    effect::{Effect, Step},
    input::{Finished, Timer},
    state::{Machine, ReasonCode, Starting, State, StopStage, Stopping, Then},
};

pub(super) fn disk_ready(mut next: Next, start: bool) -> Step {
    next.vm.state = State::Created;
    next.event("vm-created");
    if start {
        next.vm.state = State::Starting(Starting::Launching);
        next.event("vm-starting");
        return launch(next);
    }
    next.settle();
    next.done()
}

/// A VM that never came to be leaves nothing behind: its operation tells why, the rest is removed.
pub(super) fn disk_failed(mut next: Next, code: String, detail: String) -> Step {
    next.fail(&code, detail, "mend the cause and create the VM again; nothing of it was kept");
    next.event("vm-create-failed");
    next.clean(Then::Delete);
    next.done()
}

/// Makes the process (again).
pub(super) fn launch(mut next: Next) -> Step {
    next.vm.state = State::Starting(Starting::Launching);
    next.vm.launches();
    next.advance("launch", 20);
    next.issue(Effect::Launch);
    next.done()
}

/// The machine's identity becomes durable with this step; only then may it run.
pub(super) fn launched(mut next: Next, machine: Machine) -> Step {
    next.vm.state = State::Starting(Starting::Releasing(machine.clone()));
    next.advance("boot", 40);
    next.issue(Effect::Release(machine));
    next.done()
}

pub(super) fn released(mut next: Next, machine: Machine) -> Step {
    next.advance("wait for the agent", 60);
    boot(next, machine)
}

/// The machine runs; its guest has so long to say hello.
pub(super) fn boot(mut next: Next, machine: Machine) -> Step {
    next.vm.attempt = next.vm.attempt.next();
    next.follow(&machine);
    next.vm.state = State::Starting(Starting::Booting(machine));
    next.timer(Timer::Boot, BOOT_DEADLINE_MS);
    next.done()
}

pub(super) fn paused(mut next: Next, machine: Machine) -> Step {
    next.vm.state = State::Paused(machine.clone());
    next.event("vm-paused");
    next.settle();
    tune_again(&mut next, machine);
    next.done()
}

/// What failed may have taken effect all the same (its answer was late, an earlier one was under way): the host is asked, and a machine that
/// is not as recorded is made so.
pub(super) fn pause_failed(mut next: Next, machine: Machine, detail: String) -> Step {
    next.vm.state = State::Running(machine.clone());
    next.event("vm-pause-failed");
    next.fail("pause-failed", detail, "the VM goes on running; look at its console log");
    next.issue(Effect::Inspect(machine));
    next.done()
}

pub(super) fn resumed(mut next: Next, machine: Machine) -> Step {
    next.vm.state = State::Running(machine.clone());
    next.event("vm-resumed");
    next.settle();
    tune_again(&mut next, machine);
    next.done()
}

/// As for a pause that failed.
pub(super) fn resume_failed(mut next: Next, machine: Machine, detail: String) -> Step {
    next.vm.state = State::Paused(machine.clone());
    next.event("vm-resume-failed");
    next.fail("resume-failed", detail, "the VM stays paused; try again, or stop it with force");
    next.issue(Effect::Inspect(machine));
    next.done()
}

/// Of a machine that is at rest again: what was changed since it was made is made so once more. A crash may have come before it was, or a try
/// have failed, or its answer have come too late to count.
pub(super) fn tune_again(next: &mut Next, machine: Machine) {
    if next.vm.retuned {
        next.issue(Effect::Tune(machine));
    }
}

/// What an earlier try did not bring about is no news any more.
pub(super) fn tuned(mut next: Next) -> Step {
    if next.vm.reason.as_ref().is_none_or(|reason| reason.code != ReasonCode::NotApplied) {
        return next.unchanged();
    }
    next.vm.reason = None;
    next.event("vm-tuned");
    next.done()
}

/// The change stands: its answer was given with its record. That it does not hold yet is said with the VM.
pub(super) fn tune_failed(mut next: Next, detail: &str) -> Step {
    let before = next.vm.reason.clone();
    next.because(ReasonCode::NotApplied, format!("{detail}; what was asked for holds from the next start"));
    if next.vm.reason == before {
        return next.unchanged();
    }
    next.event("vm-tune-failed");
    next.done()
}

/// The ways out of a run.
pub(super) fn stopping(mut next: Next, stopping: Stopping, result: Finished) -> Step {
    match (stopping.stage, result) {
        // From here the guest's end is awaited, or the deadline.
        (StopStage::Asking(machine), Finished::ShutdownAsked) => {
            next.vm.state = State::Stopping(Stopping { stage: StopStage::Asking(machine), ..stopping });
            next.advance("wait for the guest", 30);
            next.done()
        }
        // A guest that can't be asked is ended.
        (StopStage::Asking(machine), Finished::ShutdownFailed { .. }) => {
            next.kill(machine, stopping.then);
            next.done()
        }
        (StopStage::Killing(_), Finished::Killed) => {
            next.clean(stopping.then);
            next.done()
        }
        (StopStage::Killing(machine), Finished::KillFailed { detail }) => {
            again(next, StopStage::Killing(machine), stopping.then, stopping.tries, detail)
        }
        (StopStage::Cleaning, Finished::Cleaned) => cleaned(next, stopping.then),
        (StopStage::Cleaning, Finished::CleanFailed { detail }) => {
            again(next, StopStage::Cleaning, stopping.then, stopping.tries, detail)
        }
        // An answer that belongs to no effect of this stage.
        _ => next.unchanged(),
    }
}

/// Tried again after a while; past the limit the VM is failed and says what is left.
fn again(mut next: Next, stage: StopStage, then: Then, tries: u8, detail: String) -> Step {
    let tries = tries + 1;
    if tries >= TRIES_MAX {
        let (code, hint) = match then {
            Then::Delete => (ReasonCode::DeleteFailed, "mend the cause, then delete the VM again"),
            Then::Stopped | Then::Relaunch | Then::Restart | Then::Failed => {
                (ReasonCode::CleanFailed, "mend the cause, then delete the VM or start it again: both clean up first")
            }
        };
        next.vm.state = State::Failed;
        next.because(code, detail.clone());
        next.event("vm-failed");
        next.fail("clean-failed", detail, hint);
        return next.done();
    }
    next.vm.state = State::Stopping(Stopping { stage, then, tries });
    next.vm.attempt = next.vm.attempt.next();
    next.timer(Timer::Retry, RETRY_MS);
    next.done()
}

/// Nothing of the run is left.
fn cleaned(mut next: Next, then: Then) -> Step {
    match then {
        Then::Stopped => {
            next.vm.state = State::Stopped;
            next.event("vm-stopped");
            next.settle();
            next.done()
        }
        Then::Relaunch => launch(next),
        Then::Restart => ended::back_off(next),
        Then::Failed => {
            next.vm.state = State::Failed;
            next.event("vm-failed");
            next.done()
        }
        Then::Delete => {
            next.vm.state = State::Deleting;
            next.advance("remove the disk", 90);
            next.issue(Effect::Remove);
            next.done()
        }
    }
}

pub(super) fn removed(mut next: Next) -> Step {
    next.event("vm-deleted");
    next.settle();
    next.gone()
}

pub(super) fn remove_failed(mut next: Next, detail: String) -> Step {
    next.vm.state = State::Failed;
    next.because(ReasonCode::DeleteFailed, detail.clone());
    next.event("vm-failed");
    next.fail("remove-failed", detail, "mend the cause and delete the VM again");
    next.done()
}
