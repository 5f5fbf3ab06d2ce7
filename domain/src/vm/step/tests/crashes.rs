//! hearth ends at any moment, and comes back to whatever became of the machine meanwhile.

use super::fixture::{ATTEMPT, GRACEFUL, LAUNCH, Story, machine, path, vm};
use crate::{
    Attempt, Timestamp,
    vm::{
        Command, Effect, Exit, Finished, Input, Inspection, Observed, ReasonCode, RestartPolicy, Starting, State, StopMode,
        StopStage, Stopping, Then, Timer, step::step,
    },
};

fn gone() -> Inspection {
    Inspection::Gone { exit: Exit::Unknown }
}

/// Back after a crash: the host is asked first, under a new attempt.
fn comes_back_to(story: &mut Story, found: Inspection) -> &mut Story {
    story.input(Input::Recovered).wants(&["inspect"]).finds(found)
}

fn running() -> Story {
    Story::running(RestartPolicy::OnFailure)
}

#[test]
fn at_rest_without_a_machine_there_is_nothing_to_do() {
    for state in [State::Created, State::Stopped, State::Failed] {
        let before = vm(state);
        let after = step(&before, Input::Recovered, Timestamp(99)).expect("never refused");
        assert_eq!(after.next, Some(before), "not even written again");
        assert!(after.events.is_empty() && after.effects.is_empty());
    }
}

#[test]
fn while_the_disk_is_made() {
    let mut story = Story::create(true, RestartPolicy::Never);
    story.input(Input::Recovered).is("creating>start").wants(&["prepare-disk"]).answers(Finished::DiskReady).boots();
    story.is("running").ended(1, "=ok");
}

#[test]
fn while_the_process_is_made() {
    let mut story = Story::create(true, RestartPolicy::Never);
    story.answers(Finished::DiskReady);
    let before = story.record().attempt;
    story.input(Input::Recovered).is("starting/launching").wants(&["launch"]);
    assert!(story.record().attempt > before, "the process of the attempt before is not this one");
    story.boots().is("running").ended(1, "=ok");
}

fn releasing() -> Story {
    let mut story = Story::create(true, RestartPolicy::Never);
    story.answers(Finished::DiskReady).launches();
    story
}

#[test]
fn before_the_machine_was_let_run() {
    comes_back_to(&mut releasing(), Inspection::Held).wants(&["release"]).answers(Finished::Released).is("starting/booting");
    comes_back_to(&mut releasing(), gone()).is("starting/launching").wants(&["launch"]).boots().is("running").ended(1, "=ok");
    // The release was carried out, its answer lost.
    comes_back_to(&mut releasing(), Inspection::Running).is("starting/booting");
    comes_back_to(&mut releasing(), Inspection::Paused).wants(&["release"]).answers(Finished::Released).is("starting/booting");
}

fn booting() -> Story {
    let mut story = releasing();
    story.answers(Finished::Released);
    story
}

#[test]
fn while_the_guest_boots() {
    let mut story = booting();
    comes_back_to(&mut story, Inspection::Running).is("starting/booting");
    story.wants(&["watch", "await-guest", "boot-timer(120000)"]);
    let launch = story.launch();
    story.observes(Observed::GuestReady { launch }).is("running").ended(1, "=ok");

    comes_back_to(&mut booting(), gone()).ended(1, "=vmm-gone").answers(Finished::Cleaned).is("failed");
    comes_back_to(&mut booting(), Inspection::Held).answers(Finished::Cleaned).is("failed").because(ReasonCode::VmmGone);
    // The boot's deadline begins anew, but it has one.
    let mut story = booting();
    comes_back_to(&mut story, Inspection::Running).passes(Timer::Boot).is("stopping/killing>failed");
    // Held by its VMM since, for want of room on the host's disk: let go again, with its time before it.
    let mut story = booting();
    comes_back_to(&mut story, Inspection::Paused).is("starting/releasing").wants(&["release"]).answers(Finished::Released);
    story.is("starting/booting").wants(&["watch", "await-guest", "boot-timer(120000)"]);
}

/// Its VMM holds it for want of room: what is to run is followed, and let go on by whoever follows it; what its user paused stays so.
#[test]
fn while_the_host_s_disk_is_full() {
    let mut story = booting();
    comes_back_to(&mut story, Inspection::DiskFull).is("starting/booting");
    story.wants(&["watch", "await-guest", "boot-timer(120000)"]);
    let mut story = running();
    comes_back_to(&mut story, Inspection::DiskFull).is("running").wants(&["watch", "await-guest"]);
    assert_eq!(story.events.last(), Some(&"vm-adopted"));
    let mut story = running();
    story.user(Command::Pause);
    comes_back_to(&mut story, Inspection::DiskFull).answers(Finished::Paused).is("paused").ended(2, "=ok");
    comes_back_to(&mut story, Inspection::DiskFull).is("paused").wants(&["watch", "await-guest"]);
    story.user(Command::Resume);
    comes_back_to(&mut story, Inspection::DiskFull).answers(Finished::Resumed).is("running").ended(3, "=ok");
    story.user(Command::Stop(GRACEFUL));
    comes_back_to(&mut story, Inspection::DiskFull).passes(Timer::Stop).wants(&["kill"]);
}

#[test]
fn while_it_runs() {
    let mut story = running();
    comes_back_to(&mut story, Inspection::Running).is("running").wants(&["watch", "await-guest"]);
    assert_eq!(story.events.last(), Some(&"vm-adopted"));
    comes_back_to(&mut running(), Inspection::Paused).is("resuming").answers(Finished::Resumed).is("running");
    comes_back_to(&mut running(), Inspection::Held).answers(Finished::Cleaned).is("starting/backing-off");
    comes_back_to(&mut running(), gone()).answers(Finished::Cleaned).is("starting/backing-off").because(ReasonCode::VmmGone);
    comes_back_to(&mut running(), Inspection::Gone { exit: Exit::GuestShutdown }).answers(Finished::Cleaned).is("stopped");
}

#[test]
fn while_it_pauses_is_paused_and_resumes() {
    let pausing = || {
        let mut story = running();
        story.user(Command::Pause);
        story
    };
    let paused = || {
        let mut story = pausing();
        story.answers(Finished::Paused);
        story
    };
    let resuming = || {
        let mut story = paused();
        story.user(Command::Resume);
        story
    };
    // What was found may be older than what was asked for: it is asked for again.
    comes_back_to(&mut pausing(), Inspection::Paused).is("pausing").answers(Finished::Paused).is("paused").ended(2, "=ok");
    comes_back_to(&mut pausing(), Inspection::Running).answers(Finished::Paused).is("paused").ended(2, "=ok");
    comes_back_to(&mut pausing(), gone()).ended(2, "=vmm-gone");
    comes_back_to(&mut paused(), Inspection::Paused).is("paused").wants(&["watch", "await-guest"]);
    comes_back_to(&mut paused(), Inspection::Running).is("pausing").answers(Finished::Paused).is("paused");
    comes_back_to(&mut paused(), gone()).answers(Finished::Cleaned).is("starting/backing-off");
    comes_back_to(&mut resuming(), Inspection::Running).is("resuming").answers(Finished::Resumed).is("running").ended(3, "=ok");
    comes_back_to(&mut resuming(), Inspection::Paused).answers(Finished::Resumed).is("running").ended(3, "=ok");
    comes_back_to(&mut resuming(), gone()).ended(3, "=vmm-gone");
}

#[test]
fn while_the_guest_shuts_down() {
    let asking = || {
        let mut story = running();
        story.user(Command::Stop(GRACEFUL));
        story
    };
    let mut story = asking();
    comes_back_to(&mut story, Inspection::Running).is("stopping/asking>stopped");
    // The agent is asked when it is connected again, and the deadline holds whether or not it ever is.
    story.wants(&["watch", "await-guest", "stop-timer(30000)"]);
    let (launch, attempt) = (story.launch(), story.record().attempt);
    story.observes(Observed::GuestReady { launch }).wants(&["ask"]).answers(Finished::ShutdownAsked);
    assert_eq!(story.record().attempt, attempt);
    story.exits(Exit::GuestShutdown).answers(Finished::Cleaned).is("stopped").ended(2, "=ok");

    let mut story = asking();
    comes_back_to(&mut story, Inspection::Running).passes(Timer::Stop).wants(&["kill"]);
    comes_back_to(&mut asking(), gone()).answers(Finished::Cleaned).is("stopped").ended(2, "=ok");
    comes_back_to(&mut asking(), Inspection::Paused).passes(Timer::Stop).is("stopping/killing>stopped");
    comes_back_to(&mut asking(), Inspection::Held).answers(Finished::Cleaned).is("stopped").ended(2, "=ok");
}

#[test]
fn while_the_machine_is_ended_and_cleaned_up() {
    let mut story = running();
    story.user(Command::Stop(StopMode::Force)).input(Input::Recovered).wants(&["kill"]).answers(Finished::Killed);
    story.input(Input::Recovered).is("stopping/cleaning>stopped").wants(&["clean"]).answers(Finished::Cleaned);
    story.is("stopped").ended(2, "=ok");
}

#[test]
fn a_crash_gives_the_tries_back() {
    let stopping = Stopping { stage: StopStage::Cleaning, then: Then::Stopped, tries: 4 };
    let after = step(&vm(State::Stopping(stopping)), Input::Recovered, Timestamp(2)).expect("never refused").next;
    assert_eq!(
        after.map(|vm| vm.state),
        Some(State::Stopping(Stopping { stage: StopStage::Cleaning, then: Then::Stopped, tries: 0 }))
    );
}

#[test]
fn while_a_restart_waits() {
    let mut story = running();
    story.exits(Exit::GuestPanic).answers(Finished::Cleaned).input(Input::Recovered).wants(&["backoff-timer(1000)"]);
    assert_eq!(story.record().restarts.total, 1, "the same restart, not another");
    story.passes(Timer::Backoff).boots().is("running");
}

#[test]
fn while_the_disk_is_removed() {
    let mut story = running();
    story.user(Command::Delete { force: true }).answers(Finished::Killed).answers(Finished::Cleaned);
    story.input(Input::Recovered).is("deleting").wants(&["remove"]).answers(Finished::Removed).is("gone").ended(2, "=ok");
}

#[test]
fn in_the_middle_of_a_snapshot_and_of_a_restore() {
    let after = |state, found: Option<Inspection>| {
        let next = step(&vm(state), Input::Recovered, Timestamp(2)).expect("never refused").next.expect("a record");
        match found {
            None => next,
            Some(found) => {
                let input = Input::Observed(Observed::Inspected { launch: LAUNCH, found });
                step(&next, input, Timestamp(3)).expect("never refused").next.expect("a record")
            }
        }
    };
    let snapshotting = || State::Snapshotting(machine(LAUNCH));
    assert_eq!(path(&after(snapshotting(), Some(Inspection::Paused)).state), "paused");
    assert_eq!(path(&after(snapshotting(), Some(Inspection::Running)).state), "pausing");
    assert_eq!(path(&after(snapshotting(), Some(gone())).state), "stopping/cleaning>restart");
    let restoring = after(State::Restoring, None);
    assert_eq!(path(&restoring.state), "stopping/cleaning>failed");
    assert_eq!(restoring.reason.map(|reason| reason.code), Some(ReasonCode::RestoreInterrupted));
}

/// Whatever was under way before the crash carries an older number afterwards.
#[test]
fn every_recovery_that_acts_is_a_new_attempt() {
    let m = || machine(Attempt(3));
    let stop = |stage| State::Stopping(Stopping { stage, then: Then::Stopped, tries: 0 });
    let states = [
        State::Creating { start: false },
        State::Starting(Starting::Launching),
        State::Starting(Starting::Releasing(m())),
        State::Starting(Starting::Booting(m())),
        State::Starting(Starting::BackingOff),
        State::Pausing(m()),
        State::Resuming(m()),
        State::Snapshotting(m()),
        State::Restoring,
        State::Deleting,
        stop(StopStage::Asking(m())),
        stop(StopStage::Killing(m())),
        stop(StopStage::Cleaning),
    ];
    for state in states {
        let next = step(&vm(state.clone()), Input::Recovered, Timestamp(2)).expect("never refused").next.expect("a record");
        assert!(next.attempt > ATTEMPT, "{}", path(&state));
    }
}

/// A start with many VMs at rest writes no record: each is looked at, found as recorded, and followed.
#[test]
fn what_is_found_as_recorded_stays_as_recorded() {
    for (state, found) in
        [(State::Running(machine(Attempt(3))), Inspection::Running), (State::Paused(machine(Attempt(3))), Inspection::Paused)]
    {
        let before = vm(state);
        let looks = step(&before, Input::Recovered, Timestamp(2)).expect("never refused");
        assert_eq!(looks.next.as_ref(), Some(&before));
        assert!(matches!(looks.effects[..], [Effect::Inspect(_)]) && looks.events.is_empty());
        let launch = Attempt(3);
        let adopts = step(&before, Input::Observed(Observed::Inspected { launch, found }), Timestamp(3)).expect("never refused");
        assert_eq!(adopts.next.as_ref(), Some(&before), "not even its generation moves");
        assert!(matches!(adopts.effects[..], [Effect::Watch(_), Effect::AwaitGuest(_)]));
        assert_eq!(adopts.events.iter().map(|event| event.name).collect::<Vec<_>>(), ["vm-adopted"]);
    }
}
