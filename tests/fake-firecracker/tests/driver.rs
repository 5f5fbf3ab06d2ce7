//! The real driver on a Firecracker that hangs, talks nonsense, goes away or floods its console: each is told, in time and in one sentence,
//! and nothing is left behind. Skips aloud where the API's document, which the stand-in answers by, is absent.

#![allow(clippy::unwrap_used)]

use domain::{Attempt, VmId, vm::Inspection, vm::Machine};
use fake_firecracker::document::Document;
use host::vmm::{
    DiskPlan, MachinePlan, Tuning, Vmm, VmmError,
    firecracker::{Firecracker, FirecrackerOptions, JailChoice},
};
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

static NEXT: AtomicU64 = AtomicU64::new(0);

struct Scene {
    folder: TempDir,
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
        let options = FirecrackerOptions {
            data: folder.path().join("data"),
            owner: format!("t{number:x}"),
            agent: b"an agent".to_vec(),
            binary: Some(binary),
            jail: JailChoice::None,
        };
        let driver = Firecracker::detect(options).await.unwrap();
        let vm = VmId::from_bits(number.into());
        let plan = MachinePlan {
            vm,
            hostname: "a".into(),
            vcpus: 1,
            mem_mib: 128,
            kernel: folder.path().join("kernel"),
            initrd: None,
            disk: DiskPlan { vm, base: folder.path().join("base"), size_bytes: None },
            nic: None,
            cmdline: None,
            cloud_init: None,
            metadata: None,
            tuning: Tuning::default(),
            cpu_template: None,
            dirty_tracking: false,
        };
        driver.prepare_disk(&plan.disk).await.unwrap();
        Some(Self { folder, driver, plan })
    }

    async fn launch(&self) -> Machine {
        self.driver.launch(&self.plan, Attempt(1)).await.unwrap()
    }

    async fn release(&self, machine: &Machine) -> Result<(), VmmError> {
        tokio::time::timeout(SOON, self.driver.release(self.plan.vm, machine)).await.expect("a start has an end")
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
        writeln!(log, "{test}: {why}").unwrap();
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
