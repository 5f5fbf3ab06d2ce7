//! The journal: a handle that commits batches, reads records and follows events.
//!
//! ```text
//!  callers --bounded queue--> writer thread --one batch, flush, fdatasync--> disk
//!                                |   `--> answers (all of the group)
//!                                `--> ring of newest events, latest() --> watch thread --> subscribers
//! ```
//! Owns what all handles and the writer share, and the order in which it becomes visible: the disk, then the ring, then
//! `latest()`, then the answers, then `watch()`. The writer alone owns the numbers (`writer`).
//!
//! Concurrency: `store` is locked for writing from a batch's application until its sync, so `load`, `get` and far reads
//! never show what is not yet durable. They block for up to one sync and read the disk: on an async worker, call them
//! under `spawn_blocking`. `read` near the head, `latest`, `oldest`, `watch` and `stats` do not wait.
//!
//! After a failed write or sync the journal is **poisoned**: the group gets `Disk`, everybody later `Poisoned`, and
//! `load`, `get` and far reads are refused, because memory may hold what the disk does not and a second fsync after a
//! failed one proves nothing. Only reopening (a restart of the node) ends it: that reads what the disk has.

mod aside;
mod content;
mod directory;
mod disk;
mod engine;
mod examine;
mod export;
mod follow;
mod handle;
mod layout;
#[cfg(feature = "simulation")]
pub(crate) mod memory;
mod rebuild;
mod rescue;
mod ring;
mod stage;
mod store;
mod watch;
mod writer;

pub use aside::{SET_ASIDE, SetAside};
pub(crate) use directory::hold;
pub(crate) use examine::{Finding, examine};
pub use export::Export;
pub use follow::{Event, READ_LIMIT};
pub use handle::{Committed, Journal, Options, Stats};
pub(crate) use layout::Head;
#[cfg(any(test, fuzzing))]
pub(crate) use layout::fuzz;
pub use loaded::{Loaded, Split};
pub(crate) use rebuild::Rebuild;
pub use rescue::{Losses, Rescued};
pub(crate) use rescue::{contents, rescue};

mod loaded;

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use crate::error::{ReadError, StoreFault};
use ring::Ring;
use store::Store;

/// What the handles and the writer share.
struct Shared {
    path: PathBuf,
    /// `None` once the writer has ended.
    store: RwLock<Option<Store>>,
    ring: Ring,
    latest: AtomicU64,
    oldest: AtomicU64,
    poison: OnceLock<Arc<StoreFault>>,
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
    /// Backups under way: nothing is pruned meanwhile.
    holds: AtomicUsize,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    commits: AtomicU64,
    batches: AtomicU64,
    syncs: AtomicU64,
    last_sync_us: AtomicU64,
    pruned: AtomicU64,
}

impl Shared {
    /// The store for reading, which is refused once it may differ from the disk.
    fn readable<T>(&self, read: impl FnOnce(&Store) -> Result<T, StoreFault>) -> Result<T, ReadError> {
        let store: RwLockReadGuard<'_, Option<Store>> = self.store.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = self.poison.get() {
            return Err(ReadError::Poisoned { source: source.clone() });
        }
        match store.as_ref() {
            Some(store) => read(store).map_err(|fault| ReadError::Store { source: Arc::new(fault) }),
            None => Err(ReadError::Closed),
        }
    }

    fn writable(&self) -> RwLockWriteGuard<'_, Option<Store>> {
        self.store.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn latest(&self) -> u64 {
        self.latest.load(Ordering::Acquire)
    }

    fn oldest(&self) -> u64 {
        self.oldest.load(Ordering::Acquire)
    }
}
