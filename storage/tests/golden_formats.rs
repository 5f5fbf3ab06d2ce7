//! The bytes of schema 1 of every stored record, as they lie in journals out there.
//!
//! Each file under `golden/` holds examples of one record, one for each variant that it can have, each with its length before it (u32,
//! little-endian). A test that fails here means that journals of released versions would be misread: the shape gets the next number in
//! `schema.rs` and an `upgrade` from this one, and these files stay. A new variant at the END of an enum is no such change: its example is
//! added by `HEARTH_WRITE_GOLDEN=1 cargo test -p hearth-storage --test golden_formats`, which must leave the old bytes as they are.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use domain::{
    Attempt, Generation, HostId, ImageId, Labels, Name, OperationId, Timestamp, VmId, WebhookId,
    event::{Datum, Event, Kind},
    host::{Capabilities, Capability, Facts, Host, State as HostState, VmmFacts},
    image::{Files, Image, ImageKind, ImageSpec, State as ImageState},
    operation::{Amount, Operation, OperationError, OperationKind, Status, StepRecord, StepStatus, Target},
    vm::{
        BootImages, CloudInit, CpuTemplate, Devices, DriveChange, Driver, Drives, InFlight, Interface, Mac, Machine,
        MachineMemory, Nic, RateLimits, Reason, ReasonCode, RestartPolicy, Restarts, Starting, State, StopStage, Stopping, Then,
        Vm, VmSpec,
    },
    webhook::{
        BecauseOf, DeadLetter, DeadRef, Delivery, Failure, Filter, State as WebhookState, Success, Webhook, WebhookSpec, What,
    },
};
use std::{fmt::Debug, net::Ipv4Addr, path::PathBuf};
use storage::{
    SetAside,
    envelope::{Stored, decode, encode},
};

const NOW: Timestamp = Timestamp(1_767_225_600_000);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn labels() -> Labels {
    Labels::from([("team".to_owned(), "a".to_owned()), ("tier".to_owned(), "gold".to_owned())])
}

fn machine(driver: Driver) -> Machine {
    Machine {
        launch: Attempt(300),
        driver,
        pid: 70_000,
        start_ticks: 1 << 33,
        executable: "/usr/bin/vmm".into(),
        version: "1.2".into(),
    }
}

/// Every state, and in passing every stage and every `Then`.
fn vm_states() -> Vec<State> {
    let m = || machine(Driver::Qemu);
    let mut states = vec![
        State::Creating { start: true },
        State::Creating { start: false },
        State::Created,
        State::Starting(Starting::Launching),
        State::Starting(Starting::Releasing(m())),
        State::Starting(Starting::Booting(m())),
        State::Starting(Starting::BackingOff),
        State::Running(machine(Driver::Firecracker)),
        State::Running(m()),
        State::Running(machine(Driver::Simulated)),
        State::Pausing(m()),
        State::Paused(m()),
        State::Resuming(m()),
    ];
    for stage in [StopStage::Asking(m()), StopStage::Killing(m()), StopStage::Cleaning] {
        for then in [Then::Stopped, Then::Relaunch, Then::Restart, Then::Failed, Then::Delete] {
            states.push(State::Stopping(Stopping { stage: stage.clone(), then, tries: 2 }));
        }
    }
    states.extend([State::Stopped, State::Snapshotting(m()), State::Restoring, State::Failed, State::Deleting]);
    states
}

const REASONS: [ReasonCode; 12] = [
    ReasonCode::LaunchFailed,
    ReasonCode::AgentTimeout,
    ReasonCode::GuestShutdown,
    ReasonCode::GuestReboot,
    ReasonCode::GuestPanic,
    ReasonCode::VmmKilled,
    ReasonCode::VmmFailed,
    ReasonCode::VmmGone,
    ReasonCode::RestartBudgetSpent,
    ReasonCode::CleanFailed,
    ReasonCode::ActorFailed,
    ReasonCode::RestoreInterrupted,
];

const KINDS: [OperationKind; 9] = [
    OperationKind::VmCreate,
    OperationKind::VmStart,
    OperationKind::VmStop,
    OperationKind::VmPause,
    OperationKind::VmResume,
    OperationKind::VmReboot,
    OperationKind::VmDelete,
    OperationKind::ImageCreate,
    OperationKind::ImageDelete,
];

fn vm(state: State) -> Vm {
    Vm {
        id: VmId::from_bits(0x0192_f0e1_d2c3_b4a5_9687_7869_5a4b_3c2d),
        name: name("demo"),
        project: name("default"),
        labels: labels(),
        generation: Generation(1000),
        created_at: NOW,
        updated_at: Timestamp(NOW.0 + 1),
        spec: VmSpec {
            host: Some("h1".into()),
            vcpus: 2,
            mem_mib: 512,
            kernel: Some("linux".into()),
            image: "debian".into(),
            disk_mib: Some(4096),
            cmdline: Some("quiet".into()),
            networks: vec!["default".into()],
            restart: RestartPolicy::OnFailure,
            devices: domain::vm::Devices::default(),
        },
        boot: BootImages { kernel: ImageId::from_bits(1), rootfs: ImageId::from_bits(2) },
        host: HostId::from_bits(3),
        nics: vec![Nic {
            address: Ipv4Addr::new(10, 77, 0, 5),
            prefix: 16,
            gateway: Ipv4Addr::new(10, 77, 0, 1),
            mac: [2, 0, 0, 0, 0, 5],
            tap: "hth0123456789".into(),
        }],
        network_note: None,
        state,
        attempt: Attempt(301),
        operation: None,
        restarts: Restarts { in_window: 1, window_start: NOW, total: 70_000 },
        reason: None,
        retuned: false,
        memory: MachineMemory { booted_mib: 512, most_mib: 512 },
    }
}

fn vms() -> Vec<Vm> {
    let mut all: Vec<Vm> = vm_states().into_iter().map(vm).collect();
    all.extend(REASONS.map(|code| Vm { reason: Some(Reason { code, detail: "seen".into() }), ..vm(State::Failed) }));
    all.extend(KINDS.map(|kind| {
        let operation = Some(InFlight { id: OperationId::from_bits(9), kind });
        Vm { operation, ..vm(State::Starting(Starting::Launching)) }
    }));
    for restart in [RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::Always] {
        let mut bare = vm(State::Created);
        bare.labels = Labels::new();
        bare.spec = VmSpec { host: None, kernel: None, disk_mib: None, cmdline: None, networks: vec![], restart, ..bare.spec };
        bare.nics.clear();
        bare.network_note = Some("no bridge".into());
        all.push(bare);
    }
    // What came later stands at the end, so that the bytes before it stay.
    all.push(Vm { reason: Some(Reason { code: ReasonCode::DeleteFailed, detail: "seen".into() }), ..vm(State::Failed) });
    all.push(vm(State::Stopping(Stopping { stage: StopStage::Waiting(machine(Driver::Qemu)), then: Then::Stopped, tries: 0 })));
    all.extend(
        [ReasonCode::OutOfMemory, ReasonCode::SeccompViolation]
            .map(|code| Vm { reason: Some(Reason { code, detail: "seen".into() }), ..vm(State::Failed) }),
    );
    all
}

/// Since schema 2 what is asked of its devices is told too.
fn equipped_vms() -> Vec<Vm> {
    let mut all = vms();
    let templates = [CpuTemplate::C3, CpuTemplate::T2, CpuTemplate::T2S, CpuTemplate::T2CL, CpuTemplate::T2A, CpuTemplate::V1N1];
    all.extend(templates.map(|template| {
        let mut vm = vm(State::Created);
        vm.spec.devices.cpu_template = Some(template);
        vm
    }));
    let mut full = vm(State::Created);
    full.spec.devices = Devices {
        rate_limits: RateLimits {
            disk_mib_per_s: Some(1),
            disk_ops_per_s: Some(70_000),
            rx_mbit_per_s: Some(300),
            tx_mbit_per_s: Some(1_000_000),
        },
        balloon_mib: 128,
        cpu_template: None,
        cloud_init: Some(Box::new(CloudInit {
            user_data: Some("#cloud-config\n".into()),
            ssh_keys: vec!["ssh-ed25519 AAAA me".into()],
            password_hash: None,
        })),
        metadata: Some("{\"a\":1}".into()),
        drives: Drives::default(),
        mem_max_mib: None,
    };
    all.push(full);
    all.push(Vm {
        reason: Some(Reason { code: ReasonCode::NotApplied, detail: "seen".into() }),
        retuned: true,
        ..vm(State::Running(machine(Driver::Qemu)))
    });
    all
}

/// Since schema 3 also its data drives, and what a password became.
fn vms_with_drives_and_passwords() -> Vec<Vm> {
    let drive = |name: &str, size_mib, read_only| DriveChange {
        name: name.parse().unwrap(),
        size_mib: Some(size_mib),
        read_only: Some(read_only),
    };
    let mut all = equipped_vms();
    let mut full = vm(State::Created);
    full.spec.devices.drives = Drives::new(&[drive("data", 70_000, false), drive("logs-2", 1 << 33, true)]);
    all.push(full);
    let mut vm = vm(State::Created);
    let password_hash = Some(format!("$6$saltsaltsaltsalt${}", "h".repeat(86)).into());
    vm.spec.devices.cloud_init = Some(Box::new(CloudInit { user_data: None, ssh_keys: vec![], password_hash }));
    all.push(vm);
    all
}

/// Since schema 4 also several network interfaces, with MACs of the user's choice.
fn vms_with_several_interfaces() -> Vec<Vm> {
    let mut all = vms_with_drives_and_passwords();
    let mut several = vm(State::Created);
    let first = several.nics[0].clone();
    let mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    several.spec.networks.push(Interface { network: "default".into(), mac: Some(Mac::new(mac).unwrap()) });
    several.nics.push(Nic { address: Ipv4Addr::new(10, 77, 1, 6), mac, tap: "hth01234567891".into(), ..first });
    all.push(several);
    all
}

/// Since schema 5 also how much memory it may be given, and what its machine had of it.
fn vms_with_room_for_memory() -> Vec<Vm> {
    let mut all = vms_with_several_interfaces();
    let memory = MachineMemory { booted_mib: 256, most_mib: 768 };
    let mut roomy = Vm { memory, ..vm(State::Running(machine(Driver::Firecracker))) };
    roomy.spec.devices.mem_max_mib = Some(70_000);
    all.push(roomy);
    all
}

fn images() -> Vec<Image> {
    let image = |kind, state| Image {
        id: ImageId::from_bits(7),
        name: name("debian"),
        project: name("default"),
        labels: labels(),
        generation: Generation(3),
        created_at: NOW,
        updated_at: NOW,
        spec: ImageSpec {
            kind,
            path: "/srv/a".into(),
            initrd: Some("/srv/i".into()),
            default: true,
            description: Some("d".into()),
        },
        state,
        attempt: Attempt(2),
        operation: Some(OperationId::from_bits(9)),
    };
    let files =
        Files { digest: "sha256:00".into(), size_bytes: 1 << 40, initrd_digest: Some("sha256:11".into()), initrd_size_bytes: 9 };
    vec![
        image(ImageKind::Kernel, ImageState::Importing),
        image(ImageKind::Kernel, ImageState::Ready(files)),
        image(ImageKind::Rootfs, ImageState::Failed { code: "disk-full".into(), detail: "seen".into() }),
        image(ImageKind::Rootfs, ImageState::Deleting),
        // What came later stands at the end.
        image(ImageKind::Rootfs, ImageState::Cancelling),
    ]
}

/// What schema 1 is read as, which knew nothing of capabilities.
fn capabilities_1(driver: Driver) -> Capabilities {
    match driver {
        Driver::Firecracker => Capabilities::NONE,
        Driver::Qemu => {
            Capabilities { pause: true, console_input: true, guest_agent: true, power_off_told: true, ..Capabilities::NONE }
        }
        Driver::Simulated => Capabilities { pause: true, guest_agent: true, power_off_told: true, ..Capabilities::NONE },
    }
}

fn hosts() -> Vec<Host> {
    let host = |state, driver| Host {
        id: HostId::from_bits(3),
        name: name("h1"),
        labels: labels(),
        generation: Generation(4),
        created_at: NOW,
        updated_at: NOW,
        facts: Facts {
            hostname: "h1".into(),
            kernel: "6.1".into(),
            architecture: "x86_64".into(),
            cpu_model: "cpu".into(),
            cpus: 4,
            mem_mib: 8192,
            vm_vcpus: 8,
            vm_mem_mib: 7000,
            hearth_version: "0.1.0".into(),
            vmm: VmmFacts { driver, version: "1".into(), acceleration: "kvm".into(), chosen_because: "it boots".into() },
            network_problem: Some("no bridge".into()),
            problems: vec!["no cgroups".into()],
            capabilities: capabilities_1(driver),
        },
        state,
        cordoned: true,
    };
    vec![
        host(HostState::Healthy, Driver::Firecracker),
        host(HostState::Degraded, Driver::Qemu),
        host(HostState::Offline, Driver::Simulated),
    ]
}

/// Since schema 2 what the driver can do is told too; one example for each capability, so that a new one at the end adds one.
fn able_hosts() -> Vec<Host> {
    let mut all = hosts();
    let first = all[0].clone();
    all.extend(Capability::ALL.map(|what| {
        let mut host = first.clone();
        host.facts.capabilities = Capabilities::from(vec![what]);
        host
    }));
    all
}

fn operations() -> Vec<Operation> {
    let operation = |kind, status| Operation {
        id: OperationId::from_bits(9),
        kind,
        target: Target { kind: Kind::Vm, id: "vm_x".into(), name: name("demo") },
        project: name("default"),
        actor: "user:admin".into(),
        generation: Generation(5),
        created_at: NOW,
        updated_at: NOW,
        status,
        progress: 60,
        steps: [StepStatus::Running, StepStatus::Done, StepStatus::Failed]
            .map(|status| StepRecord { name: "boot".into(), status, started_at: NOW, ended_at: Some(NOW) })
            .into(),
        amount: None,
    };
    let error = OperationError { code: "disk-full".into(), detail: "seen".into(), hint: "make room".into() };
    let statuses = [Status::Running, Status::Succeeded, Status::Failed(error), Status::Cancelled];
    let mut all: Vec<Operation> = statuses.into_iter().map(|status| operation(OperationKind::VmStart, status)).collect();
    all.extend(KINDS.map(|kind| operation(kind, Status::Running)));
    all
}

/// Since schema 2 what was done is told in bytes too.
fn measured_operations() -> Vec<Operation> {
    let mut all = operations();
    let measured = Operation { amount: Some(Amount { done_bytes: 1 << 33, total_bytes: 1 << 34 }), ..all[0].clone() };
    all.push(measured);
    all
}

fn events() -> Vec<Event> {
    let event = |kind| Event {
        time: NOW,
        kind,
        id: "vm_x".into(),
        name: "demo".into(),
        project: name("default"),
        generation: Generation(6),
        event: "vm-started".into(),
        actor: "user:admin".into(),
        operation: Some(OperationId::from_bits(9)),
        data: vec![
            ("state".into(), Datum::Text("running".into())),
            ("size".into(), Datum::Number(1 << 40)),
            ("force".into(), Datum::Flag(true)),
        ],
    };
    [Kind::Vm, Kind::Host, Kind::Image, Kind::Operation, Kind::Webhook].map(event).into()
}

fn webhooks() -> Vec<Webhook> {
    let delivery = |what| Delivery { number: 70_000, what, since: NOW, attempts: 3 };
    let events = What::Events { after: 400, upto: 1 << 33, count: 100 };
    let states = vec![
        WebhookState::Following,
        WebhookState::Sending(delivery(events)),
        WebhookState::Sending(delivery(What::Resync { upto: 500 })),
        WebhookState::Sending(delivery(What::Dead { count: 7 })),
        WebhookState::Waiting { delivery: delivery(events), until: Timestamp(NOW.0 + 1_000) },
        WebhookState::Disabled(BecauseOf::Person),
        WebhookState::Disabled(BecauseOf::Receiver),
    ];
    let webhook = |state| Webhook {
        id: WebhookId::from_bits(11),
        name: name("ci"),
        project: name("default"),
        labels: labels(),
        generation: Generation(3),
        created_at: NOW,
        updated_at: NOW,
        spec: WebhookSpec {
            url: "https://example.test/hook".into(),
            filter: Filter {
                kinds: vec![Kind::Vm, Kind::Webhook],
                types: vec!["vm-started".into()],
                ids: vec!["vm_x".into()],
                project: Some(name("default")),
            },
            timeout_s: 10,
            retry_for_s: 3_600,
        },
        cursor: 400,
        state,
        attempt: Attempt(300),
        deliveries: 70_000,
        dead: vec![DeadRef { number: 8, count: 100 }, DeadRef { number: 9, count: 0 }],
        dead_dropped: 1,
        redeliver: vec![8],
        delivered: 1 << 40,
        last_success: Some(Success { at: NOW, number: 5 }),
        last_failure: Some(Failure {
            at: NOW,
            number: 6,
            attempts: 3,
            code: "http-status".into(),
            detail: "the receiver answered 500".into(),
        }),
        secret: 0,
    };
    let mut all: Vec<Webhook> = states.into_iter().map(webhook).collect();
    let mut bare = webhook(WebhookState::Following);
    (bare.dead, bare.redeliver, bare.last_success, bare.last_failure) = (vec![], vec![], None, None);
    bare.spec.filter = Filter::default();
    all.push(bare);
    all
}

/// Since schema 2 the record names its secret, and can be without.
fn webhooks_with_secrets() -> Vec<Webhook> {
    let mut all = webhooks();
    let first = all[0].clone();
    all.push(Webhook { secret: u64::MAX - 5, ..first.clone() });
    all.push(Webhook { redeliver: vec![], state: WebhookState::Disabled(BecauseOf::Secret), ..first });
    all
}

fn dead_letters() -> Vec<DeadLetter> {
    vec![DeadLetter {
        webhook: WebhookId::from_bits(11),
        number: 9,
        after: 400,
        upto: 500,
        cursors: vec![401, 1 << 33],
        since: NOW,
        set_aside_at: Timestamp(NOW.0 + 1),
        attempts: 20,
        code: "timeout".into(),
        detail: "no answer in 10 s".into(),
    }]
}

/// The committed bytes are what these values are written as, and these values are what the bytes are read as.
fn agree<T: Stored + Debug + PartialEq>(examples: &[T]) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{}-{}.bin", T::NAME, T::SCHEMA));
    if std::env::var_os("HEARTH_WRITE_GOLDEN").is_some() {
        let mut bytes = Vec::new();
        for example in examples {
            let record = encode(example).unwrap();
            bytes.extend_from_slice(&u32::try_from(record.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(&record);
        }
        std::fs::write(&file, bytes).unwrap();
        return;
    }
    let bytes = std::fs::read(&file).unwrap();
    let mut rest = bytes.as_slice();
    for example in examples {
        let (length, tail) = rest.split_first_chunk::<4>().expect("as many examples as the file holds");
        let (golden, tail) = tail.split_at(usize::try_from(u32::from_le_bytes(*length)).unwrap());
        rest = tail;
        assert_eq!(&decode::<T>(golden).unwrap(), example, "what lies in journals is read as something else");
        assert_eq!(encode(example).unwrap(), golden, "{example:?} is written differently");
    }
    assert!(rest.is_empty(), "the file holds more examples than are known here");
}

/// What an earlier schema wrote is read as these values; nobody writes it any more.
fn read_back<T: Stored + Debug + PartialEq>(schema: u16, examples: &[T]) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{}-{schema}.bin", T::NAME));
    let bytes = std::fs::read(&file).unwrap();
    let mut rest = bytes.as_slice();
    for example in examples {
        let (length, tail) = rest.split_first_chunk::<4>().expect("as many examples as the file holds");
        let (golden, tail) = tail.split_at(usize::try_from(u32::from_le_bytes(*length)).unwrap());
        rest = tail;
        assert_eq!(&decode::<T>(golden).unwrap(), example, "what lies in journals is read as something else");
    }
    assert!(rest.is_empty(), "the file holds more examples than are known here");
}

#[test]
fn vm_1() {
    read_back(1, &vms());
}

#[test]
fn vm_2() {
    read_back(2, &equipped_vms());
}

#[test]
fn vm_3() {
    read_back(3, &vms_with_drives_and_passwords());
}

#[test]
fn vm_4() {
    read_back(4, &vms_with_several_interfaces());
}

#[test]
fn vm_5() {
    agree(&vms_with_room_for_memory());
}

#[test]
fn image_1() {
    agree(&images());
}

#[test]
fn host_1() {
    read_back(1, &hosts());
}

#[test]
fn host_2() {
    agree(&able_hosts());
}

/// What an older hearth finds of a newer one: the host is read, with what is known here.
#[test]
fn a_host_with_capabilities_that_are_not_known_here_is_read() {
    let mut host = hosts().remove(0);
    host.facts.capabilities = Capabilities { pause: true, jailed: true, ..Capabilities::NONE };
    let mut bytes = encode(&host).unwrap();
    // They are the last but for the state and whether it is cordoned: how many, and the numbers.
    let at = bytes.len() - 5;
    assert_eq!(bytes[at..], [2, 0, 15, 0, 1]);
    // 99, and 70,000 as the format writes one of more than 16 bits.
    bytes.splice(at..at + 3, [4, 0, 99, 252, 0x70, 0x11, 1, 0, 15]);
    assert_eq!(decode::<Host>(&bytes).unwrap(), host);
}

#[test]
fn operation_1() {
    read_back(1, &operations());
}

#[test]
fn operation_2() {
    agree(&measured_operations());
}

#[test]
fn event_1() {
    agree(&events());
}

/// A new number without the bytes of all numbers up to it fails here, wherever in the sources it stands: nobody has to remember.
#[test]
fn every_number_has_its_bytes() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let golden = root.join("storage/tests/golden");
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for file in ["storage/src", "actors/src"].iter().flat_map(|folder| sources(&root.join(folder))) {
        // Those of the envelope's own tests are no records.
        if file.ends_with("envelope/tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        for block in text.split("impl Stored for ").skip(1) {
            let value =
                |what: &str| block.split(what).nth(1).unwrap().split(';').next().unwrap().trim().trim_matches('"').to_owned();
            let (schema, name) = (value("const SCHEMA: u16 ="), value("const NAME: &'static str ="));
            let schema: u16 =
                schema.parse().unwrap_or_else(|_| panic!("{}: write the number of {name} as a number", file.display()));
            missing.extend((1..=schema).map(|number| format!("{name}-{number}.bin")).filter(|file| !golden.join(file).is_file()));
            found.push(name);
        }
    }
    found.sort();
    // Some are written as an earlier number too.
    found.dedup();
    assert_eq!(
        found,
        [
            "address",
            "event",
            "host",
            "idempotency",
            "image",
            "operation",
            "set-aside record",
            "vm",
            "webhook",
            "webhook-dead-letter"
        ],
        "add its examples here"
    );
    assert!(missing.is_empty(), "no bytes of {missing:?}: add examples, then HEARTH_WRITE_GOLDEN=1, and keep the earlier files");
}

fn sources(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => files.extend(sources(&entry)),
            false => files.extend((entry.extension().is_some_and(|extension| extension == "rs")).then_some(entry)),
        }
    }
    files
}

/// Every file of an earlier number is still read, whatever the newest is.
fn still_read<T: Stored>() {
    for schema in 1..=T::SCHEMA {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{}-{schema}.bin", T::NAME));
        let bytes = std::fs::read(file).unwrap();
        let mut rest = bytes.as_slice();
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let (golden, tail) = tail.split_at(usize::try_from(u32::from_le_bytes(*length)).unwrap());
            assert_eq!(golden[..2], schema.to_le_bytes(), "the file of number {schema} holds another");
            decode::<T>(golden).unwrap();
            rest = tail;
        }
    }
}

#[test]
fn every_earlier_number_is_still_read() {
    still_read::<Vm>();
    still_read::<Image>();
    still_read::<Host>();
    still_read::<Operation>();
    still_read::<Event>();
    still_read::<SetAside>();
    still_read::<Webhook>();
    still_read::<DeadLetter>();
}

#[test]
fn set_aside_1() {
    let mut record = SetAside::new("vms", "vm_x", vec![1, 0, 255], "the payload of a vm of schema 1 does not decode");
    record.at_ms = NOW.0;
    agree(&[record]);
}

#[test]
fn webhook_1() {
    read_back(1, &webhooks());
}

#[test]
fn webhook_2() {
    agree(&webhooks_with_secrets());
}

#[test]
fn webhook_dead_letter_1() {
    agree(&dead_letters());
}
