//! A node on a temporary journal with simulated machines, and waiting for what should come true. Owns no assertion of a test.

// Helpers of tests are not seen as tests by the lint, and no test binary uses all of them.
#![allow(clippy::unwrap_used, dead_code)]

use actors::{
    Accepted, CommandError, HostProbe, NewImage, NewVm, NewWebhook, Node, Parts, Ports, Who, decode_event, view::VmView,
    webhook::WebhookPorts,
};
use async_trait::async_trait;
use domain::{
    ImageId, Labels, Name, OperationId, VmId,
    event::Event,
    host::{Facts, VmmFacts},
    image::{ImageKind, ImageSpec},
    ipam::Subnet,
    operation::{Operation, Status},
    vm::{Command, Driver, RestartPolicy, StopMode, Vm, VmSpec},
    webhook::{Filter, WebhookSpec},
};
use host::{
    image::{FileStore, ImageStore},
    secret::Secret,
    vmm::{
        Vmm,
        simulated::{Simulated, SimulatedOptions},
    },
};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::Duration,
};
use storage::{Journal, Options};

/// Far more than anything here takes; a wait that reaches it has failed.
pub const SOON: Duration = Duration::from_secs(20);
/// Between two looks at a predicate.
const LOOK: Duration = Duration::from_millis(2);

pub struct Lab {
    pub dir: tempfile::TempDir,
    pub subnet: &'static str,
    pub mem_mib: u64,
    pub webhooks: WebhookPorts,
}

struct Machine(u64);

#[async_trait]
impl HostProbe for Machine {
    async fn facts(&self) -> Facts {
        let vmm = VmmFacts {
            driver: Driver::Simulated,
            version: "0".into(),
            acceleration: "none".into(),
            chosen_because: "a test wants it".into(),
        };
        Facts {
            hostname: "lab".into(),
            kernel: "6".into(),
            architecture: "x86_64".into(),
            cpu_model: "none".into(),
            cpus: 1,
            mem_mib: self.0,
            vm_vcpus: 1_000_000,
            vm_mem_mib: self.0,
            hearth_version: "0".into(),
            vmm,
            network_problem: None,
            problems: Vec::new(),
            capabilities: SimulatedOptions::default().capabilities,
        }
    }
}

impl Lab {
    pub fn new() -> Lab {
        Lab { dir: tempfile::tempdir().unwrap(), subnet: "10.77.0.0/16", mem_mib: 1 << 20, webhooks: WebhookPorts::none() }
    }

    pub fn at(path: &Path) -> Lab {
        Lab { dir: tempfile::tempdir_in(path).unwrap(), ..Lab::new() }
    }

    pub fn driver(&self) -> Arc<Simulated> {
        let options = SimulatedOptions { data: self.dir.path().into(), ..SimulatedOptions::default() };
        Arc::new(Simulated::new(options).unwrap())
    }

    pub fn journal(&self) -> Journal {
        Journal::open(Options::new(self.dir.path().join("journal"))).unwrap()
    }

    pub async fn start(&self) -> Node {
        self.start_with(self.driver()).await
    }

    pub async fn start_with(&self, vmm: Arc<dyn Vmm>) -> Node {
        self.start_on(vmm, Arc::new(self.store())).await
    }

    pub fn store(&self) -> FileStore {
        FileStore::new(self.dir.path().join("images"))
    }

    pub async fn start_on(&self, vmm: Arc<dyn Vmm>, images: Arc<dyn ImageStore>) -> Node {
        Node::start(self.parts(vmm, images)).await.unwrap()
    }

    pub fn parts(&self, vmm: Arc<dyn Vmm>, images: Arc<dyn ImageStore>) -> Parts {
        let ports = Ports {
            vmm,
            network: None,
            network_problem: None,
            dns: Vec::new(),
            images,
            probe: Arc::new(Machine(self.mem_mib)),
            webhooks: self.webhooks.clone(),
        };
        let subnet = Subnet::parse(self.subnet).unwrap();
        Parts { journal: self.journal(), ports, host_name: "lab".into(), subnet }
    }

    /// A node with a kernel and a root file system that VMs boot from.
    pub async fn start_with_images(&self) -> Node {
        let node = self.start().await;
        self.add_images(&node).await;
        node
    }

    pub fn files(&self) -> (PathBuf, PathBuf) {
        let kernel = self.dir.path().join("vmlinux");
        std::fs::write(&kernel, b"\x7fELF, or so it says").unwrap();
        let rootfs = self.dir.path().join("rootfs.ext4");
        let mut bytes = vec![0; 4096];
        bytes[1028] = 4;
        bytes[1080..1082].copy_from_slice(&[0x53, 0xEF]);
        std::fs::write(&rootfs, bytes).unwrap();
        (kernel, rootfs)
    }

    pub async fn add_images(&self, node: &Node) -> (ImageId, ImageId) {
        let (kernel, rootfs) = self.files();
        let kernel = add_image(node, "kernel", ImageKind::Kernel, &kernel).await;
        let rootfs = add_image(node, "rootfs", ImageKind::Rootfs, &rootfs).await;
        (kernel, rootfs)
    }
}

async fn add_image(node: &Node, called: &str, kind: ImageKind, path: &Path) -> ImageId {
    let accepted = node.create_image(image(called, kind, path), who()).await.unwrap();
    done(node, accepted.operation).await;
    accepted.resource.id
}

/// One that is off, so that nobody is sent anything.
pub fn webhook(called: &str) -> NewWebhook {
    NewWebhook {
        name: name(called),
        project: name("default"),
        labels: Labels::new(),
        enabled: false,
        spec: WebhookSpec { url: "http://127.0.0.1:1/".into(), filter: Filter::default(), timeout_s: 1, retry_for_s: 1 },
        secret: Secret::new(b"a secret of a test, long enough".to_vec()),
        after: None,
    }
}

pub fn image(called: &str, kind: ImageKind, path: &Path) -> NewImage {
    let spec = ImageSpec {
        kind,
        path: path.to_str().unwrap().to_owned(),
        initrd: None,
        default: kind == ImageKind::Kernel,
        description: None,
    };
    NewImage { name: name(called), project: name("default"), labels: Labels::new(), spec }
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn who() -> Who {
    Who { actor: "user:test".into(), if_match: None, idempotency: None }
}

/// A VM with 128 MiB.
pub fn vm(called: &str, start: bool) -> NewVm {
    let spec = VmSpec {
        host: None,
        vcpus: 1,
        mem_mib: 128,
        kernel: None,
        image: "rootfs".into(),
        disk_mib: None,
        cmdline: None,
        networks: vec!["default".into()],
        restart: RestartPolicy::Never,
        devices: domain::vm::Devices::default(),
    };
    NewVm { name: Some(name(called)), project: name("default"), labels: Labels::new(), spec, start }
}

/// A VM that was created, and runs if it is to start.
pub async fn made(node: &Node, called: &str, start: bool) -> VmId {
    let accepted = node.create_vm(vm(called, start), who()).await.unwrap();
    done(node, accepted.operation).await;
    let id = accepted.resource.id;
    assert_eq!(state(node, id), if start { "running" } else { "created" });
    id
}

pub async fn ask(node: &Node, id: VmId, command: Command) -> Result<Accepted<Arc<Vm>>, CommandError> {
    node.command_vm(id, command, who()).await
}

/// Commands, waits for the end, and wants success.
pub async fn carry_out(node: &Node, id: VmId, command: Command) {
    let accepted = ask(node, id, command).await.unwrap();
    done(node, accepted.operation).await;
}

pub fn graceful() -> Command {
    Command::Stop(StopMode::Graceful { deadline_ms: 10_000 })
}

pub async fn ended(node: &Node, operation: Option<OperationId>) -> Arc<Operation> {
    let operation = node.wait(operation.unwrap(), SOON).await.expect("the operation is known");
    assert!(operation.status.is_final(), "{operation:?}");
    operation
}

pub async fn done(node: &Node, operation: Option<OperationId>) {
    let operation = ended(node, operation).await;
    assert_eq!(operation.status, Status::Succeeded, "{operation:?}");
}

pub fn row(node: &Node, id: VmId) -> VmView {
    node.view().vm(id).expect("the VM is in the view")
}

pub fn state(node: &Node, id: VmId) -> &'static str {
    node.view().vm(id).map_or("none", |row| row.record.state.name())
}

/// Waits until it is so, and says what was waited for when it never is.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(LOOK).await;
        }
    };
    assert!(tokio::time::timeout(SOON, wait).await.is_ok(), "never came true: {what}");
}

pub async fn until_state(node: &Node, id: VmId, wanted: &str) {
    until(&format!("{id} is {wanted}"), || state(node, id) == wanted).await;
}

/// A runtime whose clock moves only where it is moved.
pub fn on_a_standing_clock<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    // As long as something blocks, tokio moves no clock by itself.
    let (release, held) = mpsc::channel::<()>();
    runtime.spawn_blocking(move || held.recv());
    let result = runtime.block_on(work);
    drop(release);
    result
}

/// The same for what is asked and not seen.
pub async fn until_answered<T>(what: &str, mut asked: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(answer) = asked().await {
                return answer;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap_or_else(|_| panic!("never came true: {what}"))
}

/// Every event after the cursor, with its number.
pub fn events(journal: &Journal, mut after: u64) -> Vec<(u64, Event)> {
    let mut all = Vec::new();
    loop {
        let page = journal.read(after, 1000).unwrap();
        let Some((last, _)) = page.last() else { return all };
        after = *last;
        all.extend(page.iter().map(|(cursor, bytes)| (*cursor, decode_event(bytes).unwrap())));
    }
}

/// What happened to one VM, in order.
pub fn story(journal: &Journal, id: VmId) -> Vec<String> {
    let id = id.to_string();
    events(journal, 0).into_iter().filter(|(_, event)| event.id == id).map(|(_, event)| event.event).collect()
}
