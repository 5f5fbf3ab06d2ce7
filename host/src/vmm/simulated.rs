//! The simulated driver: no process and no guest, but the same rules: held, released, paused, ended, adopted. For tests of everything
//! above it, for tens of thousands of VMs on one machine, and for faults drawn from a seed.
//!
//! A VM is one entry in a table ([`table`]) and a line in one file ([`notes`]); it has no folder, no task, no channel and no timer of its
//! own, unless a fault is due or somebody asked for a pace of metrics: who follows it is called from where it changes. What it reports is made up, and says so: its agent's version is `simulated`.

mod console;
mod fault;
mod guest;
mod notes;
mod outside;
mod table;

pub use fault::Faults;
#[cfg(any(test, fuzzing))]
pub(crate) use notes::fuzz;

use super::{Console, DiskPlan, Follower, MachinePlan, Tuning, Usage, Vmm, VmmError, lines::LinesWanted, outside::Outside};
use crate::guest::GuestSession;
use async_trait::async_trait;
use domain::{
    Attempt, VmId,
    host::{Capabilities, VmmFacts},
    vm::{Driver, Exit, Inspection, Machine},
};
use fault::Fault;
use notes::{Note, Notes, Phase};
use std::{path::PathBuf, sync::Arc, time::Duration};
use table::{Entry, Run, Shared};

#[derive(Debug, Clone)]
pub struct SimulatedOptions {
    pub data: PathBuf,
    pub faults: Faults,
    /// What it says that it can do; fewer, to try what follows from that.
    pub capabilities: Capabilities,
}

impl Default for SimulatedOptions {
    fn default() -> Self {
        let capabilities = Capabilities {
            pause: true,
            guest_agent: true,
            power_off_told: true,
            balloon: true,
            disk_rate_limit: true,
            network_rate_limit: true,
            metadata: true,
            memory_hotplug: true,
            ..Capabilities::NONE
        };
        Self { data: PathBuf::new(), faults: Faults::default(), capabilities }
    }
}

pub struct Simulated {
    shared: Arc<Shared>,
    faults: Faults,
    capabilities: Capabilities,
}

impl Simulated {
    /// Reads the notes of an earlier start. What was held then is gone, as a held process would be.
    pub fn new(options: SimulatedOptions) -> Result<Self, VmmError> {
        let (notes, found) = Notes::open(&options.data)?;
        let shared = Arc::new(Shared::new(notes, found));
        Ok(Self { shared, faults: options.faults, capabilities: options.capabilities })
    }

    fn kill_later(&self, vm: VmId, machine: &Machine) {
        let (shared, run, after) = (Arc::clone(&self.shared), Run::of(machine), self.faults.killed_after);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            if let Err(error) = shared.end(vm, run, Exit::Killed { signal: 9 }) {
                tracing::warn!(%vm, %error, "a simulated kill could not be noted");
            }
        });
    }

    /// How much later than it could this launch's agent says hello.
    fn late_by(&self, vm: VmId, run: Run) -> Duration {
        if self.faults.hits(Fault::HelloLate, vm, run.launch) { self.faults.hello_late_by } else { Duration::ZERO }
    }

    /// There is nothing that it could change; whether there is a machine is what it tells.
    fn told(&self, call: &'static str, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        match self.phase(vm, machine) {
            Some(Phase::Running | Phase::Paused) => Ok(()),
            Some(Phase::Held) => Err(VmmError::Refused { call, detail: "the process was not released yet".into() }),
            Some(Phase::Gone(_)) | None => Err(VmmError::Gone),
        }
    }

    fn phase(&self, vm: VmId, machine: &Machine) -> Option<Phase> {
        self.shared.look(vm, Run::of(machine), |entry| entry.phase.clone())
    }
}

#[async_trait]
impl Vmm for Simulated {
    fn facts(&self) -> VmmFacts {
        VmmFacts {
            driver: Driver::Simulated,
            version: env!("CARGO_PKG_VERSION").into(),
            acceleration: "none".into(),
            chosen_because: "it was asked for".into(),
        }
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn prepare_disk(&self, plan: &DiskPlan) -> Result<(), VmmError> {
        let base = std::fs::metadata(&plan.base).map_err(|source| VmmError::Base { path: plan.base.clone(), source })?.len();
        match plan.size_bytes {
            Some(asked) if asked < base => Err(VmmError::DiskTooSmall { asked, base }),
            _ => Ok(()),
        }
    }

    async fn launch(&self, plan: &MachinePlan, launch: Attempt) -> Result<Machine, VmmError> {
        self.clean(plan.vm).await?;
        if self.faults.hits(Fault::LaunchFails, plan.vm, launch) {
            return Err(VmmError::Spawn { detail: "a simulated fault".into() });
        }
        let machine = Machine {
            launch,
            driver: Driver::Simulated,
            // No process has it, so nobody can end the wrong one by it.
            pid: 0,
            start_ticks: fault::draw(u64::MAX, plan.vm, launch),
            executable: "simulated".into(),
            version: env!("CARGO_PKG_VERSION").into(),
        };
        let note = Note::new(plan, &machine);
        self.shared.notes.write(plan.vm, &note, &Phase::Held)?;
        self.shared.insert(plan.vm, Entry::new(note, Phase::Held));
        Ok(machine)
    }

    async fn release(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.shared.change(vm, Run::of(machine), |phase| match phase {
            Phase::Held => Ok(Some(Phase::Running)),
            Phase::Running | Phase::Paused => Ok(None),
            Phase::Gone(_) => Err(VmmError::Gone),
        })?;
        if self.faults.hits(Fault::Killed, vm, machine.launch) {
            self.kill_later(vm, machine);
        }
        Ok(())
    }

    async fn inspect(&self, vm: VmId, machine: &Machine) -> Result<Inspection, VmmError> {
        Ok(match self.phase(vm, machine) {
            Some(Phase::Held) => Inspection::Held,
            Some(Phase::Running) => Inspection::Running,
            Some(Phase::Paused) => Inspection::Paused,
            Some(Phase::Gone(exit)) => Inspection::Gone { exit },
            None => Inspection::Gone { exit: Exit::Unknown },
        })
    }

    async fn exited(&self, vm: VmId, machine: &Machine) -> Exit {
        let run = Run::of(machine);
        self.shared
            .until(|| match self.shared.look(vm, run, |entry| entry.phase.clone()) {
                Some(Phase::Gone(exit)) => Some(exit),
                Some(_) => None,
                None => Some(Exit::Unknown),
            })
            .await
    }

    fn follow(&self, vm: VmId, machine: &Machine, follower: Arc<dyn Follower>) -> bool {
        let run = Run::of(machine);
        self.shared.follow(vm, run, follower, self.late_by(vm, run));
        true
    }

    async fn pause(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.shared.change(vm, Run::of(machine), |phase| switch("stop", phase, Phase::Paused))
    }

    async fn resume(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.shared.change(vm, Run::of(machine), |phase| switch("cont", phase, Phase::Running))
    }

    async fn tune(&self, vm: VmId, machine: &Machine, tuning: &Tuning) -> Result<(), VmmError> {
        self.told("tune", vm, machine)?;
        let Some(mem_mib) = tuning.mem_mib else { return Ok(()) };
        self.shared.renote(vm, Run::of(machine), |note| note.mem_mib = mem_mib)
    }

    async fn serve_metadata(&self, machine: &Machine, plan: &MachinePlan) -> Result<(), VmmError> {
        self.told("metadata", plan.vm, machine)
    }

    async fn kill(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.shared.end(vm, Run::of(machine), Exit::Killed { signal: 15 })
    }

    async fn clean(&self, vm: VmId) -> Result<(), VmmError> {
        self.shared.remove(vm)
    }

    async fn remove(&self, vm: VmId) -> Result<(), VmmError> {
        self.clean(vm).await
    }

    async fn guest(&self, vm: VmId, machine: &Machine, deadline: Duration) -> Result<Arc<dyn GuestSession>, VmmError> {
        let run = Run::of(machine);
        let late = self.late_by(vm, run);
        let hello = async {
            let running = || match self.shared.look(vm, run, |entry| entry.phase.clone()) {
                Some(Phase::Running) => Some(true),
                Some(Phase::Held | Phase::Paused) => None,
                Some(Phase::Gone(_)) | None => Some(false),
            };
            if !self.shared.until(running).await {
                return Err(VmmError::Gone);
            }
            // The lateness is what is simulated; a sleep of nothing would still be a millisecond.
            if !late.is_zero() {
                tokio::time::sleep(late).await;
            }
            Ok(())
        };
        let after_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        tokio::time::timeout(deadline, hello).await.unwrap_or(Err(VmmError::Timeout { call: "hello", after_ms }))?;
        let session = self.shared.session(vm, run).ok_or(VmmError::Gone)?;
        Ok(session)
    }

    async fn console(&self, _vm: VmId, history_bytes: u64) -> Result<Box<dyn Console>, VmmError> {
        Ok(Box::new(console::SimulatedConsole::new(history_bytes)))
    }

    async fn console_log(&self, _vm: VmId, bytes: u64) -> Result<Vec<u8>, VmmError> {
        Ok(console::tail(bytes).to_vec())
    }

    async fn lines(&self, _vm: VmId, wanted: &LinesWanted) -> Result<Vec<u8>, VmmError> {
        Ok(console::lines(wanted).to_vec())
    }

    async fn follow_lines(&self, _vm: VmId, wanted: &LinesWanted) -> Result<Box<dyn Console>, VmmError> {
        Ok(Box::new(console::SimulatedConsole::showing(console::lines(wanted))))
    }

    async fn usage(&self, vm: VmId, machine: &Machine) -> Result<Usage, VmmError> {
        match self.phase(vm, machine) {
            None | Some(Phase::Gone(_)) => Err(VmmError::Gone),
            Some(_) => Ok(Usage::default()),
        }
    }

    async fn outside(&self, vm: VmId, machine: &Machine) -> Result<Outside, VmmError> {
        let look = |entry: &Entry| (!matches!(entry.phase, Phase::Gone(_))).then(|| outside::look(entry));
        self.shared.look(vm, Run::of(machine), look).flatten().ok_or(VmmError::Gone)
    }

    async fn sweep(&self, known: &[VmId]) -> Result<Vec<String>, VmmError> {
        let known: std::collections::HashSet<VmId> = known.iter().copied().collect();
        let unknown = self.shared.others(&known);
        let mut removed = Vec::with_capacity(unknown.len());
        for vm in unknown {
            self.clean(vm).await?;
            removed.push(format!("simulated machine of {vm}"));
        }
        Ok(removed)
    }
}

/// Between running and paused; the same twice is as good as once.
fn switch(call: &'static str, from: &Phase, to: Phase) -> Result<Option<Phase>, VmmError> {
    match from {
        Phase::Gone(_) => Err(VmmError::Gone),
        Phase::Held => Err(VmmError::Refused { call, detail: "the process was not released yet".into() }),
        Phase::Running | Phase::Paused => Ok((*from != to).then_some(to)),
    }
}
