//! What becomes of a machine that is held for want of room.

use super::*;
use crate::vm::step::tests::fixture::{LAUNCH, machine, vm};
use crate::vm::{Then, Timer};

fn running() -> Vm {
    vm(State::Running(machine(LAUNCH)))
}

fn full() -> Heard {
    Heard::Full { launch: LAUNCH }
}

fn due() -> Heard {
    Heard::Due { launch: LAUNCH }
}

fn tried(found: Found) -> Heard {
    Heard::Tried { launch: LAUNCH, found }
}

/// What follows, and whether it is held after it.
fn hear(hold: &mut Option<Hold>, vm: &Vm, heard: Heard) -> Todo {
    let (after, todo) = step(*hold, vm, heard, Timestamp(5_000));
    *hold = after;
    todo
}

#[test]
fn it_is_let_go_on_again_and_again_with_longer_waits_up_to_a_bound() {
    let (vm, mut hold, mut waits) = (running(), None, Vec::new());
    let mut todo = hear(&mut hold, &vm, full());
    for _ in 0..8 {
        let Todo::Wait { after_ms } = todo else { panic!("{todo:?}") };
        waits.push(after_ms);
        assert_eq!(hear(&mut hold, &vm, due()), Todo::Try(machine(LAUNCH)));
        todo = hear(&mut hold, &vm, tried(Found::StillFull));
    }
    assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    // A machine that could not be asked is asked again; its hold is not forgotten.
    hear(&mut hold, &vm, due());
    assert_eq!(hear(&mut hold, &vm, tried(Found::Unknown)), Todo::Wait { after_ms: AGAIN_MAX_MS });
    assert!(hold.is_some());
}

#[test]
fn that_it_goes_on_is_told_once_and_ends_the_hold() {
    let (vm, mut hold) = (running(), None);
    hold = step(hold, &vm, full(), Timestamp(1_000)).0;
    assert_eq!(reason(hold, &vm).map(|reason| reason.code), Some(ReasonCode::DiskFull));
    hear(&mut hold, &vm, due());
    let Todo::Tell { event, boots: false } = hear(&mut hold, &vm, tried(Found::Runs)) else { panic!("nothing is told") };
    assert_eq!(event.name, "vm-went-on");
    assert!(event.data.contains(&("held_ms", Datum::Number(4_000))), "{event:?}");
    assert_eq!((hold, reason(hold, &vm)), (None, None));
    assert_eq!(hear(&mut hold, &vm, tried(Found::Runs)), Todo::Nothing);
    assert_eq!(hear(&mut hold, &vm, due()), Todo::Nothing);
}

/// Nothing else would see to it that such a guest boots at all, or ends.
#[test]
fn a_guest_that_was_held_while_it_booted_has_its_time_anew() {
    for (state, anew) in [
        (State::Starting(Starting::Booting(machine(LAUNCH))), true),
        (State::Running(machine(LAUNCH)), false),
        (State::Stopping(Stopping { stage: StopStage::Waiting(machine(LAUNCH)), then: Then::Stopped, tries: 0 }), false),
    ] {
        let (vm, mut hold) = (vm(state), None);
        hear(&mut hold, &vm, full());
        hear(&mut hold, &vm, due());
        let told = hear(&mut hold, &vm, tried(Found::Runs));
        assert!(matches!(told, Todo::Tell { boots, .. } if boots == anew), "{:?}: {told:?}", vm.state);
    }
}

#[test]
fn what_its_user_paused_stays_paused() {
    let mut hold = None;
    hear(&mut hold, &running(), full());
    for state in [State::Pausing(machine(LAUNCH)), State::Paused(machine(LAUNCH))] {
        let paused = vm(state);
        for _ in 0..5 {
            assert_eq!(hear(&mut hold, &paused, due()), Todo::Wait { after_ms: AGAIN_MAX_MS });
        }
        assert_eq!(reason(hold, &paused), None, "that it is paused is the reason");
    }
    // Resumed, it goes on as any other.
    assert_eq!(hear(&mut hold, &running(), due()), Todo::Try(machine(LAUNCH)));
}

/// No state that is left to itself would be hurt by a try, but only these want one.
#[test]
fn only_what_is_to_run_is_let_go_on() {
    let stopping = |stage| State::Stopping(Stopping { stage, then: Then::Stopped, tries: 0 });
    for (state, goes_on) in [
        (State::Running(machine(LAUNCH)), true),
        (State::Starting(Starting::Booting(machine(LAUNCH))), true),
        (stopping(StopStage::Asking(machine(LAUNCH))), true),
        (stopping(StopStage::Waiting(machine(LAUNCH))), true),
        (State::Starting(Starting::Releasing(machine(LAUNCH))), false),
        (State::Resuming(machine(LAUNCH)), false),
        (State::Snapshotting(machine(LAUNCH)), false),
        (stopping(StopStage::Killing(machine(LAUNCH))), false),
    ] {
        let (vm, mut hold) = (vm(state), None);
        hear(&mut hold, &vm, full());
        let tries = matches!(hear(&mut hold, &vm, due()), Todo::Try(_));
        assert_eq!(tries, goes_on, "{:?}", vm.state);
    }
    for state in [State::Stopped, State::Starting(Starting::Launching), stopping(StopStage::Cleaning)] {
        let mut hold = Some(Hold { launch: LAUNCH, since: Timestamp(0), tries: 3, stage: Stage::Waiting });
        assert_eq!(hear(&mut hold, &vm(state), due()), Todo::Nothing);
        assert_eq!(hold, None, "there is no machine to hold");
    }
}

#[test]
fn another_launch_is_another_machine() {
    let (vm, other) = (running(), LAUNCH.next());
    let mut hold = None;
    for heard in [Heard::Full { launch: other }, Heard::Due { launch: other }] {
        assert_eq!((hear(&mut hold, &vm, heard), hold), (Todo::Nothing, None));
    }
    hold = Some(Hold { launch: other, since: Timestamp(0), tries: 3, stage: Stage::Waiting });
    assert_eq!(reason(hold, &vm), None);
    hear(&mut hold, &vm, full());
    assert_eq!(hold.map(|hold| (hold.launch, hold.tries)), Some((LAUNCH, 0)));
}

/// Two timers, or a doubled answer, are no two tries at once.
#[test]
fn one_try_is_under_way_at_most() {
    let (vm, mut hold) = (running(), None);
    hear(&mut hold, &vm, full());
    assert!(matches!(hear(&mut hold, &vm, due()), Todo::Try(_)));
    assert_eq!(hear(&mut hold, &vm, due()), Todo::Nothing);
    assert_eq!(hear(&mut hold, &vm, full()), Todo::Nothing);
    assert!(matches!(hear(&mut hold, &vm, tried(Found::StillFull)), Todo::Wait { .. }));
    assert_eq!(hear(&mut hold, &vm, tried(Found::StillFull)), Todo::Nothing);
}

#[test]
fn a_guest_that_could_not_run_is_not_late_with_its_boot() {
    let booting = vm(State::Starting(Starting::Booting(machine(LAUNCH))));
    let mut hold = None;
    assert!(!voids_boot(hold, &booting));
    hear(&mut hold, &booting, full());
    assert!(voids_boot(hold, &booting));
    assert!(!voids_boot(hold, &running()), "{:?} is of another stage", Timer::Boot);
    assert!(!voids_boot(hold, &vm(State::Starting(Starting::Booting(machine(LAUNCH.next()))))));
}
