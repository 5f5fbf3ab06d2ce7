//! The simulated driver, with what a test wants to see of it or to be in its place.

use async_trait::async_trait;
use domain::{
    Attempt, VmId,
    host::{Capabilities, VmmFacts},
    vm::{Exit, Inspection, Machine},
};
use host::{
    guest::{Connection, GuestFault, GuestSession, Port},
    vmm::{
        Console, DiskPlan, MachinePlan, Tuning, Usage, Vmm, VmmError,
        confinement::Confinement,
        simulated::{Simulated, SimulatedOptions},
    },
};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{net::UnixStream, sync::mpsc};

/// The vsock port at which the test itself listens.
pub const OPEN: u32 = 5000;

pub struct Driver {
    pub inner: Arc<Simulated>,
    /// How often it was asked how a VM is confined.
    pub looks: Arc<AtomicUsize>,
    /// The guest's ends of connections to [`OPEN`]; with it there is a vsock.
    pub ports: Option<mpsc::UnboundedSender<UnixStream>>,
    /// As long as it is so, metadata can't be told.
    pub is_deaf: Arc<AtomicBool>,
    /// How often metadata was told.
    pub told: Arc<AtomicUsize>,
}

impl Driver {
    pub fn new(data: PathBuf) -> Driver {
        let inner = Simulated::new(SimulatedOptions { data, ..SimulatedOptions::default() }).unwrap();
        Driver { inner: Arc::new(inner), looks: Arc::default(), ports: None, is_deaf: Arc::default(), told: Arc::default() }
    }
}

#[async_trait]
impl Vmm for Driver {
    async fn confinement(&self, _: VmId, _: &Machine) -> Result<Option<Confinement>, VmmError> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        Ok(None)
    }
    fn capabilities(&self) -> Capabilities {
        let own = self.inner.capabilities();
        Capabilities { vsock: self.ports.is_some() || own.vsock, ..own }
    }
    async fn vsock(&self, vm: VmId, machine: &Machine, port: u32, _: Duration) -> Result<Connection, GuestFault> {
        let Some(ports) = self.ports.as_ref().filter(|_| port == OPEN) else {
            return Err(GuestFault::NobodyListens { port: Port::Vsock(port) });
        };
        let (near, far) = UnixStream::pair().unwrap();
        let _ = ports.send(far);
        let (driver, machine) = (Arc::clone(&self.inner), machine.clone());
        Ok(Connection::over(near, async move { drop(driver.exited(vm, &machine).await) }))
    }
    fn facts(&self) -> VmmFacts {
        self.inner.facts()
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
    async fn serve_metadata(&self, machine: &Machine, plan: &MachinePlan) -> Result<(), VmmError> {
        if self.is_deaf.load(Ordering::Relaxed) {
            return Err(VmmError::Timeout { call: "PUT /mmds", after_ms: 5000 });
        }
        self.inner.serve_metadata(machine, plan).await?;
        self.told.fetch_add(1, Ordering::Relaxed);
        Ok(())
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
