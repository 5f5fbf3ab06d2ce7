//! Putting a node's parts together: which VMM, with which acceleration, which network, and what is wrong with the machine. Owns the small
//! files of the data directory that say which hearth this is (`id`) and what the KVM self-test gave (`kvm.json`). Decides nothing later.

use crate::deliver::Deliverer;
use actors::{Parts, Ports, shared::HostProbe, webhook::WebhookPorts};
use async_trait::async_trait;
use domain::{
    host::{Capabilities, Facts, VmmFacts},
    ipam::{Subnet, SubnetError},
    vm::Driver,
};
use host::{
    image::{FileStore, ImageStore},
    net::{Network, NetworkPlan},
    secret::FileSecrets,
    vmm::{
        Vmm, VmmError,
        qemu::{KvmVerdict, Qemu, QemuOptions},
        simulated::{Simulated, SimulatedOptions},
    },
};
use std::{
    io::Write,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
};
use storage::{Journal, schema};

/// Below the data directory; a file for each secret that a webhook's record names.
pub const SECRETS: &str = "secrets";

/// Which VMM to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum VmmChoice {
    /// QEMU, with KVM where a guest really boots on it.
    Auto,
    /// Not in this version.
    Firecracker,
    Qemu,
    /// No guests: for trying the API and for tests at scale.
    Simulated,
}

/// What the command line says.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub data_dir: PathBuf,
    pub vmm: VmmChoice,
    pub bridge: String,
    pub subnet: String,
    pub no_network: bool,
    /// The static agent, which travels in the initramfs; absent in a build without it.
    pub agent: Option<&'static [u8]>,
    /// A kernel to try KVM with when the store has none yet.
    pub kernel: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    #[error("--vmm firecracker is not in this version; use --vmm auto")]
    NoFirecracker,
    #[error("this build has no guest agent inside: build it with `make build`")]
    NoAgent,
    #[error("--subnet {subnet}: {source}")]
    Subnet { subnet: String, source: SubnetError },
    #[error("the file {path} can't be used")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the VMM can't be used")]
    Vmm(#[source] VmmError),
}

/// Looks for what is there and makes the parts. The journal is open already: nothing is touched before the directory is ours.
pub async fn assemble(journal: Journal, wanted: &Wanted) -> Result<Parts, AssembleError> {
    subnet(wanted)?;
    let owner = owner(&wanted.data_dir)?;
    let images = Arc::new(FileStore::new(wanted.data_dir.join("images")));
    let vmm: Arc<dyn Vmm> = match wanted.vmm {
        VmmChoice::Firecracker => return Err(AssembleError::NoFirecracker),
        VmmChoice::Simulated => {
            let options = SimulatedOptions { data: wanted.data_dir.clone(), ..SimulatedOptions::default() };
            Arc::new(Simulated::new(options).map_err(AssembleError::Vmm)?)
        }
        VmmChoice::Auto | VmmChoice::Qemu => Arc::new(qemu(&journal, wanted, &owner, &images).await?),
    };
    put_together(journal, wanted, &owner, images, vmm).await
}

fn subnet(wanted: &Wanted) -> Result<Subnet, AssembleError> {
    Subnet::parse(&wanted.subnet).map_err(|source| AssembleError::Subnet { subnet: wanted.subnet.clone(), source })
}

/// The parts around a driver.
pub async fn put_together(
    journal: Journal,
    wanted: &Wanted,
    owner: &str,
    images: Arc<FileStore>,
    vmm: Arc<dyn Vmm>,
) -> Result<Parts, AssembleError> {
    let subnet = subnet(wanted)?;
    let simulated = vmm.facts().driver == Driver::Simulated;
    let (network, network_problem) = match network(wanted, subnet, owner, simulated).await {
        Ok(network) => (network, None),
        Err(problem) => (None, Some(problem)),
    };
    if let Some(problem) = &network_problem {
        tracing::warn!(problem, "VMs run without a network");
    }
    // A simulated VM has an address on paper, so that what depends on it can be tried.
    let probe = Probe {
        vmm: vmm.facts(),
        capabilities: vmm.capabilities(),
        network_problem: network_problem.clone(),
        problems: vmm.problems(),
    };
    let webhooks =
        WebhookPorts { deliver: Arc::new(Deliverer::new()), secrets: Arc::new(FileSecrets::new(wanted.data_dir.join(SECRETS))) };
    Ok(Parts {
        journal,
        ports: Ports { vmm, network, network_problem, dns: nameservers(), images, probe: Arc::new(probe), webhooks },
        host_name: hostname(),
        subnet,
    })
}

struct Probe {
    vmm: VmmFacts,
    capabilities: Capabilities,
    network_problem: Option<String>,
    problems: Vec<String>,
}

#[async_trait]
impl HostProbe for Probe {
    async fn facts(&self) -> Facts {
        let (vmm, network, problems) = (self.vmm.clone(), self.network_problem.clone(), self.problems.clone());
        let capabilities = self.capabilities;
        let look = move || host::facts::collect(vmm, capabilities, network, problems);
        match tokio::task::spawn_blocking(look).await {
            Ok(facts) => facts,
            // The runtime is going down: nobody reads the answer.
            Err(_) => std::future::pending().await,
        }
    }
}

async fn qemu(journal: &Journal, wanted: &Wanted, owner: &str, images: &Arc<FileStore>) -> Result<Qemu, AssembleError> {
    let agent = wanted.agent.ok_or(AssembleError::NoAgent)?.to_vec();
    let remembered = wanted.data_dir.join("kvm.json");
    let kernel = stored_kernel(journal, images.as_ref()).or_else(|| wanted.kernel.clone());
    let options = QemuOptions {
        data: wanted.data_dir.clone(),
        owner: owner.to_owned(),
        agent,
        kvm: recall(&remembered),
        kernel: kernel.clone(),
        ..QemuOptions::default()
    };
    let qemu = Qemu::detect(options).await.map_err(AssembleError::Vmm)?;
    // A verdict without a kernel to try is no verdict, and one without the right to try is another user's tomorrow.
    if let (Some(verdict), Some(_)) = (qemu.kvm_verdict(), kernel)
        && nix::unistd::access("/dev/kvm", nix::unistd::AccessFlags::R_OK | nix::unistd::AccessFlags::W_OK).is_ok()
    {
        remember(&remembered, verdict);
    }
    Ok(qemu)
}

/// The file of a kernel that was imported, to try KVM with.
fn stored_kernel(journal: &Journal, images: &dyn ImageStore) -> Option<PathBuf> {
    let loaded = journal.load(schema::IMAGES).ok()?.decode::<domain::image::Image>();
    let ready = loaded.good.into_iter().map(|(_, image)| image).find(|image| {
        image.spec.kind == domain::image::ImageKind::Kernel && matches!(image.state, domain::image::State::Ready(_))
    })?;
    let path = images.path(ready.id);
    path.is_file().then_some(path)
}

/// The verdict holds for one boot of one host kernel.
#[derive(serde::Serialize, serde::Deserialize)]
struct Remembered {
    boot_id: String,
    verdict: KvmVerdict,
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn recall(path: &Path) -> Option<KvmVerdict> {
    let remembered: Remembered = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    (remembered.boot_id == boot_id()).then_some(remembered.verdict)
}

/// What the last start of this boot found out about KVM.
pub fn remembered_kvm(data_dir: &Path) -> Option<KvmVerdict> {
    recall(&data_dir.join("kvm.json"))
}

/// Only saves the next start some seconds: a failure is no failure.
fn remember(path: &Path, verdict: &KvmVerdict) {
    let remembered = Remembered { boot_id: boot_id(), verdict: verdict.clone() };
    if let Ok(bytes) = serde_json::to_vec(&remembered)
        && let Err(error) = std::fs::write(path, bytes)
    {
        tracing::debug!(%error, "the self-test's outcome was not kept");
    }
}

async fn network(wanted: &Wanted, subnet: Subnet, owner: &str, simulated: bool) -> Result<Option<Arc<dyn Network>>, String> {
    if wanted.no_network {
        return Err("hearth was started with --no-network".to_owned());
    }
    if simulated {
        return Ok(None);
    }
    let plan = NetworkPlan {
        bridge: wanted.bridge.clone(),
        gateway: subnet.gateway(),
        prefix: subnet.prefix(),
        owner: owner.to_owned(),
    };
    match host::net::detect(plan).await {
        Ok(network) => Ok(Some(network)),
        Err(error) => Err(error.to_string()),
    }
}

/// Which hearth this is: made once per data directory, stands on everything that belongs to it.
fn owner(data_dir: &Path) -> Result<String, AssembleError> {
    let path = data_dir.join("id");
    let file = |source| AssembleError::File { path: path.clone(), source };
    match std::fs::read_to_string(&path) {
        Ok(text) if is_owner(text.trim()) => return Ok(text.trim().to_owned()),
        Ok(_) => {
            let source = std::io::Error::other("it holds no id; restore it from a backup, or move it away when no VM runs");
            return Err(file(source));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(file(error)),
    }
    let id = format!("{:08x}", rand::random::<u32>());
    let temporary = data_dir.join("id.new");
    let write = || -> std::io::Result<()> {
        let mut handle = std::fs::File::create(&temporary)?;
        handle.write_all(id.as_bytes())?;
        handle.sync_all()?;
        std::fs::rename(&temporary, &path)?;
        std::fs::File::open(data_dir)?.sync_all()
    };
    write().map_err(file)?;
    Ok(id)
}

fn is_owner(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The host's own name servers, as guests can use them: one on the loopback is of no use to a guest.
fn nameservers() -> Vec<Ipv4Addr> {
    let usable = |path: &str| -> Vec<Ipv4Addr> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let servers =
            text.lines().filter_map(|line| line.strip_prefix("nameserver ")).filter_map(|rest| rest.trim().parse().ok());
        servers.filter(|address: &Ipv4Addr| !address.is_loopback()).take(3).collect()
    };
    let found = usable("/etc/resolv.conf");
    // systemd-resolved keeps the real ones here.
    if found.is_empty() { usable("/run/systemd/resolve/resolv.conf") } else { found }
}

/// A host's name as a name of ours: what is not allowed in one becomes a dash.
fn hostname() -> String {
    let raw = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let clean: String = raw
        .to_ascii_lowercase()
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || letter == '.' || letter == '-' { letter } else { '-' })
        .take(domain::name::NAME_MAX)
        .collect();
    let clean = clean.trim_matches(['.', '-']).to_owned();
    if clean.is_empty() { "host".to_owned() } else { clean }
}
