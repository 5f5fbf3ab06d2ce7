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

pub mod api;
mod config;
mod disk;
mod door;
mod ending;
mod files;
mod halting;
pub mod jail;
pub mod programs;
mod room;
pub mod selftest;
mod start;
mod version;
pub mod vsock;

use super::confinement::{Confinement, Wanted};
use super::shared::{
    Ground, blocking,
    boot::BootFiles,
    console::{Keyboard, Manner},
    layout, leftovers, process,
    run::Nature,
    runs::Runs,
};
use super::{Console, DiskPlan, MachinePlan, Usage, Vmm, VmmError};
use crate::guest::{Guest, GuestFault, GuestSession};
use ::api::guest::VSOCK_PORT;
use api::Microvm;
use api::{ApiError, Found, Socket};
use async_trait::async_trait;
use domain::{
    Attempt, VmId,
    host::{Capabilities, VmmFacts},
    vm::{Driver, Exit, Inspection, Machine},
};
use door::Door;
pub(super) use files::DISK;
use files::{API_SOCKET, CONFIG, KEYBOARD, RUN, VSOCK_SOCKET};
use jail::{Jails, Place};
use programs::ProgramsError;
use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;
use version::Version;
use vsock::VsockError;

/// How long an adopted process may take to open its API: it was let go a moment before hearth died.
const ADOPT_DEADLINE: Duration = Duration::from_secs(5);
/// The agent listens some 100 ms after the start, and gives no sign of it to anyone who is not connected.
const CONNECT_AGAIN: Duration = Duration::from_millis(10);

/// What the driver is told at its start.
#[derive(Debug, Clone, Default)]
pub struct FirecrackerOptions {
    pub data: PathBuf,
    /// Which hearth this is, unique to its data directory; letters, digits and dashes.
    pub owner: String,
    /// The static agent program, which travels in the initramfs.
    pub agent: Vec<u8>,
    /// Absent: `firecracker` by PATH.
    pub binary: Option<PathBuf>,
    pub jail: JailChoice,
}

/// Whether processes are jailed.
#[derive(Debug, Clone)]
pub enum JailChoice {
    Jailer {
        /// Absent: beside Firecracker, else by PATH.
        binary: Option<PathBuf>,
        /// Each VM has one of these, as its uid and its gid.
        uids: Range<u32>,
    },
    /// For a workstation: Firecracker's own seccomp filters and nothing else.
    None,
}

impl Default for JailChoice {
    fn default() -> Self {
        Self::Jailer { binary: None, uids: *jail::DEFAULT_UIDS.start()..*jail::DEFAULT_UIDS.end() + 1 }
    }
}

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
const MANNER: Manner = Manner { keyboard: Keyboard::Pipe(KEYBOARD), other_log: None };

impl Inner {
    /// Where the VM's process has its sockets.
    fn room(&self, vm: VmId) -> PathBuf {
        let jail = self.place(vm);
        if jail.exists() { jail.root() } else { self.ground.folder(vm).join(RUN) }
    }

    fn place(&self, vm: VmId) -> Place {
        Place::of(&self.ground.layout.vms(), &self.binary, &self.ground.owner, vm)
    }

    /// Removes that place. Blocks.
    fn unmake_room(&self, vm: VmId) -> Result<(), VmmError> {
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

    fn folder(&self, vm: VmId) -> PathBuf {
        self.inner.ground.folder(vm)
    }

    /// The phase that the process is in, with its handle. Waits for a process that has not opened its API yet.
    async fn at(&self, vm: VmId) -> Result<(Door, Found), VmmError> {
        let (room, deadline) = (self.inner.room(vm), Instant::now() + ADOPT_DEADLINE);
        loop {
            let found = match Door::open(&room, API_SOCKET) {
                Ok(door) => Found::at(Socket::new(door.path())).await.map(|found| (door, found)),
                Err(error) => Err(ApiError::Unreachable(error)),
            };
            match found {
                Err(ApiError::Unreachable(_)) if Instant::now() < deadline => {
                    let _news = door::Arrivals::of(&room).next(deadline.min(Instant::now() + CONNECT_AGAIN)).await;
                }
                found => return found.map_err(call_error),
            }
        }
    }

    /// As [`Self::at`], of a machine that was released; gives up when it ends.
    async fn found(&self, vm: VmId, machine: &Machine, call: &'static str) -> Result<(Door, Found), VmmError> {
        let run = self.runs.released(vm, machine, call)?;
        tokio::select! {
            found = self.at(vm) => found,
            _exit = run.exited() => Err(VmmError::Gone),
        }
    }

    /// After the start: a jail that does not hold is no jail.
    async fn check_confinement(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        let Some(jails) = &self.inner.jails else { return Ok(()) };
        // Once this is answered, the thread that answers has its filter too (see `confinement`).
        let _answered = self.at(vm).await?;
        let uid = jails.uid(vm)?;
        let (root, look) = (self.inner.room(vm), self.runs.confinement(vm, machine).await?);
        match look.problems(&Wanted::jailed(uid, &root)).as_slice() {
            [] => Ok(()),
            problems => {
                self.runs.kill(vm, machine).await?;
                Err(VmmError::Refused { call: "confinement", detail: problems.join("; ") })
            }
        }
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

/// What failed, by what the caller can do about it.
fn call_error(error: ApiError) -> VmmError {
    match error {
        ApiError::Unreachable(source) => layout::short_or(&source, VmmError::Gone),
        ApiError::Closed { .. } => VmmError::Gone,
        ApiError::Timeout { call, after_ms } => VmmError::Timeout { call, after_ms },
        ApiError::Refused { call, fault } => VmmError::Refused { call, detail: fault },
        ApiError::Garbled { call, detail } => VmmError::Refused { call, detail: format!("its answer is none: {detail}") },
        ApiError::Invalid(invalid) => VmmError::Refused { call: "configuration", detail: invalid.to_string() },
    }
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
        Capabilities { pause: true, console_input: true, guest_agent: true, power_off_told: true, jailed, ..Capabilities::NONE }
    }

    fn problems(&self) -> Vec<String> {
        let cgroups = self.inner.ground.cgroups.problem();
        let jails = self.inner.jails.is_none().then(|| "Firecracker runs without its jailer (--no-jailer)".to_owned());
        cgroups.into_iter().chain(jails).collect()
    }

    async fn prepare_disk(&self, plan: &DiskPlan) -> Result<(), VmmError> {
        let (inner, plan) = (Arc::clone(&self.inner), plan.clone());
        blocking(move || {
            layout::make_folder(&inner.ground.folder(plan.vm))?;
            disk::prepare(&plan, &inner.ground.layout.file(plan.vm, DISK))
        })
        .await
    }

    async fn launch(&self, plan: &MachinePlan, launch: Attempt) -> Result<Machine, VmmError> {
        self.clean(plan.vm).await?;
        let (inner, owned) = (Arc::clone(&self.inner), plan.clone());
        let port = start::port(plan).await?;
        let (machine, pidfd, gate) = blocking(move || start::hold(&inner, &owned, port, launch)).await?;
        self.runs.hold(plan.vm, &machine, pidfd, gate)?;
        Ok(machine)
    }

    async fn release(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        let run = self.runs.live(vm, machine)?;
        start::release(&self.inner, &run, vm).await?;
        self.check_confinement(vm, machine).await
    }

    async fn inspect(&self, vm: VmId, machine: &Machine) -> Result<Inspection, VmmError> {
        let Some(run) = self.runs.find(vm, machine)? else {
            return Ok(Inspection::Gone { exit: self.runs.told_exit(vm, machine).await? });
        };
        if run.is_held() && run.exit().is_none() {
            return Ok(Inspection::Held);
        }
        match self.found(vm, machine, "GET /").await {
            Ok((_door, Found::NotStarted(_))) => Ok(Inspection::Held),
            Ok((_door, Found::Running(_))) => Ok(Inspection::Running),
            Ok((_door, Found::Paused(_))) => Ok(Inspection::Paused),
            // The process ended between two looks; how, is told in a moment.
            Err(VmmError::Gone) => match tokio::time::timeout(ADOPT_DEADLINE, run.exited()).await {
                Ok(exit) => Ok(Inspection::Gone { exit }),
                Err(_) => Err(VmmError::Timeout { call: "GET /", after_ms: ADOPT_DEADLINE.as_millis() as u64 }),
            },
            // It lives, and its main thread waits for a disk, say: nothing is known of it, and it is no reason to end a guest.
            Err(VmmError::Timeout { call, after_ms }) => {
                Err(VmmError::Short { detail: format!("firecracker did not answer {call} within {after_ms} ms") })
            }
            Err(error) => Err(error),
        }
    }

    async fn exited(&self, vm: VmId, machine: &Machine) -> Exit {
        self.runs.exited(vm, machine).await
    }

    async fn pause(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        match self.found(vm, machine, "pause").await? {
            (_door, Found::Running(running)) => running.pause().await.map(drop).map_err(call_error),
            (_door, Found::Paused(_)) => Ok(()),
            (_door, Found::NotStarted(machine)) => Err(not_started("pause", &machine)),
        }
    }

    async fn resume(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        match self.found(vm, machine, "resume").await? {
            (_door, Found::Paused(paused)) => paused.resume().await.map(drop).map_err(call_error),
            (_door, Found::Running(_)) => Ok(()),
            (_door, Found::NotStarted(machine)) => Err(not_started("resume", &machine)),
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
        self.runs.forget_console(vm);
        leftovers::remove_folder(&self.inner.ground, vm).await
    }

    async fn guest(&self, vm: VmId, machine: &Machine, deadline: Duration) -> Result<Arc<dyn GuestSession>, VmmError> {
        let run = self.runs.live(vm, machine)?;
        run.replace_session(None);
        let until = Instant::now() + deadline;
        let session = async {
            let stream = self.agent(vm, until).await?;
            let failed =
                |error: std::io::Error| layout::short_or(&error, VmmError::Refused { call: "agent", detail: error.to_string() });
            let stream = stream.into_std().map_err(failed)?;
            run.replace_session(Some(stream.try_clone().map_err(failed)?));
            let stream = tokio::net::UnixStream::from_std(stream).map_err(failed)?;
            match Guest::connect(stream, until.saturating_duration_since(Instant::now())).await {
                Ok(guest) => {
                    let guest: Arc<dyn GuestSession> = Arc::new(guest);
                    run.met(&guest);
                    Ok(guest)
                }
                Err(GuestFault::NoHello { .. }) => Err(late(deadline)),
                Err(fault) => Err(VmmError::Refused { call: "hello", detail: fault.to_string() }),
            }
        };
        tokio::select! {
            session = session => session,
            _exit = run.exited() => Err(VmmError::Gone),
        }
    }

    async fn console(&self, vm: VmId, history_bytes: u64) -> Result<Box<dyn Console>, VmmError> {
        Ok(Box::new(self.runs.console(vm).attach(history_bytes)?))
    }

    async fn console_log(&self, vm: VmId, bytes: u64) -> Result<Vec<u8>, VmmError> {
        let (log, path) = (self.runs.console(vm), self.folder(vm));
        blocking(move || log.tail(bytes).map_err(|source| VmmError::Folder { path, source })).await
    }

    async fn usage(&self, vm: VmId, machine: &Machine) -> Result<Usage, VmmError> {
        let run = self.runs.live(vm, machine)?;
        process::usage(run.machine.pid).ok_or(VmmError::Gone)
    }

    async fn confinement(&self, vm: VmId, machine: &Machine) -> Result<Option<Confinement>, VmmError> {
        self.runs.confinement(vm, machine).await.map(Some)
    }

    async fn sweep(&self, known: &[VmId]) -> Result<Vec<String>, VmmError> {
        let ground = &self.inner.ground;
        let mut removed = leftovers::sweep_processes(ground, known).await?;
        for vm in leftovers::unknown_folders(ground, known).await? {
            self.remove(vm).await?;
            removed.push(format!("folder of {vm}"));
        }
        removed.extend(leftovers::sweep_cgroups(ground, known).await?);
        Ok(removed)
    }

    async fn tear_down(&self) -> Result<(), VmmError> {
        let removed = self.inner.ground.cgroups.remove_root();
        removed.map_err(|error| VmmError::Clean { what: "hearth's cgroup".to_owned(), detail: error.to_string() })
    }
}

impl Firecracker {
    /// A connection to the agent, once it listens.
    async fn agent(&self, vm: VmId, until: Instant) -> Result<tokio::net::UnixStream, VmmError> {
        let room = self.inner.room(vm);
        let from = Instant::now();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(late(until - from));
            }
            let connected = match Door::open(&room, VSOCK_SOCKET) {
                Ok(door) => vsock::connect(&door.path(), VSOCK_PORT, left).await,
                Err(error) => Err(VsockError::Unreachable(error)),
            };
            match connected {
                Ok(stream) => return Ok(stream),
                Err(VsockError::Unreachable(error)) if layout::is_short(&error) => {
                    return Err(VmmError::Short { detail: error.to_string() });
                }
                Err(VsockError::Unreachable(_) | VsockError::NobodyListens { .. }) => tokio::time::sleep(CONNECT_AGAIN).await,
                Err(VsockError::Timeout { .. }) => return Err(late(until - from)),
                Err(error @ VsockError::Garbled { .. }) => {
                    return Err(VmmError::Refused { call: "agent", detail: error.to_string() });
                }
            }
        }
    }
}

fn late(after: Duration) -> VmmError {
    VmmError::Timeout { call: "hello", after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX) }
}

fn not_started(call: &'static str, _machine: &Microvm<api::Configuring>) -> VmmError {
    VmmError::Refused { call, detail: "its guest was not started yet".into() }
}
