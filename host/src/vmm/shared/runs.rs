//! The machines that a driver knows: those it launched and those it adopted, and their consoles.

use super::super::{
    Console, Usage, VmmError,
    confinement::{self, Confinement},
    lines::LinesWanted,
    outside::Outside,
};
use super::console::{ConsoleLog, Manner};
use super::gate::Gate;
use super::hold::Held;
use super::run::{Nature, Run, lock};
use super::{Ground, blocking, layout, leftovers, process};
use domain::{
    VmId,
    vm::{Exit, Inspection, Machine},
};
use nix::libc;
use std::{
    collections::HashMap,
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Until it can be told again whether a process is there.
const WATCH_AGAIN: Duration = Duration::from_secs(1);

pub struct Runs {
    ground: Arc<Ground>,
    nature: Nature,
    manner: Manner,
    /// Whether the process of that record runs the driver's VMM, and not by chance something else.
    is_vmm: fn(&Machine) -> bool,
    runs: Mutex<HashMap<VmId, Arc<Run>>>,
    consoles: Mutex<HashMap<VmId, Arc<ConsoleLog>>>,
}

impl Runs {
    pub fn new(ground: Arc<Ground>, nature: Nature, manner: Manner, is_vmm: fn(&Machine) -> bool) -> Self {
        Self { ground, nature, manner, is_vmm, runs: Mutex::default(), consoles: Mutex::default() }
    }

    fn log(&self, vm: VmId) -> Arc<ConsoleLog> {
        Arc::clone(lock(&self.consoles).entry(vm).or_insert_with(|| ConsoleLog::new(self.ground.folder(vm), self.manner)))
    }

    /// See [`super::super::Vmm::console`].
    pub fn console(&self, vm: VmId, history_bytes: u64) -> Result<Box<dyn Console>, VmmError> {
        Ok(Box::new(self.log(vm).attach(&LinesWanted::plain(history_bytes))?))
    }

    /// See [`super::super::Vmm::console_log`].
    pub async fn console_log(&self, vm: VmId, bytes: u64) -> Result<Vec<u8>, VmmError> {
        let (log, path) = (self.log(vm), self.ground.folder(vm));
        blocking(move || log.tail(bytes).map_err(|source| VmmError::Folder { path, source })).await
    }

    /// See [`super::super::Vmm::follow_lines`].
    pub fn follow_lines(&self, vm: VmId, wanted: &LinesWanted) -> Result<Box<dyn Console>, VmmError> {
        Ok(Box::new(self.log(vm).attach(wanted)?))
    }

    /// See [`super::super::Vmm::lines`].
    pub async fn lines(&self, vm: VmId, wanted: LinesWanted) -> Result<Vec<u8>, VmmError> {
        let (log, path) = (self.log(vm), self.ground.folder(vm));
        blocking(move || log.lines(&wanted).map_err(|source| VmmError::Folder { path, source })).await
    }

    fn watch(&self, vm: VmId, machine: &Machine, pidfd: OwnedFd, gate: Option<Gate>) -> Result<Arc<Run>, VmmError> {
        Run::watch(machine.clone(), pidfd, gate, self.ground.folder(vm), self.log(vm), self.nature, self.ground.cgroups.group(vm))
    }

    /// Watches the machine that `make` makes and holds. `make` may block.
    pub async fn hold(
        &self,
        vm: VmId,
        make: impl FnOnce() -> Result<Held, VmmError> + Send + 'static,
    ) -> Result<Machine, VmmError> {
        // Before something new stands in it: what is there already was seen, if late.
        let log = self.log(vm);
        let look_and_make = move || {
            log.look();
            make()
        };
        let (machine, pidfd, gate) = blocking(look_and_make).await?;
        let run = self.watch(vm, &machine, pidfd, Some(gate))?;
        lock(&self.runs).insert(vm, run);
        Ok(machine)
    }

    /// The run of that record: known, or adopted if the process is there and runs the VMM.
    pub fn find(&self, vm: VmId, machine: &Machine) -> Result<Option<Arc<Run>>, VmmError> {
        let mut runs = lock(&self.runs);
        if let Some(run) = runs.get(&vm).filter(|run| run.machine == *machine) {
            return Ok(Some(Arc::clone(run)));
        }
        let Some(pidfd) = process::find(machine)? else { return Ok(None) };
        if !(self.is_vmm)(machine) {
            return Ok(None);
        }
        let run = self.watch(vm, machine, pidfd, None)?;
        runs.insert(vm, Arc::clone(&run));
        Ok(Some(run))
    }

    /// As [`Self::find`], for what only a live machine can do.
    pub fn live(&self, vm: VmId, machine: &Machine) -> Result<Arc<Run>, VmmError> {
        self.find(vm, machine)?.filter(|run| run.exit().is_none()).ok_or(VmmError::Gone)
    }

    /// As [`Self::live`], for what a held one can't do.
    pub fn released(&self, vm: VmId, machine: &Machine, call: &'static str) -> Result<Arc<Run>, VmmError> {
        let run = self.live(vm, machine)?;
        if run.is_held() {
            return Err(VmmError::Refused { call, detail: "the process was not released yet".into() });
        }
        Ok(run)
    }

    /// See [`super::super::Vmm::inspect`]. `ask`: what the VMM itself says, for which is waited only where it runs; `Gone` from it is waited
    /// for `within`, under the name of that `call`.
    pub async fn inspect(
        &self,
        vm: VmId,
        machine: &Machine,
        ask: impl Future<Output = Result<Inspection, VmmError>>,
        call: &'static str,
        within: Duration,
    ) -> Result<Inspection, VmmError> {
        let Some(run) = self.find(vm, machine)? else {
            return Ok(Inspection::Gone { exit: self.told_exit(vm, machine).await? });
        };
        if run.is_held() && run.exit().is_none() {
            return Ok(Inspection::Held);
        }
        match ask.await {
            // The process ended between two looks; how, is told in a moment.
            Err(VmmError::Gone) => match tokio::time::timeout(within, run.exited()).await {
                Ok(exit) => Ok(Inspection::Gone { exit }),
                Err(_) => Err(VmmError::Timeout { call, after_ms: within.as_millis() as u64 }),
            },
            told => told,
        }
    }

    /// See [`super::super::Vmm::usage`].
    pub fn usage(&self, vm: VmId, machine: &Machine) -> Result<Usage, VmmError> {
        let run = self.live(vm, machine)?;
        process::usage(run.machine.pid).ok_or(VmmError::Gone)
    }

    /// What the kernel tells of a live process. Errors: `Gone`.
    pub fn outside(&self, vm: VmId, machine: &Machine) -> Result<Outside, VmmError> {
        let run = self.live(vm, machine)?;
        let group = self.ground.cgroups.group(vm);
        let process = process::facts(run.machine.pid, group.as_deref()).ok_or(VmmError::Gone)?;
        Ok(Outside { process: Some(process), ..Outside::default() })
    }

    /// How a live process is confined. Errors: `Gone`; `Short`; `Refused` where it may not be looked at.
    pub async fn confinement(&self, vm: VmId, machine: &Machine) -> Result<Confinement, VmmError> {
        let run = self.live(vm, machine)?;
        let looked = blocking(move || confinement::look(run.machine.pid).map_err(cant_look)).await;
        // What was looked at may have been another's process by then, if this one has ended.
        self.live(vm, machine).and(looked)
    }

    /// How a machine ended that is not there any more.
    async fn told_exit(&self, vm: VmId, machine: &Machine) -> Result<Exit, VmmError> {
        leftovers::told_exit(&self.ground, self.nature, vm, machine).await
    }

    /// See [`super::super::Vmm::exited`].
    pub async fn exited(&self, vm: VmId, machine: &Machine) -> Exit {
        loop {
            let told = match self.find(vm, machine) {
                Ok(Some(run)) => return run.exited().await,
                Ok(None) => self.told_exit(vm, machine).await,
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

    /// See [`super::super::Vmm::kill`].
    pub async fn kill(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        match self.find(vm, machine)? {
            Some(run) => run.kill().await,
            None => Ok(()),
        }
    }

    /// Ends what is known of the VM, and then what its folder and its cgroup tell of; removes these files of its folder.
    pub async fn clean(&self, vm: VmId, files: &[&str]) -> Result<(), VmmError> {
        let known = lock(&self.runs).remove(&vm);
        if let Some(run) = known {
            run.replace_session(None);
            run.kill().await?;
        }
        leftovers::clean(&self.ground, vm, files).await
    }

    /// Removes the VM's folder with all that is in it, and forgets its console. Nothing of it may run any more.
    pub async fn remove_folder(&self, vm: VmId) -> Result<(), VmmError> {
        lock(&self.consoles).remove(&vm);
        leftovers::remove_folder(&self.ground, vm).await
    }
}

fn cant_look(error: io::Error) -> VmmError {
    let gone = error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH);
    let refused = || VmmError::Refused { call: "confinement", detail: format!("its process can't be looked at: {error}") };
    layout::short_or(&error, if gone { VmmError::Gone } else { refused() })
}
