//! What the restart policy makes of every way to end, while the guest is up and while it still boots; back-off and budget.

use super::fixture::{LAUNCH, Story, machine, path, vm, wait_of};
use crate::{
    Timestamp,
    vm::{
        Command, Exit, Finished, Input, Observed, ReasonCode, RestartPolicy, Starting, State, Timer,
        step::{BACKOFF_MAX_MS, RESTART_WINDOW_MS, RESTARTS_MAX, step},
    },
};

const POLICIES: [RestartPolicy; 3] = [RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::Always];

#[test]
fn every_end_by_every_policy() {
    let killed = || Exit::Killed { signal: 9 };
    let failed = || Exit::Failed { code: 1, detail: "seen".into() };
    // Never, on failure, always.
    let while_up = [
        (Exit::GuestShutdown, ["stopped", "stopped", "restart"]),
        (Exit::GuestReboot, ["relaunch", "relaunch", "relaunch"]),
        (Exit::GuestPanic, ["failed", "restart", "restart"]),
        (killed(), ["failed", "restart", "restart"]),
        (failed(), ["failed", "restart", "restart"]),
        (Exit::Unknown, ["failed", "restart", "restart"]),
        (Exit::OutOfMemory, ["failed", "restart", "restart"]),
        (Exit::Seccomp, ["failed", "restart", "restart"]),
    ];
    let while_booting = [
        (Exit::GuestShutdown, ["failed", "restart", "restart"]),
        (Exit::GuestReboot, ["failed", "restart", "restart"]),
        (Exit::GuestPanic, ["failed", "restart", "restart"]),
        (killed(), ["failed", "restart", "restart"]),
        (failed(), ["failed", "restart", "restart"]),
        (Exit::Unknown, ["failed", "restart", "restart"]),
        (Exit::OutOfMemory, ["failed", "restart", "restart"]),
        (Exit::Seccomp, ["failed", "restart", "restart"]),
    ];
    let m = || machine(LAUNCH);
    let up = [State::Running(m()), State::Pausing(m()), State::Paused(m()), State::Resuming(m()), State::Snapshotting(m())];
    let booting = [State::Starting(Starting::Releasing(m())), State::Starting(Starting::Booting(m()))];
    for (states, rows) in [(&up[..], while_up), (&booting[..], while_booting)] {
        for state in states {
            for (exit, expected) in &rows {
                for (policy, then) in POLICIES.into_iter().zip(expected) {
                    let mut before = vm(state.clone());
                    before.spec.restart = policy;
                    let input = Input::Observed(Observed::Exited { launch: LAUNCH, exit: exit.clone() });
                    let next = step(&before, input, Timestamp(2)).expect("a report").next.expect("a record");
                    let expected = format!("stopping/cleaning>{then}");
                    assert_eq!(path(&next.state), expected, "{} + {exit:?} under {policy:?}", path(state));
                    assert_eq!(next.operation, None, "whose wait is over");
                }
            }
        }
    }
}

#[test]
fn a_panic_is_no_end_under_a_policy_and_a_failure_without() {
    let mut story = Story::running(RestartPolicy::Never);
    story.exits(Exit::GuestPanic).because(ReasonCode::GuestPanic).answers(Finished::Cleaned);
    story.is("failed").because(ReasonCode::GuestPanic);

    for policy in [RestartPolicy::OnFailure, RestartPolicy::Always] {
        let mut story = Story::running(policy);
        story.exits(Exit::GuestPanic).answers(Finished::Cleaned).is("starting/backing-off").because(ReasonCode::GuestPanic);
        story.passes(Timer::Backoff).is("starting/launching").boots().is("running");
        assert_eq!(story.record().reason, None, "it runs: nothing is to be told");
        assert_eq!(story.record().restarts.total, 1);
    }
}

/// Each by its own code and its own words: who reads them does different things about them.
#[test]
fn out_of_memory_and_a_forbidden_call_are_told_apart_from_a_kill() {
    for (exit, code, word) in [
        (Exit::OutOfMemory, ReasonCode::OutOfMemory, "memory"),
        (Exit::Seccomp, ReasonCode::SeccompViolation, "system call"),
        (Exit::Killed { signal: 9 }, ReasonCode::VmmKilled, "signal 9"),
        (Exit::Killed { signal: 31 }, ReasonCode::VmmKilled, "signal 31"),
    ] {
        let mut story = Story::running(RestartPolicy::Never);
        story.exits(exit.clone()).because(code).answers(Finished::Cleaned).is("failed").because(code);
        let told = &story.record().reason.as_ref().expect("a reason").detail;
        assert!(told.contains(word), "{told}");

        // Who waits for the start hears of it in the same words.
        let mut story = Story::create(true, RestartPolicy::Always);
        story.answers(Finished::DiskReady).launches().answers(Finished::Released).exits(exit);
        story.ended(1, &format!("={}", code.as_str()));

        // A restart by policy keeps the reason until it runs again, and a budget that is spent quotes it.
        let mut story = Story::running(RestartPolicy::OnFailure);
        for _ in 0..RESTARTS_MAX {
            story.exits(Exit::OutOfMemory).answers(Finished::Cleaned).is("starting/backing-off").because(ReasonCode::OutOfMemory);
            story.passes(Timer::Backoff).boots().is("running");
        }
        story.exits(Exit::OutOfMemory).answers(Finished::Cleaned).is("failed").because(ReasonCode::RestartBudgetSpent);
        assert!(story.record().reason.as_ref().expect("a reason").detail.contains("want of memory"));
    }
}

#[test]
fn killed_from_outside_again_and_again_it_waits_longer_and_then_gives_up() {
    let mut story = Story::running(RestartPolicy::OnFailure);
    let mut waits = vec![];
    for _ in 0..RESTARTS_MAX {
        story.exits(Exit::Killed { signal: 9 }).answers(Finished::Cleaned).is("starting/backing-off");
        waits.extend(story.effects.iter().filter_map(|effect| wait_of(effect, Timer::Backoff)));
        story.passes(Timer::Backoff).boots().is("running");
    }
    assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000]);
    assert!(waits.iter().all(|wait| *wait <= BACKOFF_MAX_MS));
    story.exits(Exit::Killed { signal: 9 }).answers(Finished::Cleaned).is("failed").because(ReasonCode::RestartBudgetSpent);
    let detail = &story.record().reason.as_ref().expect("a reason").detail;
    assert!(detail.contains("5 times") && detail.contains("signal 9"), "{detail}");

    story.user(Command::Start).boots().is("running").ended(2, "=ok");
    assert_eq!(story.record().restarts.in_window, 0, "a user's start is a new beginning");
    assert_eq!(story.record().restarts.total, 5);
}

#[test]
fn failures_that_are_far_apart_do_not_add_up() {
    let mut story = Story::running(RestartPolicy::OnFailure);
    for _ in 0..3 * RESTARTS_MAX {
        story.now += RESTART_WINDOW_MS;
        story.exits(Exit::GuestPanic).answers(Finished::Cleaned);
        assert_eq!(story.effects.iter().find_map(|effect| wait_of(effect, Timer::Backoff)), Some(1_000));
        story.passes(Timer::Backoff).boots().is("running");
    }
}

/// Set back by days, it must not make a crash loop of failures that are far apart.
#[test]
fn a_clock_that_is_set_back_begins_a_new_window() {
    const TWO_DAYS_MS: u64 = 2 * 24 * 60 * 60 * 1000;
    let mut story = Story::running(RestartPolicy::OnFailure);
    story.now += 2 * TWO_DAYS_MS;
    story.exits(Exit::GuestPanic).answers(Finished::Cleaned).passes(Timer::Backoff).boots().is("running");
    story.now -= TWO_DAYS_MS;
    for _ in 0..3 * RESTARTS_MAX {
        story.now += RESTART_WINDOW_MS;
        story.exits(Exit::GuestPanic).answers(Finished::Cleaned).passes(Timer::Backoff).boots().is("running");
    }
}

#[test]
fn a_reboot_from_inside_goes_on_running_whatever_the_policy() {
    for policy in POLICIES {
        let mut story = Story::running(policy);
        let first = story.launch();
        story.exits(Exit::GuestReboot).is("stopping/cleaning>relaunch").answers(Finished::Cleaned);
        story.is("starting/launching").wants(&["launch"]).boots().is("running");
        assert_ne!(story.launch(), first);
        assert_eq!(story.record().restarts.total, 0, "a reboot costs nothing of the budget");
        assert_eq!(story.operations.len(), 1);
    }
}

#[test]
fn a_relaunch_that_fails_follows_the_policy_or_its_user() {
    let failure = || Finished::LaunchFailed { code: "vmm-missing".into(), detail: "seen".into() };
    for (policy, expected) in POLICIES.into_iter().zip(["failed", "starting/backing-off", "starting/backing-off"]) {
        let mut story = Story::running(policy);
        story.exits(Exit::GuestReboot).answers(Finished::Cleaned).answers(failure()).answers(Finished::Cleaned);
        story.is(expected).because(ReasonCode::LaunchFailed);

        let mut story = Story::running(policy);
        story.exits(Exit::GuestReboot).answers(Finished::Cleaned);
        story.launches();
        story.answers(Finished::ReleaseFailed { detail: "seen".into() }).answers(Finished::Killed).answers(Finished::Cleaned);
        story.is(expected).because(ReasonCode::LaunchFailed);

        // A user who reboots hears of it and decides.
        let mut story = Story::running(policy);
        story.user(Command::Reboot(crate::vm::StopMode::Force)).answers(Finished::Killed).answers(Finished::Cleaned);
        story.answers(failure()).ended(2, "=vmm-missing").answers(Finished::Cleaned).is("failed");
    }
}
