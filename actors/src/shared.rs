//! What every actor of a node uses: the journal, the view, the ports to the machine, the ledgers. Owns no state of its own but the ledgers,
//! which are indexes over the records and are rebuilt from them.

pub use crate::ambient::{new_id, now};
use crate::{
    error::chain,
    operation::{KEEP_ENDED, KeepEnded},
    view::View,
    webhook::WebhookPorts,
};
use async_trait::async_trait;
use domain::{
    HostId, ImageId, VmId,
    capacity::Ledger,
    host::Facts,
    mutant::{self, Mutant},
};
use host::{image::ImageStore, net::Network, vmm::Vmm};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use storage::{
    Journal,
    envelope::{self, Stored},
};
use tokio::sync::Semaphore;

/// Looks at the machine. Behind a trait, so that tests and simulations decide what it is like.
#[async_trait]
pub trait HostProbe: Send + Sync + 'static {
    async fn facts(&self) -> Facts;
}

pub struct Shared {
    pub journal: Journal,
    pub view: View,
    pub vmm: Arc<dyn Vmm>,
    /// Absent: VMs get no network, for the reason in `network_problem`.
    pub network: Option<Arc<dyn Network>>,
    pub network_problem: Option<String>,
    pub dns: Vec<std::net::Ipv4Addr>,
    pub images: Arc<dyn ImageStore>,
    pub probe: Arc<dyn HostProbe>,
    pub webhooks: WebhookPorts,
    pub host: HostId,
    /// Taken by what nobody waits for, before it commits: half of the journal's queue (8,192), so that a node whose VMs all move at once
    /// stands in line instead of being told "busy", and commands still find room.
    pub unasked: Semaphore,
    pub keep_ended: KeepEnded,
    /// Actors that must not start, by what they are called: what follows is tested with it.
    #[cfg(any(test, feature = "faults"))]
    pub unstartable: Mutex<HashSet<String>>,
    ledger: Mutex<Ledger>,
    image_use: Mutex<ImageUse>,
    /// Set before the first commit, if at all.
    #[cfg(any(test, feature = "faults"))]
    pub gate: Option<Arc<dyn crate::faults::CommitGate>>,
}

/// Commits of VMs' own that may wait for the journal at once.
const UNASKED_MAX: usize = 4_096;

/// Which VMs boot from which images. A VM enters before its record is committed and an image that is being deleted takes none, so that
/// no VM is ever made from an image that is going.
#[derive(Default)]
pub struct ImageUse {
    users: HashMap<ImageId, BTreeSet<VmId>>,
    closing: HashSet<ImageId>,
}

impl ImageUse {
    /// False: the image is being deleted.
    pub fn enter(&mut self, image: ImageId, vm: VmId) -> bool {
        if self.closing.contains(&image) {
            return false;
        }
        self.users.entry(image).or_default().insert(vm);
        true
    }

    pub fn leave(&mut self, image: ImageId, vm: VmId) {
        if let Some(users) = self.users.get_mut(&image) {
            users.remove(&vm);
            if users.is_empty() {
                self.users.remove(&image);
            }
        }
    }

    /// All users anew, in one step: an image must never look unused in between.
    pub fn replace(&mut self, users: HashMap<ImageId, BTreeSet<VmId>>) {
        self.users = users;
    }

    /// How many use it, and the first of them by id.
    pub fn users(&self, image: ImageId, most: usize) -> (usize, Vec<VmId>) {
        let Some(users) = self.users.get(&image) else { return (0, Vec::new()) };
        (users.len(), users.iter().take(most).copied().collect())
    }

    /// Takes no more users; answers how many there are.
    pub fn close(&mut self, image: ImageId) -> u32 {
        self.closing.insert(image);
        self.users.get(&image).map_or(0, |users| u32::try_from(users.len()).unwrap_or(u32::MAX))
    }

    pub fn open(&mut self, image: ImageId) {
        self.closing.remove(&image);
    }
}

/// The parts of a [`Shared`] that are not made by it.
pub struct Ports {
    pub vmm: Arc<dyn Vmm>,
    pub network: Option<Arc<dyn Network>>,
    pub network_problem: Option<String>,
    pub dns: Vec<std::net::Ipv4Addr>,
    pub images: Arc<dyn ImageStore>,
    pub probe: Arc<dyn HostProbe>,
    pub webhooks: WebhookPorts,
}

impl Shared {
    pub fn new(journal: Journal, ports: Ports, host: HostId) -> Shared {
        Shared {
            journal,
            view: View::default(),
            vmm: ports.vmm,
            network: ports.network,
            network_problem: ports.network_problem,
            dns: ports.dns,
            images: ports.images,
            probe: ports.probe,
            webhooks: ports.webhooks,
            host,
            unasked: Semaphore::new(UNASKED_MAX),
            keep_ended: KEEP_ENDED,
            #[cfg(any(test, feature = "faults"))]
            unstartable: Mutex::default(),
            ledger: Mutex::new(Ledger::default()),
            image_use: Mutex::new(ImageUse::default()),
            #[cfg(any(test, feature = "faults"))]
            gate: None,
        }
    }

    /// Refused only where a test wants it.
    #[allow(clippy::unused_self, reason = "looks at itself in tests only")]
    pub fn may_start(&self, name: &impl std::fmt::Display) -> Result<(), String> {
        #[cfg(any(test, feature = "faults"))]
        if [name.to_string(), "*".to_owned()].iter().any(|name| lock(&self.unstartable).contains(name)) {
            return Err("told not to start".to_owned());
        }
        let _ = name;
        Ok(())
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    pub fn image_use(&self) -> MutexGuard<'_, ImageUse> {
        lock(&self.image_use)
    }
}

impl Shared {
    /// What was handed to the journal so far is on the disk or refused. An actor that was killed while it committed leaves a batch behind
    /// that may yet be written; whoever reads after it must read this first. A journal that takes no more writes nothing late either.
    pub async fn settled(&self) {
        #[cfg(any(test, feature = "faults"))]
        if let Some(gate) = &self.gate {
            gate.settle().await;
        }
        let _ = self.journal.commit(storage::Batch::default()).await;
    }

    /// The record as it is durable, once the journal has settled; who showed it last may have been killed before it could show the newest.
    /// A record or journal that can't be read leaves what was `shown`.
    pub async fn stored<T: Stored + Send + Sync + 'static>(
        &self,
        table: &'static str,
        key: String,
        shown: Option<Arc<T>>,
    ) -> Option<Arc<T>> {
        if !mutant::on(Mutant::LoadsTooEarly) {
            self.settled().await;
        }
        let (journal, read) = (self.journal.clone(), key.clone());
        let found = crate::ambient::blocking(move || journal.get(table, &read)).await;
        let failed = |error: String| {
            tracing::warn!(table, key, error, "a record can't be read again; its actor goes on with what it knew");
            shown.clone()
        };
        match found {
            Ok(Ok(None)) => None,
            Ok(Ok(Some(bytes))) => match envelope::decode::<T>(&bytes) {
                Ok(record) => Some(Arc::new(record)),
                Err(error) => failed(chain(&error)),
            },
            Ok(Err(error)) => failed(chain(&error)),
            Err(error) => failed(error.to_string()),
        }
    }
}

/// A poisoned lock of an index: the panic that poisoned it restarts its actor, and the index is whole between calls.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
