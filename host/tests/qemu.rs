//! The QEMU driver with real guests. Needs HEARTH_IMAGES (folder with `hearth-kernel/vmlinux` or `debian-kernel/vmlinux` and
//! `debian-kernel/modules.cpio`, and `busybox/rootfs.ext4`) and HEARTH_AGENT (the agent program); without them each test says SKIPPED.

// Helpers of tests are not seen as tests by the lint.
#![allow(clippy::unwrap_used)]

#[path = "qemu/altered.rs"]
mod altered;
#[path = "qemu/confinement.rs"]
mod confinement;
#[path = "support/contract.rs"]
mod contract;
#[path = "qemu/deaf.rs"]
mod deaf;
#[path = "support/guests.rs"]
mod guests;
#[path = "qemu/network.rs"]
mod network;
#[path = "support/real.rs"]
mod real;
#[path = "support/seed.rs"]
mod seed;

use contract::{HELLO, Images, SOON, end, plan, start};
use domain::{VmId, vm::Exit};
use guests::{images, kill_9, output, skipped};
use host::{
    guest::GuestSession,
    vmm::{
        Vmm,
        qemu::{AccelerationChoice, Qemu, QemuOptions, UserChoice},
    },
};
use real::RealLab;
use std::{
    ops::Range,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Two at a time at most: each emulated guest fills a core while it boots.
static SLOTS: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(2);

/// Nobody's, and no other suite's.
const UIDS: Range<u32> = 1_900_090_000..1_900_090_100;

struct Lab {
    data: tempfile::TempDir,
    images: Images,
    agent: Vec<u8>,
    owner: String,
    vm: VmId,
    _slot: tokio::sync::SemaphorePermit<'static>,
}

/// A failed test must not leave a guest running; what a good one left, it has complained of.
impl Drop for Lab {
    fn drop(&mut self) {
        for pid in marked(&self.owner) {
            kill_9(pid);
        }
    }
}

impl Lab {
    async fn open(test: &str) -> Option<Self> {
        let Some((images, agent)) = images() else {
            skipped(test, "needs HEARTH_IMAGES and HEARTH_AGENT");
            return None;
        };
        let slot = SLOTS.acquire().await.unwrap();
        let (owner, vm) = (format!("t{:08x}", rand::random::<u32>()), VmId::from_bits(rand::random()));
        Some(Self { data: tempfile::tempdir().unwrap(), images, agent, owner, vm, _slot: slot })
    }

    /// Longer than a socket's path may be.
    fn data(&self) -> PathBuf {
        self.data.path().join("a-data-directory-with-a-name-so-long-that-no-unix-socket-below-it-has-a-path-of-107-bytes")
    }

    fn folder(&self) -> PathBuf {
        self.data().join("vms").join(self.vm.to_string())
    }

    async fn driver(&self) -> Qemu {
        self.driver_with(UserChoice::Own(UIDS)).await
    }

    async fn driver_with(&self, user: UserChoice) -> Qemu {
        let options = QemuOptions {
            data: self.data(),
            user,
            owner: self.owner.clone(),
            agent: self.agent.clone(),
            acceleration: AccelerationChoice::Tcg,
            ..QemuOptions::default()
        };
        Qemu::detect(options).await.unwrap()
    }

    async fn booted(&self, qemu: &Qemu) -> (domain::vm::Machine, std::sync::Arc<dyn GuestSession>) {
        let machine = start(qemu, &plan(self.vm, &self.images), 1).await;
        let guest = qemu.guest(self.vm, &machine, HELLO).await.expect("hello");
        (machine, guest)
    }
}

impl RealLab for Lab {
    /// As the trait promises.
    const SEEN_WITHIN: Duration = Duration::from_secs(1);
    /// With the four sockets.
    const HELD_DESCRIPTORS: usize = 9;

    async fn vmm(&self) -> Box<dyn Vmm> {
        Box::new(self.driver().await)
    }

    fn vm(&self) -> VmId {
        self.vm
    }

    fn images(&self) -> &Images {
        &self.images
    }

    async fn left_nothing(&self, vmm: &dyn Vmm) {
        assert_eq!(traces(&self.owner), Vec::<String>::new());
        assert_eq!(vmm.sweep(&[]).await.unwrap(), Vec::<String>::new(), "nothing is left to sweep");
    }
}

real::real_drivers_tests!(Lab);

/// The processes that say in their arguments that they are this owner's.
fn marked(owner: &str) -> Vec<u32> {
    let mark = format!("hearth-{owner}-");
    let pids = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let arguments = |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    pids.filter(|pid| String::from_utf8_lossy(&arguments(pid)).contains(&mark)).collect()
}

fn traces(owner: &str) -> Vec<String> {
    let mut found: Vec<String> = marked(owner).into_iter().map(|pid| format!("process {pid}")).collect();
    for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        let group = Path::new(root).join(format!("hearth-{owner}"));
        for entry in std::fs::read_dir(group).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
            found.push(format!("cgroup {:?}", entry.path()));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_of_a_life() {
    let Some(lab) = Lab::open("keeps_the_contract_of_a_life").await else { return };
    let qemu = lab.driver().await;
    contract::lives_and_leaves_nothing(&qemu, lab.vm, &lab.images).await;
    contract::held_ends_and_is_replaced(&qemu, lab.vm, &lab.images).await;
    assert_eq!(traces(&lab.owner), Vec::<String>::new());
    let vms = lab.data.path().read_dir().unwrap().next().unwrap().unwrap().path().join("vms");
    assert_eq!(vms.read_dir().unwrap().count(), 0);
    qemu.sweep(&[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_of_ends_and_sweeps() {
    let Some(lab) = Lab::open("keeps_the_contract_of_ends_and_sweeps").await else { return };
    let qemu = lab.driver().await;
    contract::guest_ends_by_itself(&qemu, lab.vm, &lab.images).await;
    contract::sweep_spares_the_known(&qemu, [lab.vm, VmId::from_bits(rand::random())], &lab.images).await;
    qemu.sweep(&[]).await.unwrap();
    assert_eq!(traces(&lab.owner), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_of_a_seed() {
    let Some(lab) = Lab::open("keeps_the_contract_of_a_seed").await else { return };
    let qemu = lab.driver().await;
    seed::a_guest_has_its_seed(&qemu, lab.vm, &lab.images).await;
    qemu.sweep(&[]).await.unwrap();
    assert_eq!(traces(&lab.owner), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_boots_execs_pauses_and_its_killing_is_seen() {
    let Some(lab) = Lab::open("a_guest_boots_execs_pauses_and_its_killing_is_seen").await else { return };
    let qemu = lab.driver().await;
    let from = Instant::now();
    let (machine, guest) = lab.booted(&qemu).await;
    eprintln!("hello after {:?}: {:?}", from.elapsed(), guest.info());
    assert_eq!(output(&*guest, &["uname", "-r"]).await, guest.info().kernel_release);
    assert!(qemu.usage(lab.vm, &machine).await.unwrap().rss_bytes > 20 << 20);
    let uptime = async || output(&*guest, &["cat", "/proc/uptime"]).await.split('.').next().unwrap().parse::<u64>().unwrap();
    let before = uptime().await;
    qemu.pause(lab.vm, &machine).await.unwrap();
    // The time that passes is what is tested.
    tokio::time::sleep(Duration::from_secs(5)).await;
    qemu.resume(lab.vm, &machine).await.unwrap();
    assert!(uptime().await - before < 4, "a paused guest's clock stands");
    let from = Instant::now();
    kill_9(machine.pid);
    assert_eq!(end(&qemu, lab.vm, &machine).await, Exit::Killed { signal: 9 });
    assert!(from.elapsed() < Duration::from_secs(1), "{:?}", from.elapsed());
    qemu.remove(lab.vm).await.unwrap();
    assert_eq!(traces(&lab.owner), Vec::<String>::new());
    qemu.sweep(&[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_choice_of_acceleration_is_proven_and_told() {
    let Some(lab) = Lab::open("the_choice_of_acceleration_is_proven_and_told").await else { return };
    let options = |kvm| QemuOptions {
        data: lab.data.path().into(),
        owner: lab.owner.clone(),
        agent: lab.agent.clone(),
        kernel: Some(lab.images.kernel.clone()),
        kvm,
        ..QemuOptions::default()
    };
    let qemu = Qemu::detect(options(None)).await.unwrap();
    eprintln!("{:?}, problems: {:?}", qemu.facts(), qemu.problems());
    let verdict = qemu.kvm_verdict().cloned().unwrap();
    assert_eq!(qemu.facts().acceleration, if verdict.works { "kvm" } else { "tcg" });
    assert_eq!(qemu.facts().chosen_because, verdict.reason);
    let from = Instant::now();
    let again = Qemu::detect(options(Some(verdict))).await.unwrap();
    assert_eq!(again.facts(), qemu.facts());
    assert!(from.elapsed() < Duration::from_secs(3), "a known verdict is not tried again");
    // What was chosen runs a guest.
    let (machine, _guest) = lab.booted(&again).await;
    again.kill(lab.vm, &machine).await.unwrap();
    again.remove(lab.vm).await.unwrap();
    again.sweep(&[]).await.unwrap();
}
