//! The QEMU driver: machine type `microvm`, with KVM where a guest boots on it, else emulated. Owns the VM's folder (`<data>/vms/<id>`), its
//! process, cgroup and sockets; does not own the TAP device, the images, or when anything is done.
//!
//! ```text
//!  launch --> held (forked, recorded, nothing of QEMU ran) --release--> events monitor settled --cont--> vCPUs run
//!                |                                                                                        |
//!                +-- hearth dies: ends by itself                hearth dies: goes on; inspect adopts it --+
//! ```
//! QEMU starts with its vCPUs stopped (`-S`) and runs them once its events are logged, so no guest can end before its end is told. A
//! process that was let go but whose vCPUs never ran counts as held; `release` may be repeated on it.

mod command;
mod detect;
mod disk;
mod ending;
mod files;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod header;
mod outside;
mod own;
mod qmp;
mod start;
mod tsc;
mod tuning;

pub use detect::{AccelerationChoice, KvmVerdict};
pub(super) use files::DISK;
pub use own::UserChoice;

use super::confinement::Confinement;
use super::limits::transfers;
use super::lines::LinesWanted;
use super::outside::Outside;
use super::shared::{
    CAPABILITIES, Ground, blocking,
    boot::BootFiles,
    confined,
    console::{Keyboard, Manner},
    drives, layout, leftovers, meet, process,
    run::Nature,
    runs::Runs,
};
use super::{Console, DiskPlan, MachinePlan, Tuning, Usage, Vmm, VmmError};
use crate::guest::GuestSession;
use async_trait::async_trait;
use command::Acceleration;
use domain::{
    Attempt, VmId,
    host::{Capabilities, VmmFacts},
    vm::{Driver, Exit, Inspection, Machine},
};
use files::{AGENT_SOCKET, CONSOLE_SOCKET, CONTROL_SOCKET, EVENTS_LOG, SOCKETS};
use own::Users;
use qmp::{CALL_DEADLINE, Qmp};
use serde_json::Value;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::time::Instant;

/// What the driver is told at its start.
#[derive(Debug, Clone, Default)]
pub struct QemuOptions {
    pub data: PathBuf,
    /// Which hearth this is, unique to its data directory; letters, digits and dashes.
    pub owner: String,
    /// The static agent program, which travels in the initramfs.
    pub agent: Vec<u8>,
    pub acceleration: AccelerationChoice,
    /// A kernel to try KVM with; without one KVM can't be proven and is not used.
    pub kernel: Option<PathBuf>,
    /// Of an earlier start, to save the self-test.
    pub kvm: Option<KvmVerdict>,
    /// Absent: `qemu-system-x86_64` by PATH.
    pub binary: Option<PathBuf>,
    pub user: UserChoice,
}

pub struct Qemu {
    inner: Arc<Inner>,
    runs: Runs,
}

/// What blocking work needs; never changes.
struct Inner {
    ground: Arc<Ground>,
    binary: PathBuf,
    version: String,
    acceleration: Acceleration,
    chosen_because: String,
    kvm: Option<KvmVerdict>,
    boot: BootFiles,
    /// Absent: processes are hearth's user's.
    users: Option<Users>,
    /// Why they are although hearth is root.
    as_root: Option<String>,
}

const NATURE: Nature = Nature { is_polite: true, explain: ending::explain, beside: None };
const MANNER: Manner = Manner { keyboard: Keyboard::Socket(CONSOLE_SOCKET), other_log: Some(EVENTS_LOG), beside: None };

impl Qemu {
    /// Finds QEMU and decides on the acceleration. Takes 5 s where KVM must be tried and guests stand still, and 30 s at most where it is slow.
    pub async fn detect(options: QemuOptions) -> Result<Self, VmmError> {
        let binary = detect::find_binary(options.binary.as_deref())?;
        let version = detect::version(&binary).await?;
        let (acceleration, chosen_because, kvm) =
            detect::choose(options.acceleration, options.kvm, &binary, options.kernel.as_deref()).await;
        let ground = Arc::new(Ground::open(&options.data, &options.owner)?);
        let boot = BootFiles::new(ground.layout.boot(), &options.agent);
        boot.sweep();
        let runs = Runs::new(Arc::clone(&ground), NATURE, MANNER, runs_qemu);
        let (users, as_root) = match options.user {
            UserChoice::Hearths => (None, own::given_up()),
            UserChoice::Own(uids) => match own::possible(&uids) {
                Ok(()) => {
                    let help = detect::help(&binary).await?;
                    (Some(Users::open(ground.layout.vms(), own::inclusive(&uids), &help)?), None)
                }
                Err(why) => (None, why),
            },
        };
        let inner = Inner { ground, binary, version, acceleration, chosen_because, kvm, boot, users, as_root };
        Ok(Self { inner: Arc::new(inner), runs })
    }

    /// Before the guest runs: a process that was to be confined and is not, is ended.
    async fn check_start(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        let folder = self.folder(vm);
        let Some(root) = own::root(&folder, machine) else { return Ok(()) };
        confined::check_start(&self.runs, vm, machine, |look| own::problems(&folder, &root, look)).await
    }

    /// As that, of a guest that was found as `found`; what its own start left tells what must hold, not how this hearth starts others.
    async fn check_found(&self, vm: VmId, machine: &Machine, found: Inspection) -> Result<Inspection, VmmError> {
        let folder = self.folder(vm);
        match own::root(&folder, machine) {
            Some(root) if found != Inspection::Held => {
                confined::check_found(&self.runs, vm, machine, found, |look| own::problems(&folder, &root, look)).await
            }
            _ => Ok(found),
        }
    }

    /// The self-test's outcome, for the next start's options; absent where an acceleration was asked for.
    pub fn kvm_verdict(&self) -> Option<&KvmVerdict> {
        self.inner.kvm.as_ref()
    }

    fn folder(&self, vm: VmId) -> PathBuf {
        self.inner.ground.folder(vm)
    }

    async fn command(&self, vm: VmId, machine: &Machine, command: &'static str) -> Result<Value, VmmError> {
        let _run = self.runs.released(vm, machine, command)?;
        let deadline = Instant::now() + CALL_DEADLINE;
        let mut qmp = Qmp::open(&self.folder(vm), CONTROL_SOCKET, deadline).await?;
        qmp.call(command, Value::Null, deadline).await
    }
}

fn runs_qemu(machine: &Machine) -> bool {
    process::executable(machine.pid).as_deref() == Some(machine.executable.as_str())
}

/// Between two looks whether QEMU holds the vCPUs because the host's disk is full: they take about a millisecond. It tells by an event, too, but the
/// log of events lies on the same disk.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// QEMU's word for the machine's state as ours. It holds the vCPUs by itself when the host's disk is full (`io-error`): `resume` goes on.
fn inspection(status: &Value) -> Inspection {
    match status.get("status").and_then(Value::as_str) {
        Some("prelaunch" | "inmigrate") => Inspection::Held,
        Some("running" | "shutdown") | None => Inspection::Running,
        Some("io-error") => Inspection::DiskFull,
        Some(_) => Inspection::Paused,
    }
}

#[async_trait]
impl Vmm for Qemu {
    fn facts(&self) -> VmmFacts {
        VmmFacts {
            driver: Driver::Qemu,
            version: self.inner.version.clone(),
            acceleration: self.inner.acceleration.name().into(),
            chosen_because: self.inner.chosen_because.clone(),
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { jailed: self.inner.users.is_some(), ..CAPABILITIES }
    }

    fn problems(&self) -> Vec<String> {
        self.inner.ground.cgroups.problem().into_iter().chain(self.inner.as_root.clone()).collect()
    }

    async fn prepare_disk(&self, plan: &DiskPlan) -> Result<(), VmmError> {
        let (inner, plan) = (Arc::clone(&self.inner), plan.clone());
        blocking(move || {
            let folder = inner.ground.folder(plan.vm);
            layout::make_folder(&folder)?;
            disk::prepare(&plan, &inner.ground.layout.file(plan.vm, files::DISK))?;
            drives::settle(&plan, &folder)
        })
        .await
    }

    async fn launch(&self, plan: &MachinePlan, launch: Attempt) -> Result<Machine, VmmError> {
        self.clean(plan.vm).await?;
        let (inner, owned) = (Arc::clone(&self.inner), plan.clone());
        self.runs.hold(plan.vm, move || start::hold(&inner, &owned, launch)).await
    }

    async fn release(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        let run = self.runs.live(vm, machine)?;
        start::release(&run, &self.folder(vm), self.check_start(vm, machine)).await
    }

    async fn inspect(&self, vm: VmId, machine: &Machine) -> Result<Inspection, VmmError> {
        let ask = async {
            let status = self.command(vm, machine, "query-status").await?;
            self.check_found(vm, machine, inspection(&status)).await
        };
        self.runs.inspect(vm, machine, ask, "query-status", CALL_DEADLINE).await
    }

    async fn exited(&self, vm: VmId, machine: &Machine) -> Exit {
        self.runs.exited(vm, machine).await
    }

    async fn disk_full(&self, vm: VmId, machine: &Machine) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            // Whether it can be asked at all is for others to find out.
            let status = self.command(vm, machine, "query-status").await;
            if status.is_ok_and(|status| inspection(&status) == Inspection::DiskFull) {
                return;
            }
        }
    }

    async fn pause(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.command(vm, machine, "stop").await.map(drop)
    }

    async fn resume(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.command(vm, machine, "cont").await.map(drop)
    }

    async fn tune(&self, vm: VmId, machine: &Machine, tuning: &Tuning) -> Result<(), VmmError> {
        let _run = self.runs.released(vm, machine, "tune")?;
        let deadline = Instant::now() + CALL_DEADLINE;
        let folder = self.folder(vm);
        let mut control = Qmp::open(&folder, CONTROL_SOCKET, deadline).await?;
        let disks = tuning::apply(&mut control, tuning, deadline).await?;
        if let Some(group) = self.inner.ground.cgroups.group(vm) {
            let rate_limits = tuning.rate_limits;
            let bound = move || {
                transfers::set(&rate_limits, disks, &folder, &group);
                Ok(())
            };
            blocking(bound).await?;
        }
        Ok(())
    }

    async fn kill(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.runs.kill(vm, machine).await
    }

    async fn clean(&self, vm: VmId) -> Result<(), VmmError> {
        self.runs.clean(vm, &SOCKETS).await?;
        let folder = self.folder(vm);
        blocking(move || own::remove(&folder)).await
    }

    async fn remove(&self, vm: VmId) -> Result<(), VmmError> {
        self.clean(vm).await?;
        self.runs.remove_folder(vm).await
    }

    async fn guest(&self, vm: VmId, machine: &Machine, deadline: Duration) -> Result<Arc<dyn GuestSession>, VmmError> {
        let run = self.runs.live(vm, machine)?;
        meet::meet_anew(&run, || layout::connect(&self.folder(vm), AGENT_SOCKET), deadline).await
    }

    async fn console(&self, vm: VmId, history_bytes: u64) -> Result<Box<dyn Console>, VmmError> {
        self.runs.console(vm, history_bytes)
    }

    async fn console_log(&self, vm: VmId, bytes: u64) -> Result<Vec<u8>, VmmError> {
        self.runs.console_log(vm, bytes).await
    }

    async fn lines(&self, vm: VmId, wanted: &LinesWanted) -> Result<Vec<u8>, VmmError> {
        self.runs.lines(vm, *wanted).await
    }

    async fn follow_lines(&self, vm: VmId, wanted: &LinesWanted) -> Result<Box<dyn Console>, VmmError> {
        self.runs.follow_lines(vm, wanted)
    }

    async fn usage(&self, vm: VmId, machine: &Machine) -> Result<Usage, VmmError> {
        self.runs.usage(vm, machine)
    }

    async fn outside(&self, vm: VmId, machine: &Machine) -> Result<Outside, VmmError> {
        self.look_outside(vm, machine).await
    }

    async fn confinement(&self, vm: VmId, machine: &Machine) -> Result<Option<Confinement>, VmmError> {
        self.runs.confinement(vm, machine).await.map(Some)
    }

    async fn sweep(&self, known: &[VmId]) -> Result<Vec<String>, VmmError> {
        leftovers::sweep(self, &self.inner.ground, known).await
    }

    async fn tear_down(&self) -> Result<(), VmmError> {
        self.inner.ground.tear_down()
    }
}
