//! The Firecracker driver: KVM guests, each process in a jail of its own. Owns the VM's folder (`<data>/vms/<id>`), its process, cgroup, jail
//! and sockets; does not own the TAP device, the images, or when anything is done.
//!
//! ```text
//!  launch --> held (forked, recorded, nothing of the VMM ran) --release--> jailer --exec--> API --configuration, start--> vCPUs run
//!                |                                                                                                          |
//!                +-- hearth dies: ends by itself                                  hearth dies: goes on; inspect adopts it --+
//! ```
//! The gate makes the process and its pid namespace, the jailer execs Firecracker in place: one pid from the record to the end. What the
//! machine is to be lies in the VM's folder from the launch on, so that a release can be repeated by the next hearth.

mod agent;
pub mod api;
mod asking;
mod config;
mod counters;
mod disk;
mod door;
mod ending;
mod files;
mod halting;
pub mod jail;
mod jailed;
mod marks;
mod metadata;
mod options;
mod outside;
mod pausing;
mod port;
pub mod programs;
mod restore;
mod room;
pub mod selftest;
mod snapshot;
#[cfg(test)]
mod stage;
mod start;
mod tally;
mod tap;
mod tuning;
mod version;
pub mod vsock;

pub(super) use files::DISK;
pub use options::{FirecrackerOptions, JailChoice};
#[cfg(any(test, fuzzing))]
pub(crate) use tally::fuzz;

use super::confinement::Confinement;
use super::lines::LinesWanted;
use super::outside::Outside;
use super::shared::{
    CAPABILITIES, Ground, blocking,
    boot::BootFiles,
    console::{Keyboard, Manner},
    drives, layout, leftovers, meet, process,
    run::Nature,
    runs::Runs,
};
use super::{Console, DiskPlan, MachinePlan, SnapshotKind, Tuning, Usage, Vmm, VmmError};
use crate::guest::{Connection, GuestFault, GuestSession};
use api::Found;
use asking::{ADOPT_DEADLINE, call_error, not_started};
use async_trait::async_trait;
use domain::{
    Attempt, VmId,
    host::{Capabilities, VmmFacts},
    vm::{Driver, Exit, Inspection, Machine},
};
use files::{CONFIG, KEYBOARD, RUN};
use jail::{Jails, Place};
use marks::Marks;
use pausing::Purpose;
use programs::ProgramsError;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;
use version::Version;

/// A process's API, and a guest's agent, listen some 100 ms after the start, and give no sign of it to anyone who is not connected.
const AGAIN: Duration = Duration::from_millis(10);

pub struct Firecracker {
    inner: Arc<Inner>,
    runs: Runs,
}

/// What blocking work needs; never changes.
struct Inner {
    ground: Arc<Ground>,
    binary: PathBuf,
    version: Version,
    boot: BootFiles,
    jails: Option<Jails>,
}

const NATURE: Nature = Nature { is_polite: false, explain: ending::explain, beside: Some(halting::watch) };
const MANNER: Manner = Manner { keyboard: Keyboard::Pipe(KEYBOARD), other_log: None, beside: Some(counters::keep_short) };

impl Inner {
    /// Where the VM's process has its sockets.
    fn room(&self, vm: VmId) -> PathBuf {
        let jail = self.place(vm);
        if jail.exists() { jail.root() } else { self.ground.folder(vm).join(RUN) }
    }

    fn place(&self, vm: VmId) -> Place {
        Place::of(&self.ground.layout.vms(), &self.binary, &self.ground.owner, vm)
    }

    /// Removes that place, and the disk of a machine that was to go on and did not. Blocks.
    fn unmake_room(&self, vm: VmId) -> Result<(), VmmError> {
        restore::unstage(&self.ground.folder(vm))?;
        room::remove_open(&self.ground.folder(vm))?;
        self.place(vm).clean()
    }
}

impl Firecracker {
    /// Finds Firecracker and, unless told otherwise, its jailer.
    ///
    /// Errors: `ProgramMissing`; another version than is known to work; jails that can't be made here. Each names the remedy.
    pub async fn detect(options: FirecrackerOptions) -> Result<Self, VmmError> {
        let jailer = match &options.jail {
            JailChoice::Jailer { binary, .. } => Some(binary.as_deref()),
            JailChoice::None => None,
        };
        let found = programs::look(options.binary.as_deref(), jailer).await.map_err(missing)?;
        let version = Version::parse(&found.version);
        let ground = Arc::new(Ground::open(&options.data, &options.owner)?);
        let jails = match (options.jail, found.jailer) {
            (JailChoice::None, _) | (_, None) => None,
            (JailChoice::Jailer { uids, .. }, Some(jailer)) => {
                let wanted = jail::Options {
                    vms: ground.layout.vms(),
                    owner: options.owner.clone(),
                    firecracker: found.firecracker.clone(),
                    jailer,
                    uids: uids.start..=uids.end.saturating_sub(1),
                };
                Some(Jails::open(wanted)?)
            }
        };
        let boot = BootFiles::new(ground.layout.boot(), &options.agent);
        boot.sweep();
        let runs = Runs::new(Arc::clone(&ground), NATURE, MANNER, runs_firecracker);
        let inner = Inner { ground, binary: found.firecracker, version, boot, jails };
        Ok(Self { inner: Arc::new(inner), runs })
    }

    async fn begin(&self, plan: MachinePlan, from: Option<restore::Source>, launch: Attempt) -> Result<Machine, VmmError> {
        self.clean(plan.vm).await?;
        let (inner, vm) = (Arc::clone(&self.inner), plan.vm);
        let (ports, mut marks) = (tap::ports(&plan).await?, Marks::begin(vm));
        let held = self.runs.hold(vm, move || start::hold(&inner, &plan, ports, from.as_ref(), launch)).await;
        marks.end("process");
        held
    }
}

fn missing(error: ProgramsError) -> VmmError {
    let program = match error {
        ProgramsError::NoFirecracker => "firecracker",
        ProgramsError::NoJailer => "jailer",
        other => return VmmError::Spawn { detail: other.to_string() },
    };
    VmmError::ProgramMissing { program: program.into(), hint: error.to_string() }
}

/// The program's name stands for its path: in a jail it is another copy of it, and a moment before it the jailer is in its place.
fn runs_firecracker(machine: &Machine) -> bool {
    let name = |path: &str| Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
    let running = process::executable(machine.pid).and_then(|path| name(&path));
    running.is_some() && (running == name(&machine.executable) || running.as_deref() == Some("jailer"))
}

#[async_trait]
impl Vmm for Firecracker {
    fn facts(&self) -> VmmFacts {
        VmmFacts {
            driver: Driver::Firecracker,
            version: self.inner.version.text.clone(),
            acceleration: "kvm".into(),
            chosen_because: "firecracker was asked for".into(),
        }
    }

    fn capabilities(&self) -> Capabilities {
        let jailed = self.inner.jails.is_some();
        // Which of them fits this processor is Firecracker's to say. On other architectures none was seen to hold on a guest: not offered.
        let cpu_templates = cfg!(target_arch = "x86_64");
        // What the next start would bear; what a machine's own release bears is asked once more at its pause: see `pausing`.
        let pause = self.inner.version.pauses_well();
        let memory_hotplug = self.inner.version.has_memory_hotplug();
        let always = Capabilities { network_rate_limit: true, metadata: true, vsock: true, ..CAPABILITIES };
        Capabilities { pause, memory_hotplug, cpu_templates, jailed, ..always }
    }

    fn problems(&self) -> Vec<String> {
        let cgroups = self.inner.ground.cgroups.problem();
        let jails = self.inner.jails.is_none().then(|| "Firecracker runs without its jailer (--no-jailer)".to_owned());
        let pauses = (!self.inner.version.pauses_well()).then(|| {
            let version = &self.inner.version.text;
            format!(
                "Firecracker {version} loses a guest's agent after a pause, so none is offered: install a release after 1.16.1, then stop and start the VMs"
            )
        });
        cgroups.into_iter().chain(jails).chain(pauses).collect()
    }

    async fn prepare_disk(&self, plan: &DiskPlan) -> Result<(), VmmError> {
        let (inner, plan) = (Arc::clone(&self.inner), plan.clone());
        blocking(move || {
            let folder = inner.ground.folder(plan.vm);
            layout::make_folder(&folder)?;
            disk::prepare(&plan, &inner.ground.layout.file(plan.vm, DISK))?;
            drives::settle(&plan, &folder)
        })
        .await
    }

    async fn launch(&self, plan: &MachinePlan, launch: Attempt) -> Result<Machine, VmmError> {
        self.begin(plan.clone(), None, launch).await
    }

    async fn snapshot(&self, vm: VmId, machine: &Machine, into: &Path, kind: SnapshotKind) -> Result<(), VmmError> {
        self.take(vm, machine, into, kind).await
    }

    async fn restore(&self, plan: &MachinePlan, from: &Path, launch: Attempt) -> Result<Machine, VmmError> {
        if self.inner.jails.is_none() {
            // A snapshot's state names its files by their place in a jail, and the process would have the VM's own disk before it was loaded.
            let detail = "restoring needs the jail: start hearth without --no-jailer".into();
            return Err(VmmError::Refused { call: "restore", detail });
        }
        // Before anything of the VM is touched.
        let (from, plan) = (from.to_owned(), plan.clone());
        let (source, plan) = blocking(move || restore::open(&from, &plan)).await?;
        self.begin(plan, Some(source), launch).await
    }

    async fn release(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        let run = self.runs.live(vm, machine)?;
        let mut marks = Marks::begin(vm);
        start::release(&self.inner, &run, vm, &mut marks).await?;
        let checked = self.check_start(vm, machine).await;
        marks.end("confinement");
        checked
    }

    async fn inspect(&self, vm: VmId, machine: &Machine) -> Result<Inspection, VmmError> {
        let ask = async {
            match self.found(vm, machine, "GET /").await {
                Ok((_door, Found::NotStarted(_))) => Ok(Inspection::Held),
                Ok((_door, Found::Running(_))) => self.check_found(vm, machine, Inspection::Running).await,
                Ok((_door, Found::Paused(_))) => self.check_found(vm, machine, Inspection::Paused).await,
                // It lives, and its main thread waits for a disk, say: nothing is known of it, and it is no reason to end a guest.
                Err(VmmError::Timeout { call, after_ms }) => {
                    Err(VmmError::Short { detail: format!("firecracker did not answer {call} within {after_ms} ms") })
                }
                Err(error) => Err(error),
            }
        };
        self.runs.inspect(vm, machine, ask, "GET /", ADOPT_DEADLINE).await
    }

    async fn exited(&self, vm: VmId, machine: &Machine) -> Exit {
        self.runs.exited(vm, machine).await
    }

    async fn pause(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.stand(vm, machine, Purpose::Rest).await
    }

    async fn pause_for_snapshot(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.stand(vm, machine, Purpose::Snapshot).await
    }

    async fn resume(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        match self.found(vm, machine, "resume").await? {
            (_door, Found::Paused(paused)) => {
                let run = self.runs.live(vm, machine)?;
                start::resume(paused, &self.inner.ground.folder(vm), &run).await
            }
            (_door, Found::Running(_)) => Ok(()),
            (_door, Found::NotStarted(machine)) => Err(not_started("resume", &machine)),
        }
    }

    async fn tune(&self, vm: VmId, machine: &Machine, tuning: &Tuning) -> Result<(), VmmError> {
        let (folder, group) = (self.inner.ground.folder(vm), self.inner.ground.cgroups.group(vm));
        let wanted = tuning.clone();
        // Once the machine is found to be there: its files and its limit first, of which it then hears.
        let grown = async || {
            blocking(move || {
                tuning::grow(&wanted.disks, &folder)?;
                let config = start::read_config(&folder)?;
                group.as_deref().map_or(Ok(()), |group| tuning::make_room(&wanted, &config, &folder, group))?;
                Ok(config)
            })
            .await
        };
        match self.found(vm, machine, "tune").await? {
            (_door, Found::Running(machine)) => {
                tuning::apply(&machine, tuning, &grown().await?).await.map_err(tuning::tune_error)
            }
            (_door, Found::Paused(machine)) => tuning::apply(&machine, tuning, &grown().await?).await.map_err(tuning::tune_error),
            (_door, Found::NotStarted(machine)) => Err(not_started("tune", &machine)),
        }
    }

    async fn serve_metadata(&self, machine: &Machine, plan: &MachinePlan) -> Result<(), VmmError> {
        let folder = self.inner.ground.folder(plan.vm);
        let config = blocking(move || start::read_config(&folder)).await?;
        let Some(content) = metadata::renewed(config.metadata.as_ref(), plan)? else { return Ok(()) };
        match self.found(plan.vm, machine, "metadata").await? {
            (_door, Found::Running(machine)) => machine.replace_metadata(&content).await.map_err(call_error),
            (_door, Found::Paused(machine)) => machine.replace_metadata(&content).await.map_err(call_error),
            (_door, Found::NotStarted(machine)) => Err(not_started("metadata", &machine)),
        }
    }

    async fn kill(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.runs.kill(vm, machine).await
    }

    async fn clean(&self, vm: VmId) -> Result<(), VmmError> {
        self.runs.clean(vm, &[KEYBOARD, CONFIG]).await?;
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.unmake_room(vm)).await
    }

    async fn remove(&self, vm: VmId) -> Result<(), VmmError> {
        self.clean(vm).await?;
        self.runs.remove_folder(vm).await
    }

    async fn guest(&self, vm: VmId, machine: &Machine, deadline: Duration) -> Result<Arc<dyn GuestSession>, VmmError> {
        let (run, mut marks) = (self.runs.live(vm, machine)?, Marks::begin(vm));
        let met = meet::meet(&run, self.agent(vm, Instant::now() + deadline), deadline).await;
        marks.end("agent");
        met
    }

    async fn vsock(&self, vm: VmId, machine: &Machine, port: u32, deadline: Duration) -> Result<Connection, GuestFault> {
        self.port(vm, machine, port, deadline).await
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
