//! How often the driver is asked for what no record keeps: not for an answer that is not needed.

use crate::bench::Bench;
use async_trait::async_trait;
use axum::body::Body;
use domain::{
    Attempt, VmId,
    host::{Capabilities, VmmFacts},
    vm::{Exit, Inspection, Machine},
};
use host::{
    guest::GuestSession,
    vmm::{
        Console, DiskPlan, MachinePlan, Tuning, Usage, Vmm, VmmError,
        confinement::Confinement,
        simulated::{Simulated, SimulatedOptions},
    },
};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The simulated driver, whose looks at how a VM is confined are counted.
struct Counting {
    inner: Simulated,
    looks: Arc<AtomicUsize>,
}

#[async_trait]
impl Vmm for Counting {
    async fn confinement(&self, _: VmId, _: &Machine) -> Result<Option<Confinement>, VmmError> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        Ok(None)
    }
    fn facts(&self) -> VmmFacts {
        self.inner.facts()
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    async fn prepare_disk(&self, plan: &DiskPlan) -> Result<(), VmmError> {
        self.inner.prepare_disk(plan).await
    }
    async fn launch(&self, plan: &MachinePlan, launch: Attempt) -> Result<Machine, VmmError> {
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
        self.inner.pause(vm, machine).await
    }
    async fn resume(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.inner.resume(vm, machine).await
    }
    async fn tune(&self, vm: VmId, machine: &Machine, tuning: &Tuning) -> Result<(), VmmError> {
        self.inner.tune(vm, machine, tuning).await
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

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_has_costs_no_look_at_the_process() {
    let looks: Arc<AtomicUsize> = Arc::default();
    let counted = Arc::clone(&looks);
    let bench = Bench::driven(|data| {
        let options = SimulatedOptions { data, ..SimulatedOptions::default() };
        Arc::new(Counting { inner: Simulated::new(options).unwrap(), looks: counted })
    })
    .await;
    let mut vm = bench.vm("a");
    vm["start"] = json!(true);
    let answer = bench.post("/v1/vms?wait=30", &vm).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    let ask = async |known: &str| {
        let before = looks.load(Ordering::Relaxed);
        let answer = bench.ask("GET", "/v1/vms/a", &[("if-none-match", known)], Body::empty()).await;
        (answer.status.as_u16(), looks.load(Ordering::Relaxed) - before)
    };
    assert_eq!(ask("\"0\"").await, (200, 1));
    assert_eq!(ask("*").await, (304, 0));
}
