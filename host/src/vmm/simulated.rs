//! The simulated driver: no process and no guest, but the same rules: held, released, paused, ended, adopted. For tests of everything
//! above it, for tens of thousands of VMs on one machine, and for faults drawn from a seed.
//!
//! A VM is one entry in a table and a line in one file ([`notes`]); it has no folder, no task and no timer of its own, unless a fault is
//! due or somebody asked for a pace of metrics. What it reports is made up, and says so: its agent's version is `simulated`.

mod console;
mod fault;
mod guest;
mod notes;

pub use fault::Faults;
#[cfg(any(test, fuzzing))]
pub(crate) use notes::fuzz;

use super::{Capabilities, Console, DiskPlan, MachinePlan, Usage, Vmm, VmmError};
use crate::guest::GuestSession;
use async_trait::async_trait;
use domain::{
    Attempt, VmId,
    host::VmmFacts,
    vm::{Driver, Exit, Inspection, Machine},
};
use fault::Fault;
use guest::SimulatedGuest;
use notes::{Note, Notes, Phase};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

#[derive(Debug, Clone, Default)]
pub struct SimulatedOptions {
    pub data: PathBuf,
    pub faults: Faults,
}

pub struct Simulated {
    shared: Arc<Shared>,
    faults: Faults,
}

struct Shared {
    notes: Notes,
    vms: Mutex<HashMap<VmId, watch::Sender<Simulation>>>,
}

/// A VM as far as there is one.
#[derive(Debug, Clone)]
pub struct Simulation {
    note: Arc<Note>,
    phase: Phase,
    /// The newest session's number; older ones are over.
    session: u64,
}

impl Shared {
    fn vms(&self) -> MutexGuard<'_, HashMap<VmId, watch::Sender<Simulation>>> {
        self.vms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, vm: VmId, machine: &Machine) -> Option<watch::Receiver<Simulation>> {
        let vms = self.vms();
        let sender = vms.get(&vm)?;
        let same = sender.borrow().note.is_of(machine);
        same.then(|| sender.subscribe())
    }

    /// Moves to the phase that `next` gives for the present one; `None` leaves it. The note is written first.
    fn change(
        &self,
        vm: VmId,
        machine: &Machine,
        next: impl FnOnce(&Phase) -> Result<Option<Phase>, VmmError>,
    ) -> Result<(), VmmError> {
        let vms = self.vms();
        let Some(sender) = vms.get(&vm).filter(|sender| sender.borrow().note.is_of(machine)) else { return Err(VmmError::Gone) };
        let next = next(&sender.borrow().phase)?;
        let Some(phase) = next else { return Ok(()) };
        let note = Arc::clone(&sender.borrow().note);
        self.notes.write(vm, &note, &phase)?;
        sender.send_modify(|simulation| simulation.phase = phase);
        Ok(())
    }

    /// Ends it; one that has ended already, or is not there, stays so.
    fn end(&self, vm: VmId, machine: &Machine, exit: Exit) -> Result<(), VmmError> {
        match self.change(vm, machine, |phase| Ok((!matches!(phase, Phase::Gone(_))).then_some(Phase::Gone(exit)))) {
            Err(VmmError::Gone) => Ok(()),
            result => result,
        }
    }
}

impl Simulated {
    /// Reads the notes of an earlier start. What was held then is gone, as a held process would be.
    pub fn new(options: SimulatedOptions) -> Result<Self, VmmError> {
        let (notes, found) = Notes::open(&options.data)?;
        let entry = |(vm, note, phase)| (vm, watch::Sender::new(Simulation { note: Arc::new(note), phase, session: 0 }));
        let vms = found.into_iter().map(entry).collect();
        Ok(Self { shared: Arc::new(Shared { notes, vms: Mutex::new(vms) }), faults: options.faults })
    }

    fn kill_later(&self, vm: VmId, machine: &Machine) {
        let (shared, machine, after) = (Arc::clone(&self.shared), machine.clone(), self.faults.killed_after);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            if let Err(error) = shared.end(vm, &machine, Exit::Killed { signal: 9 }) {
                tracing::warn!(%vm, %error, "a simulated kill could not be noted");
            }
        });
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
        Capabilities { pause: true, serial_input: false, guest_agent: true }
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
        let simulation = Simulation { note: Arc::new(note), phase: Phase::Held, session: 0 };
        self.shared.vms().insert(plan.vm, watch::Sender::new(simulation));
        Ok(machine)
    }

    async fn release(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.shared.change(vm, machine, |phase| match phase {
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
        let phase = self.shared.watch(vm, machine).map(|watch| watch.borrow().phase.clone());
        Ok(match phase {
            Some(Phase::Held) => Inspection::Held,
            Some(Phase::Running) => Inspection::Running,
            Some(Phase::Paused) => Inspection::Paused,
            Some(Phase::Gone(exit)) => Inspection::Gone { exit },
            None => Inspection::Gone { exit: Exit::Unknown },
        })
    }

    async fn exited(&self, vm: VmId, machine: &Machine) -> Exit {
        let Some(mut watch) = self.shared.watch(vm, machine) else { return Exit::Unknown };
        match watch.wait_for(|simulation| matches!(simulation.phase, Phase::Gone(_))).await.map(|told| told.phase.clone()) {
            Ok(Phase::Gone(exit)) => exit,
            _ => Exit::Unknown,
        }
    }

    async fn pause(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.shared.change(vm, machine, |phase| switch("stop", phase, Phase::Paused))
    }

    async fn resume(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.shared.change(vm, machine, |phase| switch("cont", phase, Phase::Running))
    }

    async fn kill(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.shared.end(vm, machine, Exit::Killed { signal: 15 })
    }

    async fn clean(&self, vm: VmId) -> Result<(), VmmError> {
        let Some(sender) = self.shared.vms().remove(&vm) else { return Ok(()) };
        self.shared.notes.forget(vm)?;
        // Whoever still watches the older launch is told.
        sender.send_if_modified(|simulation| {
            let ends = !matches!(simulation.phase, Phase::Gone(_));
            if ends {
                simulation.phase = Phase::Gone(Exit::Unknown);
            }
            ends
        });
        Ok(())
    }

    async fn remove(&self, vm: VmId) -> Result<(), VmmError> {
        self.clean(vm).await
    }

    async fn guest(&self, vm: VmId, machine: &Machine, deadline: Duration) -> Result<Arc<dyn GuestSession>, VmmError> {
        let mut watch = self.shared.watch(vm, machine).ok_or(VmmError::Gone)?;
        let late =
            if self.faults.hits(Fault::HelloLate, vm, machine.launch) { self.faults.hello_late_by } else { Duration::ZERO };
        let hello = async {
            let found = watch.wait_for(|simulation| matches!(simulation.phase, Phase::Running | Phase::Gone(_))).await;
            let gone = found.map_or(true, |simulation| matches!(simulation.phase, Phase::Gone(_)));
            if gone {
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
        let session = {
            let vms = self.shared.vms();
            let sender = vms.get(&vm).ok_or(VmmError::Gone)?;
            sender.send_modify(|simulation| simulation.session += 1);
            sender.borrow().session
        };
        Ok(Arc::new(SimulatedGuest::new(Arc::clone(&self.shared), vm, machine.clone(), watch, session)))
    }

    async fn console(&self, _vm: VmId, history_bytes: u64) -> Result<Box<dyn Console>, VmmError> {
        Ok(Box::new(console::SimulatedConsole::new(history_bytes)))
    }

    async fn console_log(&self, _vm: VmId, bytes: u64) -> Result<Vec<u8>, VmmError> {
        Ok(console::tail(bytes).to_vec())
    }

    async fn usage(&self, vm: VmId, machine: &Machine) -> Result<Usage, VmmError> {
        match self.shared.watch(vm, machine).map(|watch| watch.borrow().phase.clone()) {
            None | Some(Phase::Gone(_)) => Err(VmmError::Gone),
            Some(_) => Ok(Usage::default()),
        }
    }

    async fn sweep(&self, known: &[VmId]) -> Result<Vec<String>, VmmError> {
        let known: std::collections::HashSet<VmId> = known.iter().copied().collect();
        let unknown: Vec<VmId> = self.shared.vms().keys().filter(|vm| !known.contains(vm)).copied().collect();
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
