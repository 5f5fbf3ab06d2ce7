//! The machine on which a node runs, as far as it outlives the node: disks, network interfaces, processes, files of images. And the ports
//! through which the node reaches it, with the script in between.

use super::script::Script;
use async_trait::async_trait;
use domain::{
    Attempt, ImageId, VmId,
    host::{Capabilities, VmmFacts},
    image::{Files, ImageSpec},
    vm::{Exit, Inspection, Machine},
};
use host::{
    guest::{
        Connection, ExecRequest, ExecSession, GuestFault, GuestInfo, GuestSession, InterfaceAddresses, MetricsSample,
        NetworkConfig, ShutdownKind,
    },
    image::{Copying, FileStore, ImageError, ImageStore},
    net::{Interface, NetError, Network},
    vmm::{
        Console, DiskPlan, MachinePlan, Tuning, Usage, Vmm, VmmError,
        simulated::{Simulated, SimulatedOptions},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::sync::watch;

#[derive(Default)]
pub struct World(Mutex<Things>);

#[derive(Default)]
pub struct Things {
    pub disks: BTreeSet<VmId>,
    pub taps: BTreeMap<String, VmId>,
    /// Every process that was ever made.
    pub machines: Vec<(VmId, Machine)>,
    /// What limits, balloon and disks the VM's machine has.
    pub tuned: BTreeMap<VmId, Tuning>,
    /// The name and the metadata that its guest reads.
    pub served: BTreeMap<VmId, Served>,
    /// How a process ended, where the test ended it.
    pub exits: Vec<(Machine, Exit)>,
    /// Guests whose agent does not say hello.
    pub silent: bool,
}

pub type Served = (String, Option<Box<str>>);

pub fn served(plan: &MachinePlan) -> Served {
    (plan.hostname.clone(), plan.metadata.clone())
}

impl World {
    pub fn things(&self) -> MutexGuard<'_, Things> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One life's way to the world. Like processes, the simulated machines are found by the next life.
#[derive(Clone)]
pub struct Ports {
    pub world: Arc<World>,
    pub script: Arc<Script>,
    pub driver: Arc<Simulated>,
    store: FileStore,
}

impl Ports {
    pub fn open(folder: &Path, world: &Arc<World>, script: &Arc<Script>) -> Ports {
        let options = SimulatedOptions { data: folder.into(), ..SimulatedOptions::default() };
        let driver = Arc::new(Simulated::new(options).unwrap());
        Ports { world: Arc::clone(world), script: Arc::clone(script), driver, store: FileStore::new(folder.join("images")) }
    }

    fn told(&self, machine: &Machine) -> Option<Exit> {
        self.world.things().exits.iter().find(|(ended, _)| ended == machine).map(|(_, exit)| exit.clone())
    }

    /// Ends the VM's process so that its end is told as `exit`.
    pub async fn end(&self, vm: VmId, machine: &Machine, exit: Exit) {
        self.world.things().exits.push((machine.clone(), exit));
        self.driver.kill(vm, machine).await.unwrap();
    }
}

fn vmm_fault() -> VmmError {
    VmmError::Spawn { detail: "a fault of the test".into() }
}

#[async_trait]
impl Vmm for Ports {
    fn facts(&self) -> VmmFacts {
        self.driver.facts()
    }
    fn capabilities(&self) -> Capabilities {
        self.driver.capabilities()
    }
    async fn prepare_disk(&self, plan: &DiskPlan) -> Result<(), VmmError> {
        let effect = || async {
            self.driver.prepare_disk(plan).await?;
            self.world.things().disks.insert(plan.vm);
            Ok(())
        };
        self.script.through("vmm.prepare_disk", vmm_fault, effect).await
    }
    async fn launch(&self, plan: &MachinePlan, launch: Attempt) -> Result<Machine, VmmError> {
        let effect = || async {
            if !self.world.things().disks.contains(&plan.vm) {
                return Err(VmmError::Spawn { detail: "there is no disk".into() });
            }
            if let Some(nic) = plan.nics.iter().find(|nic| !self.world.things().taps.contains_key(&nic.tap)) {
                return Err(VmmError::Network { detail: format!("there is no {}", nic.tap) });
            }
            let machine = self.driver.launch(plan, launch).await?;
            let mut things = self.world.things();
            things.machines.push((plan.vm, machine.clone()));
            things.tuned.insert(plan.vm, plan.tuning.clone());
            things.served.insert(plan.vm, served(plan));
            Ok(machine)
        };
        self.script.through("vmm.launch", vmm_fault, effect).await
    }
    async fn release(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.script.through("vmm.release", vmm_fault, || self.driver.release(vm, machine)).await
    }
    async fn inspect(&self, vm: VmId, machine: &Machine) -> Result<Inspection, VmmError> {
        let found = self.script.through("vmm.inspect", vmm_fault, || self.driver.inspect(vm, machine)).await?;
        Ok(match (found, self.told(machine)) {
            (Inspection::Gone { .. }, Some(exit)) => Inspection::Gone { exit },
            (found, _) => found,
        })
    }
    async fn exited(&self, vm: VmId, machine: &Machine) -> Exit {
        let exit = self.driver.exited(vm, machine).await;
        self.told(machine).unwrap_or(exit)
    }
    async fn pause(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.script.through("vmm.pause", vmm_fault, || self.driver.pause(vm, machine)).await
    }
    async fn resume(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.script.through("vmm.resume", vmm_fault, || self.driver.resume(vm, machine)).await
    }
    async fn tune(&self, vm: VmId, machine: &Machine, tuning: &Tuning) -> Result<(), VmmError> {
        let effect = || async {
            self.driver.tune(vm, machine, tuning).await?;
            self.world.things().tuned.insert(vm, tuning.clone());
            Ok(())
        };
        self.script.through("vmm.tune", vmm_fault, effect).await
    }
    async fn serve_metadata(&self, machine: &Machine, plan: &MachinePlan) -> Result<(), VmmError> {
        let effect = || async {
            self.driver.serve_metadata(machine, plan).await?;
            self.world.things().served.insert(plan.vm, served(plan));
            Ok(())
        };
        self.script.through("vmm.serve_metadata", vmm_fault, effect).await
    }
    async fn kill(&self, vm: VmId, machine: &Machine) -> Result<(), VmmError> {
        self.script.through("vmm.kill", vmm_fault, || self.driver.kill(vm, machine)).await
    }
    async fn clean(&self, vm: VmId) -> Result<(), VmmError> {
        self.script.through("vmm.clean", vmm_fault, || self.driver.clean(vm)).await
    }
    async fn remove(&self, vm: VmId) -> Result<(), VmmError> {
        let effect = || async {
            self.world.things().disks.remove(&vm);
            self.driver.remove(vm).await
        };
        self.script.through("vmm.remove", vmm_fault, effect).await
    }
    async fn guest(&self, vm: VmId, machine: &Machine, deadline: Duration) -> Result<Arc<dyn GuestSession>, VmmError> {
        if self.world.things().silent {
            tokio::time::sleep(deadline).await;
            return Err(VmmError::Timeout { call: "hello", after_ms: 0 });
        }
        let inner = self.driver.guest(vm, machine, deadline).await?;
        Ok(Arc::new(Session { inner, script: Arc::clone(&self.script) }))
    }
    async fn console(&self, vm: VmId, history_bytes: u64) -> Result<Box<dyn Console>, VmmError> {
        self.driver.console(vm, history_bytes).await
    }
    async fn console_log(&self, vm: VmId, bytes: u64) -> Result<Vec<u8>, VmmError> {
        self.driver.console_log(vm, bytes).await
    }
    async fn usage(&self, vm: VmId, machine: &Machine) -> Result<Usage, VmmError> {
        self.driver.usage(vm, machine).await
    }
    async fn sweep(&self, known: &[VmId]) -> Result<Vec<String>, VmmError> {
        let effect = || async {
            let removed = self.driver.sweep(known).await?;
            self.world.things().disks.retain(|vm| known.contains(vm));
            Ok(removed)
        };
        self.script.through("vmm.sweep", vmm_fault, effect).await
    }
}

fn net_fault() -> NetError {
    NetError::Rules { detail: "a fault of the test".into() }
}

#[async_trait]
impl Network for Ports {
    async fn ensure(&self) -> Result<(), NetError> {
        Ok(())
    }
    async fn attach(&self, vm: VmId, tap: &str) -> Result<(), NetError> {
        let effect = || async {
            self.world.things().taps.insert(tap.to_owned(), vm);
            Ok(())
        };
        self.script.through("network.attach", net_fault, effect).await
    }
    async fn bind(&self, vm: VmId, interfaces: &[Interface]) -> Result<(), NetError> {
        let effect = || async {
            match interfaces.iter().all(|interface| self.world.things().taps.get(&interface.tap) == Some(&vm)) {
                true => Ok(()),
                false => Err(net_fault()),
            }
        };
        self.script.through("network.bind", net_fault, effect).await
    }
    async fn detach(&self, tap: &str) -> Result<(), NetError> {
        let effect = || async {
            self.world.things().taps.remove(tap);
            Ok(())
        };
        self.script.through("network.detach", net_fault, effect).await
    }
    async fn sweep(&self, known: &[String]) -> Result<Vec<String>, NetError> {
        let effect = || async {
            self.world.things().taps.retain(|tap, _| known.contains(tap));
            Ok(Vec::new())
        };
        self.script.through("network.sweep", net_fault, effect).await
    }
    async fn tear_down(&self) -> Result<(), NetError> {
        Ok(())
    }
}

fn image_fault() -> ImageError {
    ImageError::Store { path: PathBuf::from("store"), source: std::io::Error::other("a fault of the test") }
}

#[async_trait]
impl ImageStore for Ports {
    async fn import(&self, image: ImageId, spec: &ImageSpec, copying: &Arc<Copying>) -> Result<Files, ImageError> {
        // A second import is another copy, with a count of its own.
        let again = std::sync::OnceLock::new();
        let effect = || async {
            let fresh = Arc::default();
            let copying = if again.set(()).is_ok() { copying } else { &fresh };
            self.store.import(image, spec, copying).await
        };
        self.script.through("images.import", image_fault, effect).await
    }
    async fn remove(&self, image: ImageId) -> Result<(), ImageError> {
        self.script.through("images.remove", image_fault, || self.store.remove(image)).await
    }
    fn path(&self, image: ImageId) -> PathBuf {
        self.store.path(image)
    }
    fn initrd_path(&self, image: ImageId) -> PathBuf {
        self.store.initrd_path(image)
    }
    async fn sweep(&self, known: &[ImageId]) -> Result<Vec<String>, ImageError> {
        self.script.through("images.sweep", image_fault, || self.store.sweep(known)).await
    }
}

/// The guest's agent: what is asked of it by a procedure is an effect like others.
#[derive(Clone)]
struct Session {
    inner: Arc<dyn GuestSession>,
    script: Arc<Script>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl GuestSession for Session {
    fn info(&self) -> GuestInfo {
        self.inner.info()
    }
    async fn ping(&self) -> Result<Duration, GuestFault> {
        self.inner.ping().await
    }
    async fn exec(&self, request: ExecRequest) -> Result<ExecSession, GuestFault> {
        self.inner.exec(request).await
    }
    async fn connect(&self, port: u16) -> Result<Connection, GuestFault> {
        self.inner.connect(port).await
    }
    fn metrics(&self) -> watch::Receiver<Option<MetricsSample>> {
        self.inner.metrics()
    }
    async fn metrics_interval(&self, interval: Option<Duration>) -> Result<(), GuestFault> {
        self.inner.metrics_interval(interval).await
    }
    fn addresses(&self) -> watch::Receiver<Vec<InterfaceAddresses>> {
        self.inner.addresses()
    }
    async fn set_clock(&self, now: SystemTime) -> Result<(), GuestFault> {
        self.inner.set_clock(now).await
    }
    async fn add_entropy(&self, bytes: &[u8]) -> Result<(), GuestFault> {
        self.inner.add_entropy(bytes).await
    }
    async fn configure_network(&self, config: NetworkConfig) -> Result<(), GuestFault> {
        self.inner.configure_network(config).await
    }
    async fn shutdown(&self, kind: ShutdownKind, deadline: Duration) -> Result<(), GuestFault> {
        let effect = || async {
            match self.inner.shutdown(kind, deadline).await {
                // Asked twice, it is already on its way.
                Ok(()) | Err(GuestFault::Closed) => Ok(()),
                Err(fault) => Err(fault),
            }
        };
        self.script.through("guest.shutdown", || GuestFault::Closed, effect).await
    }
    async fn closed(&self) -> GuestFault {
        self.inner.closed().await
    }
}
