//! The real driver on a Firecracker that hangs, talks nonsense, goes away or floods its console: each is told, in time and in one sentence,
//! and nothing is left behind. Skips aloud where the API's document, which the stand-in answers by, is absent.

#![allow(clippy::unwrap_used)]

use domain::{
    Attempt, VmId,
    vm::{CloudInit, CpuTemplate, DiskSizes, DriveChange, Drives, Inspection, Machine},
};
use fake_firecracker::{document::Document, vsock::ECHO_PORT};
use host::guest::{ConnectionEvent, GuestFault, Port};
use host::vmm::{
    DiskPlan, MachinePlan, NicPlan, SnapshotKind, Tuning, Vmm, VmmError,
    firecracker::{
        Firecracker, FirecrackerOptions, JailChoice,
        api::{Found, Socket},
    },
    snapshot::{self, Note},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Longer than any deadline of the driver's at a start, on a machine that is busy.
const SOON: Duration = Duration::from_secs(60);

/// Of a request that nobody makes.
const NO_FAULT: &str = "refuse@GET /nothing";

static NEXT: AtomicU64 = AtomicU64::new(0);

struct Scene {
    folder: TempDir,
    owner: String,
    driver: Firecracker,
    plan: MachinePlan,
}

impl Scene {
    async fn open(test: &str, fault: &str) -> Option<Self> {
        if let Err(why) = Document::find() {
            skipped(test, &why);
            return None;
        }
        // Tests are swept each on its own.
        let number = u64::from(std::process::id()) << 16 | NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("firecracker");
        // By another program: a file that this one holds open for writing while a test beside it forks is busy, and can't be run.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_fake-firecracker")).arg(&binary).status().unwrap();
        assert!(copied.success());
        fs::write(folder.path().join("firecracker.fault"), fault).unwrap();
        for (name, bytes) in [("kernel", 64), ("base", 4096)] {
            fs::write(folder.path().join(name), vec![7; bytes]).unwrap();
        }
        let owner = format!("t{number:x}");
        let driver = Firecracker::detect(options(&folder, &owner)).await.unwrap();
        let vm = VmId::from_bits(number.into());
        let plan = MachinePlan {
            vm,
            hostname: "a".into(),
            vcpus: 1,
            mem_mib: 128,
            mem_max_mib: None,
            kernel: folder.path().join("kernel"),
            initrd: None,
            disk: DiskPlan { vm, base: folder.path().join("base"), size_bytes: None, drives: Drives::default() },
            nics: Vec::new(),
            cmdline: None,
            cloud_init: None,
            metadata: None,
            tuning: Tuning::default(),
            cpu_template: None,
            dirty_tracking: false,
        };
        driver.prepare_disk(&plan.disk).await.unwrap();
        Some(Self { folder, owner, driver, plan })
    }

    /// As a hearth that is started anew has it.
    async fn another_driver(&self) -> Firecracker {
        Firecracker::detect(options(&self.folder, &self.owner)).await.unwrap()
    }

    async fn launch(&self) -> Machine {
        self.driver.launch(&self.plan, Attempt(1)).await.unwrap()
    }

    async fn release(&self, machine: &Machine) -> Result<(), VmmError> {
        tokio::time::timeout(SOON, self.driver.release(self.plan.vm, machine)).await.expect("a start has an end")
    }

    async fn paused(&self) -> Machine {
        let machine = self.launch().await;
        self.release(&machine).await.unwrap();
        self.driver.pause_for_snapshot(self.plan.vm, &machine).await.unwrap();
        machine
    }

    /// Where its snapshots are.
    fn snapshots(&self) -> PathBuf {
        self.folder.path().join("data/snapshots")
    }

    async fn snapshot(&self, machine: &Machine, name: &str, kind: SnapshotKind) -> Result<(), VmmError> {
        self.driver.snapshot(self.plan.vm, machine, &self.snapshots().join(name), kind).await
    }

    /// What a snapshot left behind, in its folder and in the room.
    fn left(&self) -> Vec<PathBuf> {
        let room = below(&below(&self.folder.path().join("data/vms"))[0].join("run"));
        let taken = room.into_iter().filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("taken"));
        below(&self.snapshots()).into_iter().chain(taken).collect()
    }

    /// As the VM's actor does after any failure.
    async fn ends(self, machine: &Machine) {
        self.driver.kill(self.plan.vm, machine).await.unwrap();
        self.driver.remove(self.plan.vm).await.unwrap();
        assert!(!lives(machine.pid), "its process is left");
        assert_eq!(below(&self.folder.path().join("data/vms")), Vec::<PathBuf>::new(), "a file is left");
        assert_eq!(self.driver.sweep(&[]).await.unwrap(), Vec::<String>::new());
    }
}

fn options(folder: &TempDir, owner: &str) -> FirecrackerOptions {
    FirecrackerOptions {
        data: folder.path().join("data"),
        owner: owner.to_owned(),
        agent: b"an agent".to_vec(),
        binary: Some(folder.path().join("firecracker")),
        jail: JailChoice::None,
    }
}

fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn below(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn skipped(test: &str, why: &str) {
    eprintln!("SKIPPED {test}: {why}");
    if let Some(log) = std::env::var_os("HEARTH_SKIP_LOG") {
        let mut log = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        log.write_all(format!("{test}: {why}\n").as_bytes()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_ends_the_start_with_a_sentence() {
    for fault in ["garbage", "no-json", "endless", "internal", "cut", "close"] {
        let fault = format!("{fault}@GET /");
        let Some(scene) = Scene::open("an_answer_that_is_none_ends_the_start_with_a_sentence", &fault).await else { return };
        let machine = scene.launch().await;
        let from = Instant::now();
        let error = scene.release(&machine).await.expect_err("it is none");
        let told = error.to_string();
        assert!(told.starts_with("the VMM refused ") && !told.contains('\n'), "{fault}: {told}");
        assert!(from.elapsed() < Duration::from_secs(20), "{fault} took {:?}", from.elapsed());
        scene.ends(&machine).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_while_it_is_configured_is_told() {
    for fault in ["cut@PUT /machine-config", "close@PUT /boot-source", "swallow@PUT /actions"] {
        let Some(scene) = Scene::open("a_connection_that_is_cut_while_it_is_configured_is_told", fault).await else { return };
        let machine = scene.launch().await;
        let told = scene.release(&machine).await.expect_err("it was cut").to_string();
        assert_eq!(told, "the VMM refused the start: it ended the connection before it had answered", "{fault}");
        assert!(!lives(machine.pid), "it is of no use any more");
        scene.ends(&machine).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_while_it_is_configured_is_told_as_that() {
    let Some(scene) = Scene::open("a_process_that_ends_while_it_is_configured_is_told_as_that", "exit@PUT /boot-source").await
    else {
        return;
    };
    let machine = scene.launch().await;
    let error = scene.release(&machine).await.expect_err("it ended");
    assert!(matches!(error, VmmError::EndedAtStart { .. }), "{error:?}");
    assert!(matches!(scene.driver.inspect(scene.plan.vm, &machine).await, Ok(Inspection::Gone { .. })));
    scene.ends(&machine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cpu_template_that_does_not_fit_is_told_in_a_sentence_and_ends_the_process() {
    let test = "a_cpu_template_that_does_not_fit_is_told_in_a_sentence_and_ends_the_process";
    // The second is another architecture's, which is no word for it here.
    for template in [CpuTemplate::T2A, CpuTemplate::V1N1] {
        let Some(mut scene) = Scene::open(test, NO_FAULT).await else { return };
        assert!(scene.driver.capabilities().cpu_templates);
        scene.plan.cpu_template = Some(template);
        let machine = scene.launch().await;
        let told = scene.release(&machine).await.expect_err("it does not fit").to_string();
        assert!(told.contains("the CPU template does not fit this host's processor: "), "{template:?}: {told}");
        assert!(!lives(machine.pid), "it would wait for another configuration");
        scene.ends(&machine).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_hangs_is_given_up_and_can_be_ended() {
    let fault = "hang@PUT /machine-config";
    let Some(scene) = Scene::open("a_process_that_hangs_is_given_up_and_can_be_ended", fault).await else { return };
    let machine = scene.launch().await;
    let error = scene.release(&machine).await.expect_err("it hangs");
    assert!(matches!(error, VmmError::Timeout { call: "PUT /machine-config", .. }), "{error:?}");
    // It lives, and nothing is known of it: no reason to call its guest gone.
    assert!(lives(machine.pid));
    scene.ends(&machine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_the_vsock_is_reached_and_the_agents_is_not() {
    let Some(scene) = Scene::open("a_port_of_the_vsock_is_reached_and_the_agents_is_not", NO_FAULT).await else { return };
    assert!(scene.driver.capabilities().vsock);
    let vm = scene.plan.vm;
    let machine = scene.launch().await;
    let held = scene.driver.vsock(vm, &machine, ECHO_PORT, SOON).await;
    assert!(matches!(held, Err(GuestFault::Unreachable { .. })), "nothing of it runs yet: {held:?}");
    scene.release(&machine).await.unwrap();
    let nobody = scene.driver.vsock(vm, &machine, ECHO_PORT + 1, SOON).await;
    assert!(matches!(nobody, Err(GuestFault::NobodyListens { port: Port::Vsock(8) })), "{nobody:?}");
    let agents = scene.driver.vsock(vm, &machine, 1023, SOON).await.unwrap_err();
    assert_eq!(agents.to_string(), "the guest's vsock port 1023 can't be reached: it is the guest agent's");

    let mut echo = scene.driver.vsock(vm, &machine, ECHO_PORT, SOON).await.unwrap();
    echo.input.write_all(b"hello").await.unwrap();
    let mut got = Vec::new();
    while got.len() < 5 {
        match tokio::time::timeout(SOON, echo.output.next()).await.expect("it echoes").unwrap() {
            ConnectionEvent::Bytes(bytes) => got.extend_from_slice(&bytes),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, b"hello");
    // What would come after this is lost with a real one.
    echo.input.close().await.unwrap();
    for wanted in [ConnectionEvent::Eof, ConnectionEvent::Closed] {
        assert_eq!(tokio::time::timeout(SOON, echo.output.next()).await.expect("it ends").unwrap(), wanted);
    }

    // The machine's end is told as that.
    let mut open = scene.driver.vsock(vm, &machine, ECHO_PORT, SOON).await.unwrap();
    scene.driver.kill(vm, &machine).await.unwrap();
    let told = loop {
        match tokio::time::timeout(SOON, open.output.next()).await.expect("it ends") {
            Ok(ConnectionEvent::Eof) => {}
            Ok(other) => panic!("{other:?}"),
            Err(fault) => break fault.to_string(),
        }
    };
    assert_eq!(told, "the connection to the guest's port broke: the VM ended");
    scene.ends(&machine).await;
}

/// As of a machine without the device. A balloon that is wanted is another matter.
#[tokio::test(flavor = "multi_thread")]
async fn a_balloon_that_is_not_wanted_may_be_refused() {
    let Some(scene) = Scene::open("a_balloon_that_is_not_wanted_may_be_refused", "refuse@PATCH /balloon").await else { return };
    let machine = scene.launch().await;
    scene.release(&machine).await.unwrap();
    scene.driver.tune(scene.plan.vm, &machine, &Tuning::default()).await.unwrap();
    let wanted = Tuning { balloon_mib: 8, ..Tuning::default() };
    let error = scene.driver.tune(scene.plan.vm, &machine, &wanted).await.unwrap_err();
    assert!(matches!(error, VmmError::Refused { call: "PATCH /balloon", .. }), "{error:?}");
    scene.ends(&machine).await;
}

/// Each flush of the stand-in tells of 4 KiB more, and nothing of what it told before.
#[tokio::test(flavor = "multi_thread")]
async fn what_it_counts_is_summed_up_also_by_the_next_hearth() {
    let Some(mut scene) = Scene::open("what_it_counts_is_summed_up_also_by_the_next_hearth", NO_FAULT).await else { return };
    scene.plan.tuning.balloon_mib = 8;
    let machine = scene.launch().await;
    assert_eq!(scene.driver.outside(scene.plan.vm, &machine).await.unwrap().drives, [], "nothing runs yet");
    scene.release(&machine).await.unwrap();
    let since = scene.driver.outside(scene.plan.vm, &machine).await.unwrap().since_ms;
    for flushed in 2..12 {
        let driver = scene.another_driver().await;
        let outside = driver.outside(scene.plan.vm, &machine).await.unwrap();
        assert_eq!(outside.missing, Vec::<String>::new(), "{outside:?}");
        let root = &outside.drives[0];
        assert_eq!((root.name.as_str(), root.written_bytes, root.writes), ("root", flushed * 4096, flushed));
        assert_eq!((outside.since_ms, outside.balloon_bytes), (since, Some(8 << 20)));
    }
    // As one that an older hearth started.
    let folder = below(&scene.folder.path().join("data/vms")).pop().unwrap();
    fs::remove_file(folder.join("firecracker.metrics")).unwrap();
    let outside = scene.driver.outside(scene.plan.vm, &machine).await.unwrap();
    assert!(outside.drives.is_empty() && outside.missing.iter().any(|why| why.contains("earlier hearth")), "{outside:?}");
    scene.ends(&machine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_answer_is_told_with_what_it_wrote_last() {
    for fault in ["hang@GET /balloon/statistics", "garbage@GET /balloon/statistics", "refuse@GET /balloon/statistics"] {
        let Some(scene) = Scene::open("one_that_does_not_answer_is_told_with_what_it_wrote_last", fault).await else { return };
        let machine = scene.launch().await;
        scene.release(&machine).await.unwrap();
        let outside = scene.driver.outside(scene.plan.vm, &machine).await.unwrap();
        assert_eq!(outside.balloon_bytes, None, "{fault}");
        assert!(outside.process.is_some() && outside.drives[0].written_bytes == 4096, "{fault}: {outside:?}");
        assert!(outside.missing.len() == 1 && outside.missing[0].contains("balloon"), "{outside:?}");
        let waited = outside.missing[0].contains("did not answer within 1 s");
        assert_eq!(waited, fault.starts_with("hang"), "nobody waits longer: {outside:?}");
        scene.ends(&machine).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_floods_its_console_fills_no_disk() {
    let Some(scene) = Scene::open("a_guest_that_floods_its_console_fills_no_disk", "flood@PUT /actions").await else { return };
    let machine = scene.launch().await;
    scene.release(&machine).await.unwrap();
    let from = Instant::now();
    let log = loop {
        let log = scene.driver.console_log(scene.plan.vm, 64 << 20).await.unwrap();
        if log.ends_with(b"the end of it\n") {
            break log;
        }
        assert!(from.elapsed() < SOON, "the end of it is not there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(log.len() <= 4 << 20, "{} bytes are kept", log.len());
    // What it takes on the disk is bounded too, soon after it was written.
    let file = below(&scene.folder.path().join("data/vms")).pop().unwrap().join("console.log");
    let most = 8 << 20;
    while std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&file).unwrap()) * 512 > most {
        assert!(from.elapsed() < SOON, "the log is larger than {most} bytes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    scene.ends(&machine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_whole_and_says_whose_it_is() {
    let Some(mut scene) = Scene::open("a_snapshot_is_whole_and_says_whose_it_is", NO_FAULT).await else { return };
    scene.plan.cloud_init = Some(Box::default());
    scene.plan.dirty_tracking = true;
    let machine = scene.paused().await;
    scene.snapshot(&machine, "full", SnapshotKind::Full).await.unwrap();
    scene.snapshot(&machine, "diff", SnapshotKind::Diff).await.unwrap();
    let [full, diff] = ["full", "diff"].map(|name| scene.snapshots().join(name));
    let mut names: Vec<_> = below(&full).into_iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    names.sort();
    assert_eq!(names, [snapshot::DISK, snapshot::NOTE, snapshot::MEMORY, snapshot::SEED, snapshot::STATE]);
    assert_eq!(fs::read(full.join(snapshot::DISK)).unwrap(), vec![7; 4096]);
    let note = Note::read(&diff).unwrap();
    assert_eq!((note.vm, note.vcpus, note.mem_mib, note.version), (scene.plan.vm, 1, 128, machine.version.clone()));
    assert!(note.has_seed && !note.has_nic && !note.has_metadata && !note.is_jailed);
    let mut left = scene.left();
    left.sort();
    assert_eq!(left, [diff, full]);
    scene.ends(&machine).await;
}

/// What was refused has written nothing, and a fault is told as it was, whatever had to be removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_fails_leaves_nothing_and_is_told_by_its_cause() {
    let test = "a_snapshot_that_fails_leaves_nothing_and_is_told_by_its_cause";
    for fault in ["refuse", "full", "exit", "garbage"] {
        let Some(scene) = Scene::open(test, &format!("{fault}@PUT /snapshot/create")).await else { return };
        let machine = scene.paused().await;
        let refused = scene.snapshot(&machine, "a", SnapshotKind::Diff).await.unwrap_err();
        assert!(
            matches!(&refused, VmmError::Refused { call: "snapshot", detail } if detail.contains("no differential")),
            "{refused:?}"
        );
        let error = scene.snapshot(&machine, "a", SnapshotKind::Full).await.unwrap_err();
        match fault {
            "refuse" => assert!(matches!(error, VmmError::Refused { call: "PUT /snapshot/create", .. }), "{error:?}"),
            "full" => assert!(matches!(&error, VmmError::DiskFull { path } if path.ends_with("a")), "{error:?}"),
            "exit" => assert!(matches!(error, VmmError::Gone), "{error:?}"),
            _ => assert!(matches!(error, VmmError::Refused { .. } | VmmError::Gone), "{error:?}"),
        }
        assert_eq!(scene.left(), Vec::<PathBuf>::new(), "{fault}");
        scene.ends(&machine).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_cannot_be_is_refused_before_its_process_is_asked() {
    let test = "a_snapshot_that_cannot_be_is_refused_before_its_process_is_asked";
    // It would be told.
    let Some(scene) = Scene::open(test, "refuse@PUT /snapshot/create").await else { return };
    let machine = scene.launch().await;
    scene.release(&machine).await.unwrap();
    let running = scene.snapshot(&machine, "a", SnapshotKind::Full).await.unwrap_err();
    assert!(running.to_string().contains("only one that is paused"), "{running}");
    scene.driver.pause_for_snapshot(scene.plan.vm, &machine).await.unwrap();
    fs::create_dir_all(scene.snapshots().join("there")).unwrap();
    let there = scene.snapshot(&machine, "there", SnapshotKind::Full).await.unwrap_err();
    assert!(matches!(there, VmmError::Folder { .. }), "{there:?}");
    let elsewhere = Path::new("/dev/shm").join(scene.folder.path().file_name().unwrap());
    let other = scene.driver.snapshot(scene.plan.vm, &machine, &elsewhere, SnapshotKind::Full).await.unwrap_err();
    assert!(other.to_string().contains("another file system"), "{other}");
    assert!(!elsewhere.exists());
    assert_eq!(scene.left(), [scene.snapshots().join("there")]);
    scene.ends(&machine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_nobody_waits_for_is_not_made() {
    let test = "a_snapshot_that_nobody_waits_for_is_not_made";
    let Some(scene) = Scene::open(test, "hang@PUT /snapshot/create").await else { return };
    let machine = scene.paused().await;
    let making = scene.snapshot(&machine, "a", SnapshotKind::Full);
    let seen = async {
        let requests = below(&scene.folder.path().join("data/vms"))[0].join("run/api.requests");
        while !fs::read_to_string(&requests).unwrap().contains("PUT /snapshot/create") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        made = making => panic!("its process hangs: {made:?}"),
        seen = tokio::time::timeout(SOON, seen) => seen.expect("its process is asked"),
    }
    let from = Instant::now();
    while !scene.left().is_empty() {
        assert!(from.elapsed() < SOON, "{:?}", scene.left());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    scene.ends(&machine).await;
}

/// In a jail the process has the disk of the snapshot by the name of the VM's own; without one it would write to the VM's.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_restored_without_a_jail_and_nothing_of_the_vm_is_touched() {
    let test = "nothing_is_restored_without_a_jail_and_nothing_of_the_vm_is_touched";
    let Some(scene) = Scene::open(test, NO_FAULT).await else { return };
    let machine = scene.paused().await;
    scene.snapshot(&machine, "a", SnapshotKind::Full).await.unwrap();
    let disk = below(&scene.folder.path().join("data/vms"))[0].join("disk.raw");
    fs::write(&disk, b"newer").unwrap();
    let error = scene.driver.restore(&scene.plan, &scene.snapshots().join("a"), Attempt(2)).await.unwrap_err();
    assert!(matches!(&error, VmmError::Refused { call: "restore", detail } if detail.contains("--no-jailer")), "{error:?}");
    assert_eq!(fs::read(&disk).unwrap(), b"newer");
    assert_eq!(scene.driver.inspect(scene.plan.vm, &machine).await.unwrap(), Inspection::Paused);
    scene.ends(&machine).await;
}

/// It stands, loaded, and hearth has died before it gave it the VM's disk: whichever call lets it go on does so before.
#[tokio::test(flavor = "multi_thread")]
async fn a_loaded_machine_has_its_disk_before_it_goes_on() {
    let Some(scene) = Scene::open("a_loaded_machine_has_its_disk_before_it_goes_on", NO_FAULT).await else { return };
    let machine = scene.paused().await;
    let vm = below(&scene.folder.path().join("data/vms")).pop().unwrap();
    let [disk, staged] = ["disk.raw", "disk.restored"].map(|name| vm.join(name));
    fs::write(&staged, b"one").unwrap();
    scene.driver.resume(scene.plan.vm, &machine).await.unwrap();
    assert!(fs::read(&disk).unwrap() == b"one" && !staged.exists());
    scene.driver.pause_for_snapshot(scene.plan.vm, &machine).await.unwrap();
    fs::write(&staged, b"two").unwrap();
    scene.release(&machine).await.unwrap();
    assert!(fs::read(&disk).unwrap() == b"two" && !staged.exists());
    assert_eq!(scene.driver.inspect(scene.plan.vm, &machine).await.unwrap(), Inspection::Running);
    // And one that is not let go on leaves the VM its own.
    fs::write(&staged, b"three").unwrap();
    scene.driver.clean(scene.plan.vm).await.unwrap();
    assert!(fs::read(&disk).unwrap() == b"two" && !staged.exists());
    scene.ends(&machine).await;
}

/// With an interface, which no jail lends its TAP for, and which the stand-in does not open.
fn networked(plan: &mut MachinePlan) {
    let nic = NicPlan {
        tap: "lo".into(),
        mac: [2, 0, 0, 0, 0, 1],
        address: [10, 77, 0, 5].into(),
        prefix: 16,
        gateway: [10, 77, 0, 1].into(),
        dns: Vec::new(),
    };
    plan.nics = vec![nic];
}

/// What the process would serve to its guest.
async fn served(scene: &Scene) -> Value {
    let socket = below(&scene.folder.path().join("data/vms")).pop().unwrap().join("run/api.sock");
    match Found::at(Socket::new(socket)).await.unwrap() {
        Found::Running(machine) => machine.metadata().await.unwrap(),
        Found::Paused(machine) => machine.metadata().await.unwrap(),
        Found::NotStarted(_) => panic!("it was started"),
    }
}

/// Also to a machine that had none, by a hearth that found it, while it stands; each time all that there is.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_are_told_a_machine_that_runs_and_again_whole() {
    let test = "metadata_are_told_a_machine_that_runs_and_again_whole";
    let Some(mut scene) = Scene::open(test, NO_FAULT).await else { return };
    networked(&mut scene.plan);
    let machine = scene.launch().await;
    let held = scene.driver.serve_metadata(&machine, &scene.plan).await.unwrap_err();
    assert!(matches!(held, VmmError::Refused { .. }), "{held:?}");
    scene.release(&machine).await.unwrap();
    let hearth = json!({ "id": scene.plan.vm.to_string(), "name": "a", "address": "10.77.0.5/16", "gateway": "10.77.0.1",
        "mac": "02:00:00:00:00:01" });
    assert_eq!(served(&scene).await, json!({ "hearth": hearth }));
    scene.plan.metadata = Some("{\"role\":\"web\",\"gone\":{\"a\":null}}".into());
    scene.driver.serve_metadata(&machine, &scene.plan).await.unwrap();
    assert_eq!(served(&scene).await, json!({ "role": "web", "gone": { "a": null }, "hearth": hearth }));

    scene.driver.pause_for_snapshot(scene.plan.vm, &machine).await.unwrap();
    let (hostname, metadata) = ("b".to_owned(), Some("{\"role\":\"db\"}".into()));
    let ssh_keys = vec!["ssh-rsa AAAA".to_owned()];
    let cloud_init = CloudInit { ssh_keys, password_hash: Some("$6$salt$hash".into()), ..CloudInit::default() };
    let plan = MachinePlan { hostname, metadata, cloud_init: Some(Box::new(cloud_init)), ..scene.plan.clone() };
    scene.another_driver().await.serve_metadata(&machine, &plan).await.unwrap();
    let mut renewed = hearth.clone();
    renewed["name"] = json!("b");
    renewed["credentials"] = json!({ "user": "default", "password_hash": "$6$salt$hash", "ssh_keys": ["ssh-rsa AAAA"] });
    assert_eq!(served(&scene).await, json!({ "role": "db", "hearth": renewed }));
    scene.driver.serve_metadata(&machine, &MachinePlan { metadata: None, cloud_init: None, ..scene.plan.clone() }).await.unwrap();
    assert_eq!(served(&scene).await, json!({ "hearth": hearth }));

    // Of a machine that an earlier hearth started, which had nothing to serve.
    let path = below(&scene.folder.path().join("data/vms")).pop().unwrap().join("firecracker.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config.as_object_mut().unwrap().remove("metadata").expect("its service");
    fs::write(&path, config.to_string()).unwrap();
    let told = scene.driver.serve_metadata(&machine, &scene.plan).await.unwrap_err().to_string();
    assert!(told.contains("has no metadata service"), "{told}");
    scene.driver.serve_metadata(&machine, &MachinePlan { metadata: None, ..scene.plan.clone() }).await.unwrap();
    scene.ends(&machine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_cannot_be_told_are_refused_with_what_was_said() {
    for (fault, words) in [("refuse@PUT /mmds", "refused PUT /mmds"), ("hang@PUT /mmds", "did not answer PUT /mmds within")] {
        let test = "metadata_that_cannot_be_told_are_refused_with_what_was_said";
        let Some(mut scene) = Scene::open(test, fault).await else { return };
        // Not told at the start, where it would be refused as well.
        let machine = scene.launch().await;
        scene.release(&machine).await.unwrap();
        networked(&mut scene.plan);
        scene.plan.metadata = Some("{}".into());
        let path = below(&scene.folder.path().join("data/vms")).pop().unwrap().join("firecracker.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["metadata"] = json!({ "service": { "version": "V2", "network_interfaces": ["eth0"] }, "content": {} });
        fs::write(&path, config.to_string()).unwrap();
        let told = scene.driver.serve_metadata(&machine, &scene.plan).await.unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
        scene.ends(&machine).await;
    }
}

/// A machine without an interface has nobody who could ask.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_network_nothing_is_served_and_nothing_told() {
    let Some(scene) = Scene::open("without_a_network_nothing_is_served_and_nothing_told", "refuse@PUT /mmds").await else {
        return;
    };
    let machine = scene.launch().await;
    scene.release(&machine).await.unwrap();
    scene.driver.serve_metadata(&machine, &scene.plan).await.unwrap();
    scene.ends(&machine).await;
}

/// Each is told, and taken by who reads the API's document strictly; what a snapshot would not hold is not left out in silence.
#[tokio::test(flavor = "multi_thread")]
async fn data_drives_are_told_and_no_snapshot_is_without_them() {
    let test = "data_drives_are_told_and_no_snapshot_is_without_them";
    let Some(mut scene) = Scene::open(test, NO_FAULT).await else { return };
    let drive = |n: u32| DriveChange { name: format!("data-{n}").parse().unwrap(), size_mib: Some(1), read_only: Some(n == 1) };
    scene.plan.disk.drives = Drives::new(&(0..8).map(drive).collect::<Vec<_>>());
    scene.plan.cloud_init = Some(Box::default());
    let machine = scene.paused().await;
    scene.driver.tune(scene.plan.vm, &machine, &Tuning::default()).await.unwrap();
    let folder = below(&scene.folder.path().join("data/vms")).pop().unwrap();
    let requests = fs::read_to_string(folder.join("run/api.requests")).unwrap();
    assert_eq!(requests.lines().filter(|line| line.starts_with("PUT /drives/")).count(), 10, "{requests}");
    assert_eq!(requests.lines().filter(|line| line.starts_with("PATCH /drives/")).count(), 9, "all but the seed: {requests}");
    let disks = DiskSizes { root_mib: Some(64), drives_mib: vec![(7, 2)] };
    scene.driver.tune(scene.plan.vm, &machine, &Tuning { disks, ..Tuning::default() }).await.unwrap();
    assert_eq!(
        (len(&folder, "disk.raw"), len(&folder, "drive-7.raw"), len(&folder, "drive-6.raw")),
        (64 << 20, 2 << 20, 1 << 20)
    );
    let requests = fs::read_to_string(folder.join("run/api.requests")).unwrap();
    // A file that is gone is told before anything is said to the process.
    fs::rename(folder.join("drive-7.raw"), folder.join("away")).unwrap();
    let disks = DiskSizes { root_mib: None, drives_mib: vec![(7, 3)] };
    let gone = scene.driver.tune(scene.plan.vm, &machine, &Tuning { disks, ..Tuning::default() }).await.unwrap_err();
    assert!(matches!(&gone, VmmError::Folder { path, .. } if path.ends_with("drive-7.raw")), "{gone:?}");
    assert_eq!(
        fs::read_to_string(folder.join("run/api.requests")).unwrap().matches("PATCH").count(),
        requests.matches("PATCH").count()
    );
    fs::rename(folder.join("away"), folder.join("drive-7.raw")).unwrap();
    let refused = scene.snapshot(&machine, "a", SnapshotKind::Full).await.unwrap_err();
    assert!(matches!(&refused, VmmError::Refused { detail, .. } if detail.contains("data drives")), "{refused:?}");
    assert_eq!(scene.left(), Vec::<PathBuf>::new());
    assert!(folder.join("drive-7.raw").is_file());
    scene.ends(&machine).await;
}

/// What is so already is not told again: a guest without a driver for it would refuse that.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_plugged_beside_what_it_began_with() {
    let Some(mut scene) = Scene::open("memory_is_plugged_beside_what_it_began_with", NO_FAULT).await else { return };
    scene.plan.mem_max_mib = Some(500);
    let machine = scene.launch().await;
    scene.release(&machine).await.unwrap();
    let folder = below(&scene.folder.path().join("data/vms"))[0].clone();
    let told = || {
        let requests = fs::read_to_string(folder.join("run/api.requests")).unwrap();
        let told = requests.lines().filter(|line| line.contains("/hotplug/memory") && !line.starts_with("GET"));
        told.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut expected = told();
    assert_eq!(expected.len(), 1, "{expected:?}");
    for (mem_mib, is_told) in [(None, false), (Some(128), false), (Some(301), true), (Some(301), false), (Some(128), true)] {
        let driver = scene.another_driver().await;
        driver.tune(scene.plan.vm, &machine, &Tuning { mem_mib, ..Tuning::default() }).await.unwrap();
        let now = told();
        assert_eq!(now.len(), expected.len() + usize::from(is_told), "{mem_mib:?}: {now:?}");
        expected = now;
    }
    scene.driver.pause_for_snapshot(scene.plan.vm, &machine).await.unwrap();
    let refused = scene.snapshot(&machine, "a", SnapshotKind::Full).await.unwrap_err();
    assert!(refused.to_string().contains("mem_max_mib"), "{refused}");
    scene.ends(&machine).await;
}

fn len(folder: &Path, file: &str) -> u64 {
    fs::metadata(folder.join(file)).unwrap().len()
}

fn interfaces(count: u8) -> Vec<NicPlan> {
    let address = |last| std::net::Ipv4Addr::new(10, 77, 0, last);
    let nic = |n: u8| NicPlan {
        tap: format!("hth-none{n}"),
        mac: [2, 0, 0, 0, 0, n],
        address: address(5 + n),
        prefix: 16,
        gateway: address(1),
        dns: Vec::new(),
    };
    (0..count).map(nic).collect()
}

/// How often interfaces were told, or changed.
fn times(requests: &str, method: &str) -> usize {
    requests.lines().filter(|line| line.starts_with(&format!("{method} /network-interfaces/"))).count()
}

/// Each is told and changed by itself; the metadata service is behind the first, and a snapshot says which there are.
#[tokio::test(flavor = "multi_thread")]
async fn all_interfaces_are_told_in_their_order() {
    let Some(mut scene) = Scene::open("all_interfaces_are_told_in_their_order", NO_FAULT).await else { return };
    (scene.plan.nics, scene.plan.metadata) = (interfaces(3), Some("{}".into()));
    let machine = scene.paused().await;
    scene.driver.tune(scene.plan.vm, &machine, &Tuning::default()).await.unwrap();
    let folder = below(&scene.folder.path().join("data/vms")).pop().unwrap();
    let requests = fs::read_to_string(folder.join("run/api.requests")).unwrap();
    assert_eq!((times(&requests, "PUT"), times(&requests, "PATCH")), (3, 3), "{requests}");
    scene.snapshot(&machine, "a", SnapshotKind::Full).await.unwrap();
    let note = Note::read(&scene.snapshots().join("a")).unwrap();
    let told: Vec<_> = note.nics.iter().map(|nic| (nic.tap.as_str(), nic.mac.as_str())).collect();
    assert_eq!(
        told,
        [("hth-none0", "02:00:00:00:00:00"), ("hth-none1", "02:00:00:00:00:01"), ("hth-none2", "02:00:00:00:00:02")]
    );
    scene.ends(&machine).await;
}

/// Firecracker would put it behind the others, and the guest would have them in another order.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_was_cut_off_tells_no_interface_twice() {
    let Some(mut scene) = Scene::open("a_start_that_was_cut_off_tells_no_interface_twice", NO_FAULT).await else { return };
    scene.plan.nics = interfaces(8);
    let machine = scene.launch().await;
    let folder = below(&scene.folder.path().join("data/vms")).pop().unwrap();
    let requests = || fs::read_to_string(folder.join("run/api.requests")).unwrap_or_default();
    let some_are_told = async {
        while times(&requests(), "PUT") < 3 {
            tokio::task::yield_now().await;
        }
    };
    // As a hearth that dies.
    tokio::select! { biased; () = some_are_told => {} told = scene.release(&machine) => panic!("it was not cut off: {told:?}") }
    let second = scene.another_driver().await;
    second.release(scene.plan.vm, &machine).await.unwrap();
    assert_eq!(times(&requests(), "PUT"), 8, "{}", requests());
    scene.ends(&machine).await;
}
