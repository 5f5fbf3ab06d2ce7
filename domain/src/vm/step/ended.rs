//! What follows when a machine ended, or could not be made: reasons, the restart policy, back-off and budget.

use super::{BACKOFF_FIRST_MS, BACKOFF_MAX_MS, RESTART_WINDOW_MS, RESTARTS_MAX, build::Next};
use crate::vm::{
    effect::Step,
    input::{Exit, Timer},
    spec::RestartPolicy,
    state::{Machine, ReasonCode, Starting, State, Then},
};

/// The process is gone.
pub(super) fn exited(mut next: Next, exit: Exit) -> Step {
    if let State::Stopping(stopping) = next.vm.state.clone() {
        // It was meant to end.
        next.clean(stopping.then);
        return next.done();
    }
    let (code, detail) = reason_of(&exit);
    let then = after(&next, &exit);
    match then {
        Then::Relaunch => {
            // A pause or resume that was under way is void: the machine that it was meant for is no more.
            next.fail(code.as_str(), detail.clone(), "ask again once the VM runs");
            next.clean(then);
            next.because(code, detail);
            next.event("vm-rebooting");
            next.vm.reason = None;
        }
        _ => {
            next.because(code, detail.clone());
            next.fail(code.as_str(), detail, hint_of(&exit));
            next.clean(then);
            next.event("vm-exited");
        }
    }
    next.done()
}

/// No process came to be. What was made for it is given back.
pub(super) fn launch_failed(mut next: Next, code: String, detail: String) -> Step {
    let then = after_no_launch(&next);
    next.because(ReasonCode::LaunchFailed, detail.clone());
    next.fail(&code, detail, "mend the cause and start the VM again");
    next.clean(then);
    next.done()
}

/// The process was made but does not answer.
pub(super) fn release_failed(mut next: Next, machine: Machine, detail: String) -> Step {
    let then = after_no_launch(&next);
    next.because(ReasonCode::LaunchFailed, detail.clone());
    next.fail("launch-failed", detail, "look at the VM's log and at `hearth doctor`");
    next.kill(machine, then);
    next.done()
}

/// Who asked for the launch hears of its failure and decides. One that nobody waits for follows the policy, which may be none: a guest that
/// rebooted from inside is launched again whatever the policy.
fn after_no_launch(next: &Next) -> Then {
    match (next.vm.operation, next.vm.spec.restart) {
        (Some(_), _) | (None, RestartPolicy::Never) => Then::Failed,
        (None, RestartPolicy::OnFailure | RestartPolicy::Always) => Then::Restart,
    }
}

fn reason_of(exit: &Exit) -> (ReasonCode, String) {
    match exit {
        Exit::GuestShutdown => (ReasonCode::GuestShutdown, "the guest shut down by itself".to_owned()),
        Exit::GuestReboot => (ReasonCode::GuestReboot, "the guest rebooted".to_owned()),
        Exit::GuestPanic => (ReasonCode::GuestPanic, "the guest's kernel panicked".to_owned()),
        Exit::Killed { signal } => (ReasonCode::VmmKilled, format!("the VMM was ended from outside by signal {signal}")),
        Exit::Failed { code, detail } => (ReasonCode::VmmFailed, format!("the VMM ended with code {code}: {detail}")),
        Exit::Unknown => (ReasonCode::VmmGone, "the VMM's process is gone, and nobody saw how it ended".to_owned()),
        Exit::OutOfMemory => {
            let detail = "the kernel ended the VMM for want of memory: its own limit was reached, or the host had none left";
            (ReasonCode::OutOfMemory, detail.to_owned())
        }
        Exit::Seccomp => {
            let detail = "the VMM made a system call that its filter forbids, and was ended";
            (ReasonCode::SeccompViolation, detail.to_owned())
        }
    }
}

fn hint_of(exit: &Exit) -> &'static str {
    match exit {
        Exit::OutOfMemory => "stop other VMs, or look at the host's free memory and at the limits of hearth's own control group",
        Exit::Seccomp => "look at the server's log for the system call; update the VMM, and do not trust this guest meanwhile",
        Exit::GuestShutdown
        | Exit::GuestReboot
        | Exit::GuestPanic
        | Exit::Killed { .. }
        | Exit::Failed { .. }
        | Exit::Unknown => "look at its console log: it ends with what the guest said last",
    }
}

/// What the policy makes of an end that nobody asked for.
fn after(next: &Next, exit: &Exit) -> Then {
    let was_up = matches!(
        next.vm.state,
        State::Running(_) | State::Pausing(_) | State::Paused(_) | State::Resuming(_) | State::Snapshotting(_)
    );
    match (exit, next.vm.spec.restart) {
        // A reboot is no failure: the machine starts again, whatever the policy; one that never came up is judged as a failure.
        (Exit::GuestReboot, _) if was_up => Then::Relaunch,
        (Exit::GuestShutdown, RestartPolicy::Never | RestartPolicy::OnFailure) if was_up => Then::Stopped,
        (_, RestartPolicy::Never) => Then::Failed,
        (_, RestartPolicy::OnFailure | RestartPolicy::Always) => Then::Restart,
    }
}

/// A restart by policy: its turn comes after the back-off, unless the budget is spent.
pub(super) fn back_off(mut next: Next) -> Step {
    let restarts = &mut next.vm.restarts;
    // Or the clock was set back: the window would not end before it has caught up, in days perhaps.
    if next.now < restarts.window_start || next.now.since_ms(restarts.window_start) > RESTART_WINDOW_MS {
        restarts.in_window = 0;
        restarts.window_start = next.now;
    }
    if restarts.in_window >= RESTARTS_MAX {
        let last = next.vm.reason.take().map_or_else(String::new, |reason| format!("; the last time: {}", reason.detail));
        next.vm.state = State::Failed;
        next.because(
            ReasonCode::RestartBudgetSpent,
            format!("restarted {RESTARTS_MAX} times within {} minutes{last}", RESTART_WINDOW_MS / 60_000),
        );
        next.event("vm-failed");
        return next.done();
    }
    let after_ms = BACKOFF_FIRST_MS.saturating_mul(1 << restarts.in_window.min(16)).min(BACKOFF_MAX_MS);
    restarts.in_window += 1;
    restarts.total += 1;
    next.vm.state = State::Starting(Starting::BackingOff);
    next.event("vm-restarting");
    next.vm.attempt = next.vm.attempt.next();
    next.timer(Timer::Backoff, after_ms);
    next.done()
}

/// The VM's actor keeps failing over this record: it is set aside. What may still run is ended by the next start or delete.
pub(super) fn quarantine(mut next: Next, error: &str) -> Step {
    let deleting = match &next.vm.state {
        State::Deleting => true,
        State::Stopping(stopping) => stopping.then == Then::Delete,
        // What is left of a deletion that failed stays so.
        State::Failed => next.vm.reason.as_ref().is_some_and(|reason| reason.code == ReasonCode::DeleteFailed),
        _ => false,
    };
    next.vm.state = State::Failed;
    next.vm.attempt = next.vm.attempt.next();
    let code = if deleting { ReasonCode::DeleteFailed } else { ReasonCode::ActorFailed };
    next.because(code, format!("hearth failed over this VM again and again: {error}"));
    next.fail("actor-failed", error.to_owned(), "this is a bug of hearth: please report it with the server's log");
    next.event("vm-failed");
    next.done()
}
