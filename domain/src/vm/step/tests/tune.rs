//! Limits, balloon and metadata, which a running machine takes over at once: when they are asked for, when not, and what follows when it fails.

use super::fixture::{Story, machine, ticket, vm};
use crate::{
    Attempt, Timestamp,
    host::{Capabilities, Capability, Offer},
    vm::{
        Change, Command, CpuTemplate, DiskSizes, DriveChange, Driver, Drives, DrivesChange, Effect, Exit, Finished, Input,
        Inspection, Observed, RateLimitsChange, ReasonCode, RestartPolicy, Starting, State, StopMode, Ticket, admit, step::step,
    },
};

fn limit(mib_per_s: Option<u32>) -> Command {
    let rate_limits = RateLimitsChange { disk_mib_per_s: Some(mib_per_s), ..RateLimitsChange::default() };
    Command::Update(Change { rate_limits, ..Change::default() })
}

/// Of a driver that can do this alone.
fn only(what: Capability) -> Option<Offer> {
    Some(Offer { driver: Driver::Qemu, capabilities: vec![what].into() })
}

fn told(story: &mut Story, change: &Change, what: Capability) {
    let ticket = Ticket { offer: only(what), ..ticket(99) };
    story.input(Input::Command { command: Command::Update(change.clone()), ticket });
}

fn metadata(text: Option<&str>) -> Change {
    Change { metadata: Some(text.map(Into::into)), ..Change::default() }
}

/// What stands beside the user's metadata.
fn beside() -> [Change; 2] {
    let name = Some("other".parse().expect("a name"));
    [Change { name, ..Change::default() }, Change { cloud_init: Some(None), ..Change::default() }]
}

fn running() -> Story {
    Story::running(RestartPolicy::OnFailure)
}

#[test]
fn a_running_and_a_paused_machine_take_them_over_at_once() {
    let mut story = running();
    let (before, operations) = (story.record().attempt, story.operations.len());
    story.user(limit(Some(9))).is("running").wants(&["tune"]);
    assert_eq!(story.record().spec.devices.rate_limits.disk_mib_per_s, Some(9));
    assert!(story.record().attempt > before, "an effect has a number of its own");
    assert_eq!(story.operations.len(), operations, "an update is done with its answer");
    let record = story.record().clone();
    story.answers(Finished::Tuned);
    assert_eq!(*story.record(), record, "no news");
    story.user(Command::Pause).answers(Finished::Paused).is("paused");
    story.user(Command::Update(Change { balloon_mib: Some(8), ..Change::default() })).is("paused").wants(&["tune"]);
}

#[test]
fn a_machine_with_a_metadata_service_is_told_at_once_and_another_is_not() {
    let serves = Capability::Metadata;
    let mut story = running();
    let operations = story.operations.len();
    told(&mut story, &metadata(Some("{\"a\":1}")), serves);
    story.is("running").wants(&["tune"]);
    assert_eq!((story.record().spec.devices.metadata.as_deref(), story.record().retuned), (Some("{\"a\":1}"), true));
    assert_eq!(story.operations.len(), operations, "an update is done with its answer");
    story.answers(Finished::TuneFailed { detail: "seen".into() }).because(ReasonCode::NotApplied);
    // The same once more is tried once more.
    told(&mut story, &metadata(Some("{\"a\":1}")), serves);
    story.wants(&["tune"]).answers(Finished::Tuned);
    assert_eq!(story.events.last(), Some(&"vm-tuned"));
    for change in beside() {
        told(&mut story, &change, serves);
        story.wants(&["tune"]).answers(Finished::Tuned);
    }
    story.user(Command::Pause).answers(Finished::Paused).is("paused").wants(&["tune"]);
    told(&mut story, &metadata(None), serves);
    story.is("paused").wants(&["tune"]);
    // A hearth that finds it makes it as recorded.
    story.input(Input::Recovered).finds(Inspection::Paused).wants(&["watch", "await-guest", "tune"]);

    let mut story = running();
    let attempt = story.record().attempt;
    // What the driver lacks can always be taken away.
    for change in beside().iter().chain([&metadata(None)]) {
        told(&mut story, change, Capability::Balloon);
        story.wants(&[]);
    }
    assert_eq!((story.record().attempt, story.record().retuned), (attempt, false));
    let command = Command::Update(metadata(Some("{}")));
    let refused = admit(story.record(), &command, only(Capability::Balloon)).expect_err("no service");
    assert_eq!((refused.code(), refused.field()), ("unsupported-by-driver", Some("spec.metadata")));
}

/// Metadata is refused as limits are while a start is under way; a name is not, and the machine learns of it once it runs.
#[test]
fn what_is_renamed_while_it_starts_is_told_once_it_runs() {
    let serves = Capability::Metadata;
    let [rename, _keys] = beside();
    for stage in 0..3 {
        let mut story = Story::create(true, RestartPolicy::Never);
        story.answers(Finished::DiskReady);
        let rename = |story: &mut Story| {
            let refused = admit(story.record(), &Command::Update(metadata(None)), only(serves));
            assert_eq!(refused.expect_err("it starts").code(), "vm-already-starting");
            told(story, &rename, serves);
            story.wants(&[]);
        };
        if stage == 0 {
            rename(&mut story);
        }
        // The effect that was wanted before the renaming.
        let launch = story.record().attempt;
        story.input(Input::Finished { attempt: launch, result: Finished::Launched { machine: machine(launch) } });
        if stage == 1 {
            rename(&mut story);
        }
        let attempt = story.record().attempt;
        story.input(Input::Finished { attempt, result: Finished::Released }).is("starting/booting");
        if stage == 2 {
            rename(&mut story);
        }
        story.observes(Observed::GuestReady { launch }).is("running").wants(&["tune"]);
        // The next machine is made with it.
        story.exits(Exit::GuestReboot).answers(Finished::Cleaned);
        assert_eq!((&story.record().state, story.record().retuned), (&State::Starting(Starting::Launching), false));
        story.boots().is("running").wants(&[]);
    }
}

#[test]
fn without_a_machine_they_are_only_recorded_and_hold_from_the_start() {
    let mut story = Story::create(false, RestartPolicy::Never);
    story.answers(Finished::DiskReady).user(limit(Some(9))).is("created").wants(&[]);
    story.user(limit(None)).wants(&[]);
    assert_eq!(story.record().spec.devices.rate_limits.disk_mib_per_s, None);
}

#[test]
fn what_failed_is_said_with_the_vm_until_it_holds() {
    let mut story = running();
    let failed = || Finished::TuneFailed { detail: "seen".into() };
    story.user(limit(Some(9))).answers(failed()).is("running").because(ReasonCode::NotApplied);
    let reason = story.record().reason.clone().expect("a reason");
    assert!(reason.detail.contains("seen") && reason.detail.contains("from the next start"), "{}", reason.detail);
    assert_eq!(story.events.last(), Some(&"vm-tune-failed"));
    assert_eq!(story.record().spec.devices.rate_limits.disk_mib_per_s, Some(9), "the record holds what was asked");
    // Said twice it is said once.
    let (record, attempt) = (story.record().clone(), story.record().attempt);
    story.input(Input::Finished { attempt, result: failed() });
    assert_eq!(*story.record(), record);
    // The same once more is tried once more.
    story.user(limit(Some(9))).wants(&["tune"]).answers(Finished::Tuned);
    assert_eq!((story.record().reason.clone(), story.events.last()), (None, Some(&"vm-tuned")));
}

#[test]
fn the_next_start_forgets_that_they_did_not_hold() {
    let mut story = running();
    story.user(limit(Some(9))).answers(Finished::TuneFailed { detail: "seen".into() });
    story.user(Command::Stop(crate::vm::StopMode::Force));
    story.answers(Finished::Killed).answers(Finished::Cleaned).is("stopped");
    story.user(Command::Start).boots().is("running");
    assert_eq!(story.record().reason, None);
}

#[test]
fn a_crash_has_what_failed_tried_again() {
    let failed = || Finished::TuneFailed { detail: "seen".into() };
    let mut story = running();
    story.user(limit(Some(9))).answers(failed()).input(Input::Recovered);
    story.finds(Inspection::Running).wants(&["watch", "await-guest", "tune"]).answers(Finished::Tuned);
    assert_eq!((story.record().reason.clone(), story.events.last()), (None, Some(&"vm-tuned")));
    // And so does a pause, whose answer may have made that of the try a late one.
    story.user(limit(Some(8))).answers(failed()).user(Command::Pause).answers(Finished::Paused).wants(&["tune"]);
    story.answers(Finished::Tuned).is("paused");
    assert_eq!(story.record().reason, None);
}

/// What is recorded may not have reached the machine, or its answer not us. A VM of which that is not so needs no effect of its own, which
/// 100,000 of them would at a start.
#[test]
fn a_crash_before_the_answer_has_them_made_so() {
    let mut story = running();
    story.user(limit(Some(9))).wants(&["tune"]).input(Input::Recovered).wants(&["inspect"]);
    let record = story.record().clone();
    story.finds(Inspection::Running).wants(&["watch", "await-guest", "tune"]).answers(Finished::Tuned);
    assert_eq!(*story.record(), record, "nobody sees a difference");
    let mut story = running();
    story.input(Input::Recovered).finds(Inspection::Running).wants(&["watch", "await-guest"]);
}

#[test]
fn a_disk_only_grows() {
    let mut before = vm(State::Stopped);
    let wanted = |disk_mib| Command::Update(Change { disk_mib: Some(disk_mib), ..Change::default() });
    assert_eq!(admit(&before, &wanted(1), None), Ok(()), "nothing is known of the image's size here");
    before.spec.disk_mib = Some(100);
    let refused = admit(&before, &wanted(99), None).expect_err("smaller");
    assert_eq!((refused.code(), refused.field()), ("disk-smaller", Some("spec.disk_mib")));
    assert_eq!(admit(&before, &wanted(100), None), Ok(()));
    assert!(step(&before, Input::Command { command: wanted(101), ticket: ticket(2) }, Timestamp(2)).unwrap().effects.is_empty());
}

/// What is asked is recorded at once, and a machine that runs or is paused has it as limits and balloon.
#[test]
fn disks_grow_under_a_machine_that_is_there() {
    let drive = |name: &str, size_mib| DriveChange { name: name.parse().unwrap(), size_mib, read_only: None };
    let drives = |size_mib| {
        let set = vec![drive("data", size_mib)];
        Change { drives: Some(Box::new(DrivesChange { set, remove: vec![] })), ..Change::default() }
    };
    let root = |disk_mib| Change { disk_mib: Some(disk_mib), ..Change::default() };
    let at = |state| {
        let mut vm = vm(state);
        vm.spec.disk_mib = Some(100);
        vm.spec.devices.drives = Drives::new(&[drive("data", Some(10))]);
        vm
    };
    for change in [root(101), drives(Some(11))] {
        let command = Command::Update(change);
        for state in [State::Running(machine(Attempt(3))), State::Paused(machine(Attempt(3)))] {
            let before = at(state);
            let done = step(&before, Input::Command { command: command.clone(), ticket: ticket(2) }, Timestamp(2)).unwrap();
            let after = done.next.unwrap();
            assert!(after.retuned && after.spec != before.spec);
            assert!(matches!(done.effects[..], [Effect::Tune(_)]), "{:?}", done.effects);
        }
        for (state, code) in [
            (State::Starting(Starting::Launching), "vm-already-starting"),
            (State::Pausing(machine(Attempt(3))), "vm-busy"),
            (State::Deleting, "vm-deleting"),
        ] {
            assert_eq!(admit(&at(state), &command, None).expect_err("not now").code(), code);
        }
    }
    // What is only read has its size from the next start.
    let mut vm = at(State::Stopped);
    let read = DriveChange { read_only: Some(true), ..drive("read", Some(5)) };
    vm.spec.devices.drives = Drives::new(&[read, drive("data", Some(10))]);
    assert_eq!(vm.spec.disk_sizes(), DiskSizes { root_mib: Some(100), drives_mib: vec![(1, 10)] });
    for (change, code) in [(root(99), "disk-smaller"), (drives(Some(9)), "drive-smaller")] {
        assert_eq!(admit(&at(State::Running(machine(Attempt(3)))), &Command::Update(change), None).unwrap_err().code(), code);
    }
}

fn memory(mem_mib: u32) -> Command {
    Command::Update(Change { mem_mib: Some(mem_mib), ..Change::default() })
}

/// A machine that was made with room for it is given memory and has it taken away again; what it once had it may keep.
#[test]
fn memory_is_given_to_a_machine_that_was_made_with_room_for_it() {
    let mut fixed = running();
    let refused = admit(fixed.record(), &memory(256), None).expect_err("no room");
    assert_eq!((refused.code(), refused.field()), ("only-when-stopped", Some("spec.mem_mib")));
    let room = Command::Update(Change { mem_max_mib: Some(Some(1024)), ..Change::default() });
    assert_eq!(admit(fixed.record(), &room, None).expect_err("it runs").code(), "only-when-stopped");
    fixed.user(Command::Stop(StopMode::Force)).answers(Finished::Killed).answers(Finished::Cleaned).is("stopped");
    let mut story = fixed;
    story.user(room).user(memory(256)).wants(&[]).user(Command::Start);
    let held = |story: &Story| (story.record().memory.booted_mib, story.record().held_mem_mib());
    assert_eq!(held(&story), (256, 256));
    assert_eq!(admit(story.record(), &memory(512), None).expect_err("it starts").code(), "vm-already-starting");
    let launch = story.record().attempt;
    story.answers(Finished::Launched { machine: machine(launch) }).answers(Finished::Released);
    story.input(Input::Observed(Observed::GuestReady { launch })).is("running");
    story.user(memory(512)).wants(&["tune"]).answers(Finished::Tuned);
    assert_eq!((story.record().spec.plugged_mem_mib(), story.record().retuned), (Some(512), true));
    story.user(memory(300)).wants(&["tune"]).answers(Finished::Tuned);
    assert_eq!((story.record().spec.mem_mib, held(&story)), (300, (256, 512)), "what it had it may still have");
    let refused = admit(story.record(), &memory(255), None).expect_err("less than it began with");
    assert_eq!((refused.code(), refused.field()), ("only-when-stopped", Some("spec.mem_mib")));
    // A hearth that finds it gives it what is recorded; the next launch begins with that, and holds no more.
    story.input(Input::Recovered).finds(Inspection::Running).wants(&["watch", "await-guest", "tune"]);
    story.user(Command::Reboot(StopMode::Force)).answers(Finished::Killed);
    assert_eq!(admit(story.record(), &memory(512), None).expect_err("it stops").code(), "vm-already-stopping");
    story.answers(Finished::Cleaned).is("starting/launching");
    assert_eq!(held(&story), (300, 300));
}

/// Which drives there are: while no machine exists. What is asked of drives needs no capability.
#[test]
fn drives_change_while_it_is_stopped_and_only_by_name() {
    let drive = |name: &str, size_mib| DriveChange { name: name.parse().unwrap(), size_mib, read_only: None };
    let wanted = |drives: &[DriveChange], removed: &[&str]| {
        let remove = removed.iter().map(|name| name.parse().unwrap()).collect();
        let drives = Some(Box::new(DrivesChange { set: drives.to_vec(), remove }));
        Command::Update(Change { drives, ..Change::default() })
    };
    let mut before = vm(State::Stopped);
    before.spec.devices.drives = Drives::new(&[drive("data", Some(10)), drive("logs", Some(20))]);
    let changes = wanted(&[drive("data", Some(11)), drive("new", Some(1))], &["logs"]);
    let nothing = Some(Offer { driver: Driver::Qemu, capabilities: Capabilities::NONE });
    assert_eq!(admit(&before, &changes, nothing), Ok(()));
    let after =
        step(&before, Input::Command { command: changes.clone(), ticket: ticket(2) }, Timestamp(2)).unwrap().next.unwrap();
    let told: Vec<_> = after.spec.devices.drives.all().iter().map(|drive| (drive.name.as_str(), drive.size_mib)).collect();
    assert_eq!(told, [("data", 11), ("new", 1)]);
    assert_eq!(admit(&before, &wanted(&[drive("data", Some(9))], &[]), None).unwrap_err().code(), "drive-smaller");
    for at_work in [changes, wanted(&[], &["logs"]), wanted(&[drive("data", Some(11)), drive("new", Some(1))], &[])] {
        before.state = State::Running(machine(Attempt(3)));
        assert_eq!(admit(&before, &at_work, None).expect_err("it runs").code(), "only-when-stopped");
        before.state = State::Deleting;
        assert_eq!(admit(&before, &at_work, None).expect_err("it goes").code(), "vm-deleting");
    }
}

#[test]
fn what_the_driver_lacks_is_refused_by_its_field_and_can_always_be_taken_away() {
    let before = vm(State::Stopped);
    let offer = |capabilities| Some(Offer { driver: Driver::Qemu, capabilities });
    let template = |template| Command::Update(Change { cpu_template: Some(template), ..Change::default() });
    for command in [limit(Some(1)), template(Some(CpuTemplate::T2))] {
        let refused = admit(&before, &command, offer(Capabilities::NONE)).expect_err("it can nothing");
        assert_eq!(refused.code(), "unsupported-by-driver");
        let field = refused.field().expect("a field");
        assert!(refused.to_string().starts_with(field) && refused.to_string().contains("the qemu driver"), "{refused}");
        assert_eq!(admit(&before, &command, offer(Capabilities::from(Capability::ALL.to_vec()))), Ok(()));
        let ticket = Ticket { offer: offer(Capabilities::NONE), ..ticket(2) };
        assert!(step(&before, Input::Command { command, ticket }, Timestamp(2)).is_err());
    }
    for command in [limit(None), template(None)] {
        assert_eq!(admit(&before, &command, offer(Capabilities::NONE)), Ok(()));
    }
}
