//! Each check seen to speak up, and to be quiet about what is whole.

use super::{Broken, Deed, Durable, Found, Keep, Kept, Phase, Process, Story, apart, on_one_machine, settled};
use crate::{
    Attempt, Generation, HostId, ImageId, Labels, Name, OperationId, Timestamp, VmId,
    event::{Datum, Event, Kind},
    operation::{self, Operation, OperationKind, Status, Target},
    vm::{BootImages, Driver, Machine, MachineMemory, Nic, Reason, ReasonCode, RestartPolicy, Restarts, State, Vm, VmSpec},
};
use std::net::Ipv4Addr;

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn machine(launch: u64) -> Machine {
    Machine {
        launch: Attempt(launch),
        driver: Driver::Simulated,
        pid: 1,
        start_ticks: 1,
        executable: "x".into(),
        version: "1".into(),
    }
}

fn vm(bits: u128, state: State) -> Vm {
    let octet = u8::try_from(bits).expect("small");
    let spec = VmSpec {
        host: None,
        vcpus: 1,
        mem_mib: 128,
        kernel: None,
        image: "i".into(),
        disk_mib: None,
        cmdline: None,
        networks: vec!["default".into()],
        restart: RestartPolicy::Never,
        devices: crate::vm::Devices::default(),
    };
    Vm {
        id: VmId::from_bits(bits),
        name: name(&format!("vm-{bits}")),
        project: name("default"),
        labels: Labels::new(),
        generation: Generation(3),
        created_at: Timestamp(1),
        updated_at: Timestamp(1),
        spec,
        boot: BootImages { kernel: ImageId::from_bits(1), rootfs: ImageId::from_bits(2) },
        host: HostId::from_bits(1),
        nics: vec![Nic {
            address: Ipv4Addr::new(10, 0, 0, octet),
            prefix: 24,
            gateway: Ipv4Addr::new(10, 0, 0, 1),
            mac: [2, 0, 0, 0, 0, octet],
            tap: format!("tap{bits}"),
        }],
        network_note: None,
        state,
        attempt: Attempt(5),
        operation: None,
        restarts: Restarts::default(),
        reason: None,
        retuned: false,
        memory: MachineMemory::default(),
    }
}

fn durable(vms: Vec<Vm>) -> Durable {
    let given = vms.iter().map(|vm| (vm.id, vm.nics.iter().map(|nic| (nic.address, nic.mac)).collect())).collect();
    Durable { vms: vms.into_iter().map(|vm| (vm.id, vm)).collect(), given, room_mib: Some(300), ..Durable::default() }
}

fn process(vm: &Vm, launch: u64, phase: Phase) -> Process {
    let taps = vm.nics.iter().map(|nic| nic.tap.clone()).collect();
    let (rate_limits, balloon_mib) = (vm.spec.devices.rate_limits, vm.spec.devices.balloon_mib);
    let served = (vm.name.to_string(), vm.spec.devices.metadata.clone());
    let (mem_mib, disks, plugged_mib) = (vm.spec.mem_mib, vm.spec.disk_sizes(), vm.spec.plugged_mem_mib());
    Process { vm: vm.id, launch: Attempt(launch), phase, mem_mib, taps, rate_limits, balloon_mib, disks, plugged_mib, served }
}

fn found(processes: Vec<Process>, durable: &Durable) -> Found {
    let taps = processes.iter().flat_map(|process| process.taps.clone()).collect();
    Found { processes, taps, disks: durable.vms.keys().copied().collect(), images: Vec::new() }
}

fn spoken(check: impl FnOnce(&mut Vec<Broken>)) -> Vec<String> {
    let mut broken = Vec::new();
    check(&mut broken);
    broken.iter().map(ToString::to_string).filter(|text| !text.contains("its image")).collect()
}

#[test]
fn what_is_whole_is_passed_over() {
    let (one, two) = (vm(1, State::Running(machine(4))), vm(2, State::Stopped));
    let durable = durable(vec![one.clone(), two]);
    let found = found(vec![process(&one, 4, Phase::Running)], &durable);
    assert_eq!(spoken(|broken| durable.check(broken)), Vec::<String>::new());
    assert_eq!(spoken(|broken| on_one_machine(&durable, &found, broken)), Vec::<String>::new());
    assert_eq!(spoken(|broken| settled(&durable, &found, broken)), Vec::<String>::new());
    assert_eq!(spoken(|broken| apart([("a", &durable, &found)], broken)), Vec::<String>::new());
}

#[test]
fn what_is_given_twice_and_what_is_oversold() {
    let (one, mut two) = (vm(1, State::Running(machine(4))), vm(2, State::Running(machine(4))));
    let three = vm(3, State::Running(machine(4)));
    two.nics = one.nics.clone();
    two.name = one.name.clone();
    let told = spoken(|broken| durable(vec![one, two, three]).check(broken));
    for expected in ["the name", "the address", "the MAC", "the interface", "VMs hold 384 MiB of 300"] {
        assert!(told.iter().any(|text| text.contains(expected)), "{expected}: {told:?}");
    }
}

#[test]
fn what_is_given_is_noted_and_nothing_else_is() {
    let mut durable = durable(vec![vm(1, State::Stopped), vm(2, State::Stopped)]);
    let told = |durable: &Durable| spoken(|broken| durable.check(broken));
    durable.given.entry(VmId::from_bits(1)).or_default().push((Ipv4Addr::new(10, 0, 0, 9), [2, 0, 0, 0, 0, 9]));
    assert!(matches!(&told(&durable)[..], [one] if one.contains("10.0.0.9")), "{:?}", told(&durable));
    durable.given.remove(&VmId::from_bits(1));
    assert!(matches!(&told(&durable)[..], [one] if one.contains("noted are []")), "{:?}", told(&durable));
    durable.vms.remove(&VmId::from_bits(1));
    assert_eq!(told(&durable), Vec::<String>::new());
    durable.vms.remove(&VmId::from_bits(2));
    assert!(matches!(&told(&durable)[..], [one] if one.contains("belongs to no record")), "{:?}", told(&durable));
}

#[test]
fn machines_that_nobody_recorded() {
    let one = vm(1, State::Running(machine(4)));
    let durable = durable(vec![one.clone()]);
    let machines = vec![process(&one, 4, Phase::Running), process(&one, 5, Phase::Running)];
    let told = spoken(|broken| on_one_machine(&durable, &found(machines, &durable), broken));
    assert!(told.iter().any(|text| text.contains("two machines")), "{told:?}");
    assert!(told.iter().any(|text| text.contains("without a durable reason")), "{told:?}");
    let told = spoken(|broken| on_one_machine(&durable, &found(vec![process(&one, 3, Phase::Held)], &durable), broken));
    assert!(told[0].contains("launch 4, which is recorded, and launch 3"), "{told:?}");
    let other = durable.clone();
    let nothing = Found::default();
    let told = spoken(|broken| apart([("a", &durable, &nothing), ("b", &other, &nothing)], broken));
    assert!(told[0].contains("to a and to b"), "{told:?}");
}

#[test]
fn what_is_not_met_or_left_over() {
    let (running, stopped) = (vm(1, State::Running(machine(4))), vm(2, State::Stopped));
    let durable = durable(vec![running, stopped.clone()]);
    let mut found = found(vec![process(&stopped, 4, Phase::Running)], &durable);
    found.disks.push(VmId::from_bits(9));
    found.images.push(ImageId::from_bits(9));
    let told = spoken(|broken| settled(&durable, &found, broken));
    assert_eq!(told.iter().filter(|text| text.contains("is recorded as")).count(), 2, "{told:?}");
    assert_eq!(told.iter().filter(|text| text.contains("belongs to no record")).count(), 3, "{told:?}");
}

/// A machine has the interfaces that are recorded, in their order, or none where there is no network; nothing else has them.
#[test]
fn interfaces_that_a_machine_should_not_have_or_lacks() {
    let mut one = vm(1, State::Running(machine(4)));
    one.spec.networks.push("default".into());
    one.nics.push(Nic {
        address: Ipv4Addr::new(10, 0, 0, 9),
        tap: "tap9".into(),
        mac: [2, 0, 0, 0, 0, 9],
        ..one.nics[0].clone()
    });
    let durable = durable(vec![one.clone()]);
    let told = |taps: &[&str]| {
        let taps = taps.iter().map(|tap| (*tap).to_owned()).collect();
        let found = found(vec![Process { taps, ..process(&one, 4, Phase::Running) }], &durable);
        spoken(|broken| settled(&durable, &found, broken))
    };
    for fine in [&["tap1", "tap9"] as &[&str], &[]] {
        assert_eq!(told(fine), Vec::<String>::new(), "{fine:?}");
    }
    for wrong in [&["tap1"] as &[&str], &["tap9", "tap1"], &["tap1", "tap9", "tap9"]] {
        let told = told(wrong);
        assert!(matches!(&told[..], [one] if one.contains("is recorded as [\"tap1\", \"tap9\"]")), "{wrong:?}: {told:?}");
    }
    let told = told(&["tap1", "tap8"]);
    assert!(told.len() == 2 && told[1].contains("the interface tap8 belongs to no record"), "{told:?}");
}

#[test]
fn what_a_machine_was_not_told_of() {
    let mut one = vm(1, State::Running(machine(4)));
    let machine = process(&one, 4, Phase::Running);
    let mut other = one.clone();
    one.spec.devices.balloon_mib = 9;
    other.spec.devices.metadata = Some("{}".into());
    for (mut vm, reason, said) in [
        (one.clone(), None, 1),
        (one.clone(), Some(ReasonCode::DiskFull), 1),
        (one, Some(ReasonCode::NotApplied), 0),
        (other, None, 1),
    ] {
        vm.reason = reason.map(|code| Reason { code, detail: "seen".into() });
        let durable = durable(vec![vm]);
        let found = found(vec![machine.clone()], &durable);
        assert_eq!(spoken(|broken| settled(&durable, &found, broken)).len(), said, "{reason:?}");
    }
}

#[test]
fn deeds_need_a_record() {
    let record = vm(1, State::Running(machine(4)));
    let check = |deed: Deed<'_>, record: Option<&Vm>| deed.check(VmId::from_bits(1), record).is_ok();
    assert!(check(Deed::Launch(Attempt(5)), Some(&record)) && !check(Deed::Launch(Attempt(6)), Some(&record)));
    assert!(check(Deed::Touch(Attempt(4)), Some(&record)) && !check(Deed::Touch(Attempt(5)), Some(&record)));
    assert!(check(Deed::Attach("tap1"), Some(&record)) && !check(Deed::Attach("tap2"), Some(&record)));
    assert!(!check(Deed::RemoveDisk, Some(&record)) && check(Deed::RemoveDisk, Some(&vm(1, State::Deleting))));
    assert!(check(Deed::Sweep, None) && !check(Deed::Sweep, Some(&record)) && !check(Deed::Clean, None));
}

#[test]
fn events_are_gapless_and_tell_where_things_rest() {
    let record = vm(1, State::Stopped);
    let event = |state: &str, generation| Event {
        time: Timestamp(1),
        kind: Kind::Vm,
        id: record.id.to_string(),
        name: record.name.to_string(),
        project: record.project.clone(),
        generation: Generation(generation),
        event: "vm-stopped".into(),
        actor: "system".into(),
        operation: None,
        data: vec![("state".into(), Datum::Text(state.into()))],
    };
    let durable = durable(vec![record.clone()]);
    let hear = |events: &[(u64, Event)]| {
        spoken(|broken| {
            let mut story = Story::default();
            for (cursor, event) in events {
                story.hear(*cursor, event, broken);
            }
            story.check(&durable, broken);
        })
    };
    assert_eq!(hear(&[(1, event("running", 2)), (2, event("stopped", 3))]), Vec::<String>::new());
    assert_eq!(hear(&[(1, event("running", 2)), (3, event("stopped", 3))]).len(), 1, "a gap");
    assert_eq!(hear(&[(1, event("running", 3))]).len(), 1, "another state");
    assert_eq!(hear(&[(1, event("stopped", 4))]).len(), 1, "a generation that is not there yet");
    assert_eq!(hear(&[]).len(), 1, "nothing was told");
}

fn told(id: &str, kind: Kind, event: &str, data: &[(&str, &str)]) -> Event {
    Event {
        time: Timestamp(1),
        kind,
        id: id.to_owned(),
        name: "a".into(),
        project: name("default"),
        generation: Generation(3),
        event: event.into(),
        actor: "system".into(),
        operation: None,
        data: data.iter().map(|(key, value)| ((*key).to_owned(), Datum::Text((*value).to_owned()))).collect(),
    }
}

/// An operation of that kind is told to be cancelled when its VM was told last so.
fn cancelled_when(kind: &str, event: &str, state: &str) -> Vec<String> {
    let vm = told("vm_1", Kind::Vm, event, &[("state", state)]);
    let data = [("status", "cancelled"), ("operation_kind", kind), ("target", "vm_1")];
    let end = told("op_1", Kind::Operation, "operation-cancelled", &data);
    spoken(|broken| {
        let mut story = Story::default();
        story.hear(1, &vm, broken);
        story.hear(2, &end, broken);
        assert_eq!(story.ended_operations(), 1);
    })
}

#[test]
fn what_was_cancelled_is_undone() {
    for (kind, undone) in [
        ("vm-create", ("vm-deleted", "deleting")),
        ("vm-start", ("vm-stopped", "stopped")),
        ("vm-start", ("vm-deleting", "stopping")),
        ("vm-pause", ("vm-resumed", "running")),
        ("vm-resume", ("vm-paused", "paused")),
        ("vm-stop", ("vm-stop-cancelled", "running")),
    ] {
        assert_eq!(cancelled_when(kind, undone.0, undone.1), Vec::<String>::new(), "{kind}");
        assert_eq!(cancelled_when(kind, "vm-starting", "starting").len(), 1, "{kind} goes on");
    }
    assert_eq!(cancelled_when("vm-create", "vm-stopped", "stopped").len(), 1, "a VM that was not to be is there");
}

fn operation(bits: u128, status: Status) -> Operation {
    let target = Target { kind: Kind::Vm, id: "vm_1".into(), name: name("a") };
    let id = OperationId::from_bits(bits);
    let begun = operation::begin(id, OperationKind::VmStart, target, name("default"), "user:x".into(), Timestamp(1));
    Operation { status, ..begun }
}

#[test]
fn nothing_is_gone_that_is_to_be_kept() {
    let keep = Keep { events: 3, ended_operations: 2, at_once: 1 };
    let mut story = Story::default();
    let mut durable = Durable::default();
    for bits in 1..=4 {
        let id = OperationId::from_bits(bits).to_string();
        let end = told(&id, Kind::Operation, "operation-succeeded", &[("status", "succeeded")]);
        story.hear(bits as u64, &end, &mut Vec::new());
        durable.operations.insert(OperationId::from_bits(bits), operation(bits, Status::Succeeded));
    }
    let spoken_of = |durable: &Durable, kept: Kept| spoken(|broken| keep.check(durable, &story, kept, broken));
    let fine = Kept { oldest: 2, latest: 4, count: 3 };
    assert_eq!(spoken_of(&durable, fine), Vec::<String>::new());
    assert_eq!(spoken(|broken| keep.settled(fine, broken)), Vec::<String>::new());
    assert_eq!(spoken(|broken| keep.settled(Kept { oldest: 1, latest: 4, count: 4 }, broken)).len(), 1, "one too many");
    assert_eq!(spoken_of(&durable, Kept { oldest: 3, latest: 4, count: 2 }).len(), 1, "one too few");
    assert_eq!(spoken_of(&durable, Kept { oldest: 1, latest: 4, count: 3 }).len(), 1, "a gap");
    assert_eq!(spoken(|broken| keep.forgotten(&durable, broken)).len(), 1, "four of at most three");
    for bits in 1..=2 {
        durable.operations.remove(&OperationId::from_bits(bits));
    }
    assert_eq!(spoken_of(&durable, fine), Vec::<String>::new());
    assert_eq!(spoken(|broken| keep.forgotten(&durable, broken)), Vec::<String>::new());
    durable.operations.remove(&OperationId::from_bits(3));
    assert_eq!(spoken_of(&durable, fine).len(), 1, "one of two newest");
    let running = told("op_9", Kind::Operation, "operation-started", &[("status", "running")]);
    story.hear(5, &running, &mut Vec::new());
    let gone = spoken(|broken| story.check(&Durable::default(), broken));
    assert!(gone.iter().any(|text| text.contains("op_9")), "one that runs is not forgotten: {gone:?}");
}
