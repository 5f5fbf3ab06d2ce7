//! Putting a node's parts together: which VMM, with which acceleration, which network, and what is wrong with the machine. Owns the small
//! files of the data directory that say which hearth this is (`id`) and what the self-tests gave (`kvm.json`, `firecracker.json`). Decides
//! nothing later.

mod choose;
mod driver;
pub mod firecracker;
mod kept;
mod names;

use crate::deliver::Deliverer;
use actors::{Parts, Ports, shared::HostProbe, webhook::WebhookPorts};
use async_trait::async_trait;
use domain::{
    host::{Capabilities, Facts, VmmFacts},
    ipam::{Subnet, SubnetError},
    vm::Driver,
};
use driver::Place;
pub use driver::remembered_kvm;
use firecracker::FirecrackerWanted;
use host::{
    image::FileStore,
    net::{Network, NetworkPlan},
    secret::FileSecrets,
    vmm::{
        Vmm, VmmError,
        firecracker::programs::{Programs, ProgramsError},
        simulated::{Simulated, SimulatedOptions},
    },
};
use names::{hostname, nameservers, owner};
use std::{collections::BTreeSet, path::PathBuf, sync::Arc};
use storage::Journal;

/// Below the data directory; a file for each secret that a webhook's record names.
pub const SECRETS: &str = "secrets";

/// Which VMM to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum VmmChoice {
    /// Firecracker where a guest really boots with it, else QEMU, with KVM where a guest really boots on that.
    Auto,
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
    pub firecracker: FirecrackerWanted,
}

#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    #[error("--vmm firecracker")]
    Firecracker(#[source] ProgramsError),
    #[error("--vmm {asked}: the VMs of {} have disks of {}, which {asked} can't read; start it with --vmm {}, or with another --data-dir", .data.display(), .of.as_str(), .of.as_str())]
    OtherDisks { asked: &'static str, of: Driver, data: PathBuf },
    #[error("--vmm auto: {why}")]
    NoVmm { why: String },
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

/// What was found before anything was made.
#[derive(Debug, Default)]
pub struct Found {
    /// Absent where Firecracker is not asked for; else the programs, or why they can't be used.
    firecracker: Option<Result<Programs, ProgramsError>>,
    /// Whose disks the VMs have that are there already.
    disks: BTreeSet<Driver>,
}

/// Looks for what `wanted` can't do without, and makes nothing: a start that is refused by it leaves nothing behind.
pub async fn look(wanted: &Wanted) -> Result<Found, AssembleError> {
    subnet(wanted)?;
    let disks = disks(wanted)?;
    let firecracker = match wanted.vmm {
        VmmChoice::Firecracker => Some(Ok(firecracker::look(&wanted.firecracker).await.map_err(AssembleError::Firecracker)?)),
        VmmChoice::Auto => match firecracker::look(&wanted.firecracker).await {
            // A typing error is to be seen, not papered over with another VMM.
            Err(error @ (ProgramsError::FirecrackerNamed { .. } | ProgramsError::JailerNamed { .. })) => {
                return Err(AssembleError::Firecracker(error));
            }
            found => Some(found),
        },
        VmmChoice::Qemu | VmmChoice::Simulated => None,
    };
    if wanted.vmm != VmmChoice::Simulated {
        wanted.agent.ok_or(AssembleError::NoAgent)?;
    }
    Ok(Found { firecracker, disks })
}

/// Whose disks the VMs have; refuses a driver that can't read them. A driver that does not find a VM's disk would fail at the VM's next start,
/// and one that does not know its process could not say whether it runs.
fn disks(wanted: &Wanted) -> Result<BTreeSet<Driver>, AssembleError> {
    let disks = match wanted.vmm {
        VmmChoice::Simulated => return Ok(BTreeSet::new()),
        _ => host::vmm::disks::drivers(&wanted.data_dir),
    };
    let disks = disks.map_err(|source| AssembleError::File { path: wanted.data_dir.join("vms"), source })?;
    let (asked, driver) = match wanted.vmm {
        VmmChoice::Firecracker => ("firecracker", Driver::Firecracker),
        VmmChoice::Qemu => ("qemu", Driver::Qemu),
        VmmChoice::Auto | VmmChoice::Simulated => return Ok(disks),
    };
    match disks.iter().find(|of| **of != driver) {
        Some(of) => Err(AssembleError::OtherDisks { asked, of: *of, data: wanted.data_dir.clone() }),
        None => Ok(disks),
    }
}

fn subnet(wanted: &Wanted) -> Result<Subnet, AssembleError> {
    Subnet::parse(&wanted.subnet).map_err(|source| AssembleError::Subnet { subnet: wanted.subnet.clone(), source })
}

/// Makes the parts of what was found. The journal is open already: nothing is touched before the directory is ours.
pub async fn assemble(journal: Journal, wanted: &Wanted, found: Found) -> Result<Parts, AssembleError> {
    let owner = owner(&wanted.data_dir)?;
    let images = Arc::new(FileStore::new(wanted.data_dir.join("images")));
    let place = Place { journal: &journal, wanted, owner: &owner, images: &images };
    let (vmm, chosen_because) = match wanted.vmm {
        VmmChoice::Simulated => {
            let options = SimulatedOptions { data: wanted.data_dir.clone(), ..SimulatedOptions::default() };
            let simulated: Arc<dyn Vmm> = Arc::new(Simulated::new(options).map_err(AssembleError::Vmm)?);
            (simulated, None)
        }
        VmmChoice::Qemu => (place.qemu().await?, None),
        VmmChoice::Firecracker => match found.firecracker {
            Some(Ok(programs)) => (place.firecracker(&programs).await?, Some("it was asked for".to_owned())),
            // Looked for first by whoever made `found`.
            Some(Err(error)) => return Err(AssembleError::Firecracker(error)),
            None => return Err(AssembleError::Firecracker(ProgramsError::NoFirecracker)),
        },
        VmmChoice::Auto => place.auto(found.firecracker, &found.disks).await?,
    };
    put_together(journal, wanted, &owner, images, vmm, chosen_because).await
}

/// The parts around a driver. `chosen_because`: where something else than the driver itself knows why it runs here.
pub async fn put_together(
    journal: Journal,
    wanted: &Wanted,
    owner: &str,
    images: Arc<FileStore>,
    vmm: Arc<dyn Vmm>,
    chosen_because: Option<String>,
) -> Result<Parts, AssembleError> {
    let subnet = subnet(wanted)?;
    let mut facts = vmm.facts();
    facts.chosen_because = chosen_because.unwrap_or(facts.chosen_because);
    tracing::info!(driver = facts.driver.as_str(), version = facts.version, because = facts.chosen_because, "the VMM was chosen");
    let simulated = facts.driver == Driver::Simulated;
    let (network, network_problem) = match network(wanted, subnet, owner, simulated).await {
        Ok(network) => (network, None),
        Err(problem) => (None, Some(problem)),
    };
    if let Some(problem) = &network_problem {
        tracing::warn!(problem, "VMs run without a network");
    }
    let problems = vmm.problems();
    for problem in &problems {
        tracing::warn!(problem, "VMs run with less than they should have; `hearth doctor` tells what helps");
    }
    // A simulated VM has an address on paper, so that what depends on it can be tried.
    let probe = Probe { vmm: facts, capabilities: vmm.capabilities(), network_problem: network_problem.clone(), problems };
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
