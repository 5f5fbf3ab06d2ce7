//! What users do and meet, told as it happens.

use super::fixture::{GRACEFUL, Story, machine};
use crate::{
    Timestamp,
    vm::{
        Change, Command, Exit, Finished, Input, Inspection, Observed, ReasonCode, RestartPolicy, StopMode, Timer,
        actions::Refused,
        admit, quarantine,
        step::{BOOT_DEADLINE_MS, TRIES_MAX, step},
    },
};

const FORCE: Command = Command::Stop(StopMode::Force);

fn fails() -> String {
    "seen".to_owned()
}

#[test]
fn create_start_run_stop_start_delete() {
    let mut story = Story::create(false, RestartPolicy::Never);
    story.is("creating").wants(&["prepare-disk"]).answers(Finished::DiskReady).is("created").ended(1, "=ok").wants(&[]);

    story.user(Command::Start).is("starting/launching").wants(&["launch"]);
    let launch = story.record().attempt;
    story.launches().is("starting/releasing").wants(&["release"]);
    story.answers(Finished::Released).is("starting/booting").wants(&["watch", "await-guest", "boot-timer(120000)"]);
    story.observes(Observed::GuestReady { launch }).is("running").ended(2, "=ok").wants(&[]);

    story.user(Command::Stop(GRACEFUL)).is("stopping/asking>stopped").wants(&["ask", "stop-timer(5000)"]);
    story.answers(Finished::ShutdownAsked).is("stopping/asking>stopped");
    story.exits(Exit::GuestShutdown).is("stopping/cleaning>stopped").wants(&["clean"]);
    story.answers(Finished::Cleaned).is("stopped").ended(3, "=ok");
    assert_eq!(story.record().reason, None, "it was asked for");

    story.user(Command::Start).boots().is("running").ended(4, "=ok");
    story.user(FORCE).answers(Finished::Killed).answers(Finished::Cleaned).is("stopped").ended(5, "=ok");
    story.user(Command::Delete { force: false }).wants(&["clean"]).answers(Finished::Cleaned);
    story.is("deleting").wants(&["remove"]).answers(Finished::Removed).is("gone").ended(6, "=ok");
    let expected = "vm-creating vm-created vm-starting vm-started vm-stopping vm-stopped vm-starting vm-started vm-stopping \
                    vm-stopped vm-deleting vm-deleted";
    assert_eq!(story.events.join(" "), expected);
}

#[test]
fn created_and_started_in_one_it_is_one_operation() {
    let mut story = Story::create(true, RestartPolicy::Never);
    story.answers(Finished::DiskReady).is("starting/launching");
    assert_eq!(story.operations.values().flatten().count(), 0, "nothing has ended yet");
    story.boots().is("running").ended(1, "=ok");
    assert_eq!(story.operations.len(), 1);
}

#[test]
fn a_full_disk_leaves_nothing() {
    let mut story = Story::create(true, RestartPolicy::Always);
    story.answers(Finished::DiskFailed { code: "disk-full".into(), detail: fails() }).ended(1, "=disk-full");
    story.answers(Finished::Cleaned).wants(&["remove"]).answers(Finished::Removed).is("gone");
}

#[test]
fn an_agent_that_never_answers_is_a_failure() {
    let mut story = Story::create(true, RestartPolicy::Always);
    story.answers(Finished::DiskReady).launches();
    story.answers(Finished::Released);
    let began = story.now;
    story.passes(Timer::Boot).is("stopping/killing>failed").ended(1, "=agent-timeout");
    assert_eq!(story.now - began, BOOT_DEADLINE_MS);
    story.answers(Finished::Killed).answers(Finished::Cleaned).is("failed").because(ReasonCode::AgentTimeout);
}

#[test]
fn a_launch_that_fails_tells_its_user_and_cleans_up() {
    let mut story = Story::create(false, RestartPolicy::Always);
    story.answers(Finished::DiskReady).user(Command::Start);
    story.answers(Finished::LaunchFailed { code: "vmm-missing".into(), detail: fails() }).ended(2, "=vmm-missing");
    story.wants(&["clean"]).answers(Finished::Cleaned).is("failed").because(ReasonCode::LaunchFailed);
    story.user(Command::Start).boots().is("running");
    assert_eq!(story.record().reason, None);
}

/// Who was told that it failed may delete it at once: what is left of it is being given back, and that goes on.
#[test]
fn what_failed_can_be_deleted_while_it_is_cleaned_up() {
    let mut story = Story::create(true, RestartPolicy::Always);
    story.answers(Finished::DiskReady);
    story.answers(Finished::LaunchFailed { code: "vmm-missing".into(), detail: fails() }).ended(1, "=vmm-missing");
    story.is("stopping/cleaning>failed").user(Command::Delete { force: false }).wants(&["clean"]);
    story.answers(Finished::Cleaned).answers(Finished::Removed).is("gone").ended(2, "=ok");
}

/// The stages of a start, each reached anew: launching, releasing, booting, backing off.
fn starting() -> Vec<Story> {
    let fresh = || {
        let mut story = Story::create(true, RestartPolicy::OnFailure);
        story.answers(Finished::DiskReady);
        story
    };
    let launching = fresh();
    let mut releasing = fresh();
    releasing.launches().is("starting/releasing");
    let mut booting = fresh();
    booting.launches().answers(Finished::Released);
    let mut backing_off = fresh();
    backing_off.boots().exits(Exit::GuestPanic).answers(Finished::Cleaned).is("starting/backing-off");
    vec![launching, releasing, booting, backing_off]
}

#[test]
fn a_start_can_be_stopped_and_deleted_in_each_stage() {
    for mode in [GRACEFUL, StopMode::Force] {
        for mut story in starting() {
            let late = late_answers(&story);
            let held = story.record().state.machine().is_some();
            story.user(Command::Stop(mode)).wants(&[if held { "kill" } else { "clean" }]);
            let before = story.record().clone();
            for input in late.clone() {
                assert_eq!(step(&before, input, Timestamp(9)).expect("a report").next, Some(before.clone()), "late, so nothing");
            }
            if held {
                story.answers(Finished::Killed);
            }
            story.answers(Finished::Cleaned).is("stopped").ended(2, "=ok");
        }
    }
    for mut story in starting() {
        assert!(admit(story.record(), &Command::Delete { force: false }, None).is_err());
        let held = story.record().state.machine().is_some();
        story.user(Command::Delete { force: true });
        if held {
            story.answers(Finished::Killed);
        }
        story.answers(Finished::Cleaned).answers(Finished::Removed).is("gone").ended(2, "=ok");
    }
}

/// What the effects and timers of the last step may still say.
fn late_answers(story: &Story) -> Vec<Input> {
    let attempt = story.record().attempt;
    let finished = |result| Input::Finished { attempt, result };
    vec![
        finished(Finished::Launched { machine: machine(attempt) }),
        finished(Finished::LaunchFailed { code: "x".into(), detail: fails() }),
        finished(Finished::Released),
        finished(Finished::ReleaseFailed { detail: fails() }),
        Input::Elapsed { attempt, timer: Timer::Boot },
        Input::Elapsed { attempt, timer: Timer::Backoff },
    ]
}

#[test]
fn creating_can_be_deleted_with_force_only() {
    let mut story = Story::create(true, RestartPolicy::Never);
    assert!(admit(story.record(), &Command::Delete { force: false }, None).is_err());
    story.user(Command::Delete { force: true }).ended(1, "=superseded").wants(&["clean"]);
    story.answers(Finished::Cleaned).answers(Finished::Removed).is("gone").ended(2, "=ok");
}

#[test]
fn a_guest_that_does_not_shut_down_is_ended() {
    let mut story = Story::running(RestartPolicy::Always);
    story.user(Command::Stop(GRACEFUL));
    let (began, attempt) = (story.now, story.record().attempt);
    story.now += 5_000;
    story.answers(Finished::ShutdownAsked);
    assert_eq!((story.record().attempt, story.now - began), (attempt, 5_000), "the deadline goes on counting");
    story.passes(Timer::Stop).is("stopping/killing>stopped").wants(&["kill"]);
    story.answers(Finished::Killed).answers(Finished::Cleaned).is("stopped").ended(2, "=ok");
}

#[test]
fn a_guest_that_cannot_be_asked_is_ended_at_once() {
    let mut story = Story::running(RestartPolicy::Never);
    story.user(Command::Stop(GRACEFUL)).answers(Finished::ShutdownFailed { detail: fails() }).is("stopping/killing>stopped");
    story.exits(Exit::Killed { signal: 9 }).answers(Finished::Cleaned).is("stopped").ended(2, "=ok");
}

#[test]
fn who_loses_patience_stops_with_force() {
    let mut story = Story::running(RestartPolicy::Never);
    story.user(Command::Reboot(GRACEFUL)).user(FORCE).ended(2, "=superseded").is("stopping/killing>stopped");
    story.answers(Finished::Killed).answers(Finished::Cleaned).is("stopped").ended(3, "=ok");
}

#[test]
fn a_users_reboot_is_one_operation_to_the_end() {
    let mut story = Story::running(RestartPolicy::Never);
    story.user(Command::Reboot(GRACEFUL)).is("stopping/asking>relaunch").answers(Finished::ShutdownAsked);
    story.exits(Exit::GuestShutdown).answers(Finished::Cleaned).boots().is("running").ended(2, "=ok");
}

#[test]
fn pause_and_resume_and_what_can_go_wrong() {
    let mut story = Story::running(RestartPolicy::Never);
    story.user(Command::Pause).answers(Finished::PauseFailed { detail: fails() }).is("running").ended(2, "=pause-failed");
    // Whether it took effect all the same is asked, and put right.
    story.wants(&["inspect"]).finds(Inspection::Paused).is("resuming").answers(Finished::Resumed).is("running");
    story.user(Command::Pause).answers(Finished::Paused).is("paused").ended(3, "=ok");
    story.user(Command::Resume).answers(Finished::ResumeFailed { detail: fails() }).is("paused").ended(4, "=resume-failed");
    story.user(Command::Resume).answers(Finished::Resumed).is("running").ended(5, "=ok");
    story.user(Command::Pause).exits(Exit::GuestReboot).ended(6, "=guest-reboot").answers(Finished::Cleaned).boots();
    story.is("running");
}

#[test]
fn what_cannot_be_given_back_is_said_and_can_be_tried_again() {
    let mut story = Story::running(RestartPolicy::Never);
    story.user(FORCE).answers(Finished::Killed);
    for _ in 1..TRIES_MAX {
        story.answers(Finished::CleanFailed { detail: fails() }).is("stopping/cleaning>stopped").wants(&["retry-timer(2000)"]);
        story.passes(Timer::Retry).wants(&["clean"]);
    }
    story.answers(Finished::CleanFailed { detail: fails() }).is("failed").ended(2, "=clean-failed");
    story.because(ReasonCode::CleanFailed);
    story
        .user(Command::Delete { force: false })
        .wants(&["clean"])
        .answers(Finished::Cleaned)
        .answers(Finished::Removed)
        .is("gone");
}

#[test]
fn a_process_that_does_not_end_is_ended_again() {
    let mut story = Story::running(RestartPolicy::Never);
    story.user(FORCE);
    for _ in 1..TRIES_MAX {
        story.answers(Finished::KillFailed { detail: fails() }).passes(Timer::Retry).wants(&["kill"]);
    }
    story.answers(Finished::Killed).answers(Finished::Cleaned).is("stopped").ended(2, "=ok");

    let mut story = Story::running(RestartPolicy::Never);
    story.user(FORCE).answers(Finished::KillFailed { detail: fails() });
    // It ended by itself while the next try was awaited.
    story.exits(Exit::Unknown).answers(Finished::Cleaned).is("stopped").ended(2, "=ok");
}

#[test]
fn a_disk_that_cannot_be_removed_leaves_the_record() {
    let mut story = Story::create(false, RestartPolicy::Never);
    story.answers(Finished::DiskReady).user(Command::Delete { force: false }).answers(Finished::Cleaned);
    story.answers(Finished::RemoveFailed { detail: fails() }).is("failed").ended(2, "=remove-failed");
    story.because(ReasonCode::DeleteFailed);
    assert_eq!(admit(story.record(), &Command::Start, None), Err(Refused::HalfDeleted), "without its disk");
    assert_eq!(quarantine(story.record(), "boom", Timestamp(9)).next.and_then(|vm| vm.reason).map(|r| r.code), code(&story));
    story.user(Command::Delete { force: false }).answers(Finished::Cleaned).answers(Finished::Removed).is("gone").ended(3, "=ok");
}

fn code(story: &Story) -> Option<ReasonCode> {
    story.record().reason.as_ref().map(|reason| reason.code)
}

#[test]
fn a_change_of_looks_disturbs_nothing() {
    let mut story = Story::running(RestartPolicy::Never);
    story.user(Command::Stop(GRACEFUL));
    let attempt = story.record().attempt;
    let change = Change { name: Some("other".parse().expect("a name")), ..Change::default() };
    story.input(Input::Command { command: Command::Update(change), ticket: super::fixture::ticket(0) }).wants(&[]);
    assert_eq!((story.record().attempt, story.record().name.as_str()), (attempt, "other"));
    story.passes(Timer::Stop).is("stopping/killing>stopped");
}

#[test]
fn a_vm_that_is_set_aside_can_be_started_or_deleted() {
    for finish in [Command::Start, Command::Delete { force: false }] {
        let mut story = Story::running(RestartPolicy::Always);
        story.user(Command::Stop(GRACEFUL));
        let aside = quarantine(story.record(), "boom", Timestamp(story.now));
        let record = aside.next.clone().expect("a record");
        assert_eq!((record.operation, aside.effects.len()), (None, 0));
        story.vm = Some(record);
        story.operations.insert(crate::OperationId::from_bits(2), Some("=actor-failed".into()));
        story.is("failed").because(ReasonCode::ActorFailed).user(finish);
    }
}
