//! A driver one of whose calls waits until it is let through, and that can be told to refuse some. Everything else is the simulated driver's.

use crate::lab::{Lab, until, vm, who};
use actors::{Accepted, Node};
use async_trait::async_trait;
use domain::{
    Attempt, VmId,
    host::{Capabilities, VmmFacts},
    vm::{Exit, Inspection, Machine, Vm},
};
use host::{
    guest::GuestSession,
    vmm::{Console, DiskPlan, MachinePlan, Tuning, Usage, Vmm, VmmError, simulated::Simulated},
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::watch;

/// Which call waits, or is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    PrepareDisk,
    Launch,
    Pause,
    Tune,
    Metadata,
    Guest,
}

pub struct Gate {
    inner: Arc<Simulated>,
    at: At,
    open: watch::Sender<bool>,
    pub waiting: watch::Sender<u32>,
    /// Balloons of machines, in the order in which they were told.
    pub balloons: Mutex<Vec<u32>>,
    pub refuses: Mutex<Vec<At>>,
}

/// A node, and a VM `a` that it starts, whose machine is being made until the gate is opened.
pub async fn launching(lab: &Lab) -> (Arc<Gate>, Node, Accepted<Arc<Vm>>) {
    let gate = Gate::shut(lab.driver());
    let node = lab.start_with(gate.clone()).await;
    lab.add_images(&node).await;
    let accepted = node.create_vm(vm("a", true), who()).await.unwrap();
    until("the machine is being made", || *gate.waiting.borrow() == 1).await;
    (gate, node, accepted)
}

impl Gate {
    pub fn shut(inner: Arc<Simulated>) -> Arc<Gate> {
        Gate::shut_at(At::Launch, inner)
    }

    pub fn shut_at(at: At, inner: Arc<Simulated>) -> Arc<Gate> {
        let (open, waiting) = (watch::Sender::new(false), watch::Sender::new(0));
        Arc::new(Gate { inner, at, open, waiting, balloons: Mutex::default(), refuses: Mutex::default() })
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }

    fn judge(&self, at: At, call: &'static str) -> Result<(), VmmError> {
        let refused = self.refuses.lock().unwrap().contains(&at);
        if refused { Err(VmmError::Refused { call, detail: "told to".into() }) } else { Ok(()) }
    }

    async fn pass(&self, at: At) {
        if self.at == at {
            self.waiting.send_modify(|waiting| *waiting += 1);
            let _ = self.open.subscribe().wait_for(|open| *open).await;
        }
    }
}

#[async_trait]
impl Vmm for Gate {
    fn facts(&self) -> VmmFacts {
        self.inner.facts()
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    async fn prepare_disk(&self, plan: &DiskPlan) -> Result<(), VmmError> {
        self.pass(At::PrepareDisk).await;
        self.inner.prepare_disk(plan).await
    }
    async fn launch(&self, plan: &MachinePlan, launch: Attempt) -> Result<Machine, VmmError> {
        self.pass(At::Launch).await;
        self.inner.launch(plan, launch).await
    }
    async fn release(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.inner.release(vm, machine).await
    }
    async fn inspect(&self, vm: VmId, machine: &Machine) -> Result<Inspection, VmmError> {
        self.inner.inspect(vm, machine).await
    }
    async fn exited(&self, vm: VmId, machine: &Machine) -> Exit {
        self.inner.exited(vm, machine).await
    }
    async fn pause(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.pass(At::Pause).await;
        self.inner.pause(vm, machine).await
    }
    async fn resume(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.inner.resume(vm, machine).await
    }
    async fn tune(&self, vm: VmId, machine: &Machine, tuning: &Tuning) -> Result<(), VmmError> {
        self.pass(At::Tune).await;
        self.judge(At::Tune, "tune")?;
        self.balloons.lock().unwrap().push(tuning.balloon_mib);
        self.inner.tune(vm, machine, tuning).await
    }
    async fn serve_metadata(&self, machine: &Machine, plan: &MachinePlan) -> Result<(), VmmError> {
        self.judge(At::Metadata, "metadata")?;
        self.inner.serve_metadata(machine, plan).await
    }
    async fn kill(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.inner.kill(vm, machine).await
    }
    async fn clean(&self, vm: VmId) -> Result<(), VmmError> {
        self.inner.clean(vm).await
    }
    async fn remove(&self, vm: VmId) -> Result<(), VmmError> {
        self.inner.remove(vm).await
    }
    async fn guest(&self, vm: VmId, machine: &Machine, deadline: Duration) -> Result<Arc<dyn GuestSession>, VmmError> {
        self.pass(At::Guest).await;
        self.inner.guest(vm, machine, deadline).await
    }
    async fn console(&self, vm: VmId, history_bytes: u64) -> Result<Box<dyn Console>, VmmError> {
        self.inner.console(vm, history_bytes).await
    }
    async fn console_log(&self, vm: VmId, bytes: u64) -> Result<Vec<u8>, VmmError> {
        self.inner.console_log(vm, bytes).await
    }
    async fn usage(&self, vm: VmId, machine: &Machine) -> Result<Usage, VmmError> {
        self.inner.usage(vm, machine).await
    }
    async fn sweep(&self, known: &[VmId]) -> Result<Vec<String>, VmmError> {
        self.inner.sweep(known).await
    }
}
