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

#[cfg(test)]
mod alone;
mod boot;
mod cgroup;
mod command;
mod console;
mod detect;
mod disk;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod gate;
mod layout;
mod leftovers;
mod process;
mod qmp;
mod run;
mod start;
mod tsc;

pub use detect::{AccelerationChoice, KvmVerdict};
pub(crate) use layout::storage_error;

use super::{Console, DiskPlan, MachinePlan, Usage, Vmm, VmmError};
use crate::guest::{Guest, GuestFault, GuestSession};
use async_trait::async_trait;
use boot::BootFiles;
use cgroup::Cgroups;
use command::Acceleration;
use console::ConsoleLog;
use domain::{
    Attempt, VmId,
    host::{Capabilities, VmmFacts},
    vm::{Driver, Exit, Inspection, Machine},
};
use layout::{AGENT_SOCKET, CONTROL_SOCKET, Layout};
use qmp::{CALL_DEADLINE, Qmp};
use run::{Run, lock};
use serde_json::Value;
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{net::UnixStream, time::Instant};

/// Until it can be told again whether a process is there.
const WATCH_AGAIN: Duration = Duration::from_secs(1);

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
}

pub struct Qemu {
    inner: Arc<Inner>,
    runs: Mutex<HashMap<VmId, Arc<Run>>>,
    consoles: Mutex<HashMap<VmId, Arc<ConsoleLog>>>,
}

/// What blocking work needs; never changes.
struct Inner {
    layout: Layout,
    owner: String,
    binary: PathBuf,
    version: String,
    acceleration: Acceleration,
    chosen_because: String,
    kvm: Option<KvmVerdict>,
    boot: BootFiles,
    cgroups: Cgroups,
}

/// Runs file and fork work off the runtime's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, VmmError> + Send + 'static) -> Result<T, VmmError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(VmmError::Spawn { detail: format!("the work was given up: {error}") }),
    }
}

impl Qemu {
    /// Finds QEMU and decides on the acceleration. Takes up to 4 s where KVM must be tried and hangs.
    pub async fn detect(options: QemuOptions) -> Result<Self, VmmError> {
        let binary = detect::find_binary(options.binary.as_deref())?;
        let version = detect::version(&binary).await?;
        let (acceleration, chosen_because, kvm) =
            detect::choose(options.acceleration, options.kvm, &binary, options.kernel.as_deref()).await;
        let data = std::path::absolute(&options.data).map_err(|source| layout::storage_error(&options.data, source))?;
        let layout = Layout::new(data);
        layout::make_folder(&layout.vms())?;
        let boot = BootFiles::new(layout.boot(), &options.agent);
        boot.sweep();
        let cgroups = Cgroups::detect(&options.owner);
        let inner = Inner { layout, owner: options.owner, binary, version, acceleration, chosen_because, kvm, boot, cgroups };
        Ok(Self { inner: Arc::new(inner), runs: Mutex::default(), consoles: Mutex::default() })
    }

    /// The self-test's outcome, for the next start's options; absent where an acceleration was asked for.
    pub fn kvm_verdict(&self) -> Option<&KvmVerdict> {
        self.inner.kvm.as_ref()
    }

    fn folder(&self, vm: VmId) -> PathBuf {
        self.inner.layout.vm(vm)
    }

    fn console_log(&self, vm: VmId) -> Arc<ConsoleLog> {
        Arc::clone(lock(&self.consoles).entry(vm).or_insert_with(|| ConsoleLog::new(self.folder(vm))))
    }

    /// The run of that record: known, or adopted if the process is there and runs QEMU.
    fn run(&self, vm: VmId, machine: &Machine) -> Result<Option<Arc<Run>>, VmmError> {
        let mut runs = lock(&self.runs);
        if let Some(run) = runs.get(&vm).filter(|run| run.machine == *machine) {
            return Ok(Some(Arc::clone(run)));
        }
        let Some(pidfd) = process::find(machine)? else { return Ok(None) };
        if process::executable(machine.pid).as_deref() != Some(machine.executable.as_str()) {
            return Ok(None);
        }
        let run = Run::watch(machine.clone(), pidfd, None, self.folder(vm), self.console_log(vm))?;
        runs.insert(vm, Arc::clone(&run));
        Ok(Some(run))
    }

    /// As [`Self::run`], for what only a live machine can do.
    fn live(&self, vm: VmId, machine: &Machine) -> Result<Arc<Run>, VmmError> {
        self.run(vm, machine)?.filter(|run| run.exit().is_none()).ok_or(VmmError::Gone)
    }

    async fn command(&self, vm: VmId, machine: &Machine, command: &'static str) -> Result<Value, VmmError> {
        let run = self.live(vm, machine)?;
        if run.is_held() {
            return Err(VmmError::Refused { call: command, detail: "the process was not released yet".into() });
        }
        let deadline = Instant::now() + CALL_DEADLINE;
        let mut qmp = Qmp::open(&self.folder(vm), CONTROL_SOCKET, deadline).await?;
        qmp.call(command, Value::Null, deadline).await
    }
}

/// QEMU's word for the machine's state as ours. It holds the vCPUs by itself when the host's disk is full (`io-error`): `resume` goes on.
fn inspection(status: &Value) -> Inspection {
    match status.get("status").and_then(Value::as_str) {
        Some("prelaunch" | "inmigrate") => Inspection::Held,
        Some("running" | "shutdown") | None => Inspection::Running,
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
        Capabilities { pause: true, console_input: true, guest_agent: true, power_off_told: true, ..Capabilities::NONE }
    }

    fn problems(&self) -> Vec<String> {
        self.inner.cgroups.problem().into_iter().collect()
    }

    async fn prepare_disk(&self, plan: &DiskPlan) -> Result<(), VmmError> {
        let (inner, plan) = (Arc::clone(&self.inner), plan.clone());
        blocking(move || {
            layout::make_folder(&inner.layout.vm(plan.vm))?;
            disk::prepare(&plan, &inner.layout.file(plan.vm, layout::DISK))
        })
        .await
    }

    async fn launch(&self, plan: &MachinePlan, launch: Attempt) -> Result<Machine, VmmError> {
        self.clean(plan.vm).await?;
        let (inner, owned) = (Arc::clone(&self.inner), plan.clone());
        let (machine, pidfd, gate) = blocking(move || start::hold(&inner, &owned, launch)).await?;
        let run = Run::watch(machine.clone(), pidfd, Some(gate), self.folder(plan.vm), self.console_log(plan.vm))?;
        lock(&self.runs).insert(plan.vm, run);
        Ok(machine)
    }

    async fn release(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        let run = self.live(vm, machine)?;
        start::release(&run, &self.folder(vm)).await
    }

    async fn inspect(&self, vm: VmId, machine: &Machine) -> Result<Inspection, VmmError> {
        let Some(run) = self.run(vm, machine)? else {
            return Ok(Inspection::Gone { exit: leftovers::told_exit(&self.inner, vm, machine).await? });
        };
        if run.is_held() && run.exit().is_none() {
            return Ok(Inspection::Held);
        }
        match self.command(vm, machine, "query-status").await {
            Ok(status) => Ok(inspection(&status)),
            // The process ended between two looks; how, is told in a moment.
            Err(VmmError::Gone) => match tokio::time::timeout(CALL_DEADLINE, run.exited()).await {
                Ok(exit) => Ok(Inspection::Gone { exit }),
                Err(_) => Err(VmmError::Timeout { call: "query-status", after_ms: CALL_DEADLINE.as_millis() as u64 }),
            },
            Err(error) => Err(error),
        }
    }

    async fn exited(&self, vm: VmId, machine: &Machine) -> Exit {
        loop {
            let told = match self.run(vm, machine) {
                Ok(Some(run)) => return run.exited().await,
                Ok(None) => leftovers::told_exit(&self.inner, vm, machine).await,
                Err(error) => Err(error),
            };
            match told {
                Ok(exit) => return exit,
                // Whether it has ended can't be told now.
                Err(error) => tracing::debug!(%vm, %error, "the VMM can't be watched yet"),
            }
            tokio::time::sleep(WATCH_AGAIN).await;
        }
    }

    async fn pause(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.command(vm, machine, "stop").await.map(drop)
    }

    async fn resume(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.command(vm, machine, "cont").await.map(drop)
    }

    async fn kill(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        match self.run(vm, machine)? {
            Some(run) => run.kill().await,
            None => Ok(()),
        }
    }

    async fn clean(&self, vm: VmId) -> Result<(), VmmError> {
        let known = lock(&self.runs).remove(&vm);
        if let Some(run) = known {
            run.replace_session(None);
            run.kill().await?;
        }
        leftovers::clean(&self.inner, vm).await
    }

    async fn remove(&self, vm: VmId) -> Result<(), VmmError> {
        self.clean(vm).await?;
        lock(&self.consoles).remove(&vm);
        leftovers::remove_folder(&self.inner, vm).await
    }

    async fn guest(&self, vm: VmId, machine: &Machine, deadline: Duration) -> Result<Arc<dyn GuestSession>, VmmError> {
        let run = self.live(vm, machine)?;
        run.replace_session(None);
        let failed =
            |error: std::io::Error| layout::short_or(&error, VmmError::Refused { call: "agent", detail: error.to_string() });
        let stream = layout::connect(&self.folder(vm), AGENT_SOCKET).map_err(failed)?;
        run.replace_session(Some(stream.try_clone().map_err(failed)?));
        let stream = UnixStream::from_std(stream).map_err(failed)?;
        tokio::select! {
            session = Guest::connect(stream, deadline) => match session {
                Ok(guest) => Ok(Arc::new(guest)),
                Err(GuestFault::NoHello { after_ms }) => Err(VmmError::Timeout { call: "hello", after_ms }),
                Err(fault) => Err(VmmError::Refused { call: "hello", detail: fault.to_string() }),
            },
            _exit = run.exited() => Err(VmmError::Gone),
        }
    }

    async fn console(&self, vm: VmId, history_bytes: u64) -> Result<Box<dyn Console>, VmmError> {
        Ok(Box::new(self.console_log(vm).attach(history_bytes)?))
    }

    async fn console_log(&self, vm: VmId, bytes: u64) -> Result<Vec<u8>, VmmError> {
        let (log, path) = (self.console_log(vm), self.folder(vm));
        blocking(move || log.tail(bytes).map_err(|source| VmmError::Folder { path, source })).await
    }

    async fn usage(&self, vm: VmId, machine: &Machine) -> Result<Usage, VmmError> {
        let run = self.live(vm, machine)?;
        process::usage(run.machine.pid).ok_or(VmmError::Gone)
    }

    async fn sweep(&self, known: &[VmId]) -> Result<Vec<String>, VmmError> {
        leftovers::sweep(self, known).await
    }

    async fn tear_down(&self) -> Result<(), VmmError> {
        self.inner
            .cgroups
            .remove_root()
            .map_err(|error| VmmError::Clean { what: "hearth's cgroup".to_owned(), detail: error.to_string() })
    }
}
