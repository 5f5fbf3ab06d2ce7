//! Turning back: what each operation's cancellation leads to, what it refuses, and that a crash in the middle changes neither.

use super::fixture::{GRACEFUL, Story, ticket};
use crate::{
    OperationId, Timestamp,
    operation::NotCancellable,
    vm::{
        Agent, Command, Exit, Finished, Input, Inspection, Observed, ReasonCode, RestartPolicy, StopMode, Ticket, Timer,
        actions::Refused,
        cancel,
        step::{TRIES_MAX, step},
    },
};

fn refused(story: &Story) -> Option<NotCancellable> {
    let operation = story.record().operation.map_or(OperationId::from_bits(1), |in_flight| in_flight.id);
    let input = Input::Command { command: Command::Cancel { operation }, ticket: ticket(1) };
    let told = match step(story.record(), input, Timestamp(story.now)) {
        Ok(_) => None,
        Err(Refused::NotCancellable(why)) => Some(why),
        Err(other) => panic!("{other}"),
    };
    assert_eq!(cancel::admit(story.record(), operation).err(), told, "what is shown is what is admitted");
    told
}

/// A VM that runs, whose guest's agent is away while somebody asks for `command`.
fn unheard(command: Command) -> Story {
    let mut story = Story::running(RestartPolicy::Never);
    let ticket = Ticket { agent: Agent::Away, ..ticket(2) };
    story.input(Input::Command { command, ticket });
    story
}

#[test]
fn a_create_whose_disk_is_made_leaves_nothing() {
    for start in [false, true] {
        let mut story = Story::create(start, RestartPolicy::Always);
        story.cancels().is("stopping/cleaning>delete").wants(&["clean"]);
        assert_eq!(refused(&story), Some(NotCancellable::Already));
        story.answers(Finished::Cleaned).is("deleting").wants(&["remove"]);
        assert_eq!(refused(&story), Some(NotCancellable::Already));
        story.answers(Finished::Removed).is("gone").ended(1, "=cancelled");
    }
}

#[test]
fn the_disk_that_is_ready_after_all_does_not_bring_it_back() {
    let mut story = Story::create(true, RestartPolicy::Always);
    let late = Input::Finished { attempt: story.record().attempt, result: Finished::DiskReady };
    story.cancels();
    let before = story.record().clone();
    let after = step(&before, late, Timestamp(story.now)).expect("a report");
    assert_eq!(after.next, Some(before));
}

#[test]
fn a_create_that_starts_already_leaves_nothing_either() {
    let mut story = Story::create(true, RestartPolicy::Always);
    story.answers(Finished::DiskReady).cancels().is("stopping/cleaning>delete");
    story.answers(Finished::Cleaned).answers(Finished::Removed).is("gone").ended(1, "=cancelled");

    let mut story = Story::create(true, RestartPolicy::Always);
    story.answers(Finished::DiskReady).launches();
    story.answers(Finished::Released).cancels().is("stopping/killing>delete").wants(&["kill"]);
    story.answers(Finished::Killed).answers(Finished::Cleaned).answers(Finished::Removed).is("gone").ended(1, "=cancelled");
}

#[test]
fn a_start_is_taken_back_at_each_stage() {
    let started = || {
        let mut story = Story::create(false, RestartPolicy::Always);
        story.answers(Finished::DiskReady).user(Command::Start);
        story
    };
    let mut story = started();
    story.cancels().is("stopping/cleaning>stopped").answers(Finished::Cleaned).is("stopped").ended(2, "=cancelled");
    assert_eq!(story.record().reason, None, "it was asked for");

    let mut story = started();
    story.launches().cancels().is("stopping/killing>stopped").answers(Finished::Killed);
    story.answers(Finished::Cleaned).is("stopped").ended(2, "=cancelled");

    let mut story = started();
    story.launches().answers(Finished::Released).cancels().exits(Exit::GuestPanic);
    story.answers(Finished::Cleaned).is("stopped").ended(2, "=cancelled");
    story.user(Command::Start).boots().is("running").ended(3, "=ok");
}

#[test]
fn a_stop_that_the_guest_has_not_heard_of_is_taken_back() {
    for command in [Command::Stop(GRACEFUL), Command::Reboot(GRACEFUL)] {
        let mut story = unheard(command);
        assert!(story.record().state.name() == "stopping");
        story.wants(&["stop-timer(5000)"]);
        let due = Input::Elapsed { attempt: story.record().attempt, timer: Timer::Stop };
        story.cancels().is("running").ended(2, "=cancelled").wants(&["inspect"]);
        let before = story.record().clone();
        assert_eq!(step(&before, due, Timestamp(story.now)).expect("a report").next, Some(before), "its deadline is void");
    }
}

#[test]
fn a_stop_that_the_guest_has_heard_of_is_not() {
    let mut story = Story::running(RestartPolicy::Never);
    story.user(Command::Stop(GRACEFUL));
    assert_eq!(refused(&story), Some(NotCancellable::GuestAsked));
    story.answers(Finished::ShutdownAsked);
    assert_eq!(refused(&story), Some(NotCancellable::GuestAsked));

    // Its agent comes back and hears of it.
    let mut story = unheard(Command::Stop(GRACEFUL));
    assert_eq!(refused(&story), None);
    let launch = story.launch();
    story.observes(Observed::GuestReady { launch }).is("stopping/asking>stopped").wants(&["ask"]);
    assert_eq!(refused(&story), Some(NotCancellable::GuestAsked));
    story.answers(Finished::ShutdownAsked).exits(Exit::GuestShutdown).answers(Finished::Cleaned).ended(2, "=ok");

    // It never does, and the deadline passes.
    let mut story = unheard(Command::Stop(GRACEFUL));
    story.passes(Timer::Stop).is("stopping/killing>stopped");
    assert_eq!(refused(&story), Some(NotCancellable::MachineEnded));
}

#[test]
fn a_pause_and_a_resume_are_turned_round() {
    let mut story = Story::running(RestartPolicy::Never);
    story.user(Command::Pause).cancels().is("resuming").wants(&["resume"]);
    assert_eq!(refused(&story), Some(NotCancellable::Already));
    story.answers(Finished::Resumed).is("running").ended(2, "=cancelled");

    story.user(Command::Pause).answers(Finished::Paused).user(Command::Resume).cancels().is("pausing").wants(&["pause"]);
    story.answers(Finished::Paused).is("paused").ended(4, "=cancelled");
}

#[test]
fn what_is_deleted_or_ended_is_not_taken_back() {
    let mut story = Story::running(RestartPolicy::Never);
    story.user(Command::Reboot(StopMode::Force));
    assert_eq!(refused(&story), Some(NotCancellable::MachineEnded));
    story.answers(Finished::Killed).answers(Finished::Cleaned).is("starting/launching");
    assert_eq!(refused(&story), Some(NotCancellable::MachineEnded), "the machine before is no more");
    story.boots();
    assert_eq!(refused(&story), Some(NotCancellable::Ended));
    story.user(Command::Delete { force: true });
    assert_eq!(refused(&story), Some(NotCancellable::DeletionBegun));
}

#[test]
fn hearth_ends_in_the_middle_and_goes_on_turning_back() {
    let mut story = Story::create(true, RestartPolicy::Always);
    story.cancels().input(Input::Recovered).is("stopping/cleaning>delete").wants(&["clean"]).answers(Finished::Cleaned);
    story.input(Input::Recovered).wants(&["remove"]).answers(Finished::Removed).is("gone").ended(1, "=cancelled");

    let mut story = Story::create(false, RestartPolicy::Always);
    story.answers(Finished::DiskReady).user(Command::Start).launches().answers(Finished::Released);
    story.cancels().input(Input::Recovered).is("stopping/killing>stopped").wants(&["kill"]).answers(Finished::Killed);
    story.input(Input::Recovered).wants(&["clean"]).answers(Finished::Cleaned).is("stopped").ended(2, "=cancelled");

    let mut story = Story::running(RestartPolicy::Never);
    story.user(Command::Pause).cancels().input(Input::Recovered).wants(&["inspect"]).finds(Inspection::Paused);
    story.is("resuming").answers(Finished::Resumed).is("running").ended(2, "=cancelled");
    story.user(Command::Pause).cancels().input(Input::Recovered).finds(Inspection::Running);
    story.is("resuming").answers(Finished::Resumed).is("running").ended(3, "=cancelled");

    // What the guest has not heard before it has not heard after, and may still be turned back.
    let mut story = unheard(Command::Stop(GRACEFUL));
    story.input(Input::Recovered).wants(&["inspect"]).finds(Inspection::Running);
    story.wants(&["watch", "await-guest", "stop-timer(30000)"]).cancels().is("running").ended(2, "=cancelled");
}

#[test]
fn what_cannot_be_undone_fails_and_says_why() {
    let mut story = Story::create(true, RestartPolicy::Always);
    story.cancels();
    for _ in 0..TRIES_MAX {
        story.answers(Finished::CleanFailed { detail: "seen".into() });
        if story.record().state.name() == "stopping" {
            story.passes(Timer::Retry);
        }
    }
    story.is("failed").ended(1, "=clean-failed").because(ReasonCode::DeleteFailed);
}

#[test]
fn a_deletion_takes_what_is_left_to_undo() {
    let mut story = Story::create(false, RestartPolicy::Never);
    story.answers(Finished::DiskReady).user(Command::Start).cancels().user(Command::Delete { force: true });
    story.ended(2, "=cancelled").answers(Finished::Cleaned).answers(Finished::Removed).is("gone").ended(3, "=ok");
}
