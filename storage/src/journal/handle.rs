//! The handle that everybody holds: a queue to the writer and a view on what is shared.
//!
//! Owns admission (the bound of the queue in batches and bytes) and the end: `close`, or the drop of the last handle,
//! lets the writer finish what waits. It does not own order or numbers.

use std::{
    ops::Range,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::Ordering,
        mpsc::{SyncSender, TrySendError},
    },
    thread::JoinHandle,
};

use tokio::sync::{oneshot, watch};

use super::{
    Shared,
    aside::{SET_ASIDE, SetAside},
    directory,
    engine::Entry,
    export::Export,
    follow::Event,
    layout,
    loaded::Loaded,
    writer::{Opened, Reply, Request, Work},
};
use crate::{
    batch::{self, Batch},
    envelope::{self, DecodeError, Stored},
    error::{CommitError, OpenError, ReadError, StoreFault},
};

/// Waiting batches: under a second of work at the 10,000/s that the journal must reach.
pub(super) const QUEUE_BATCHES: usize = 8192;
/// Waiting bytes, so that a queue of large batches cannot fill the memory of a small node.
pub(super) const QUEUE_BYTES: usize = 32 * 1024 * 1024;
/// Retention when nothing else is said.
const KEEP_EVENTS: u64 = 500_000;
/// sled holds far more than it is told; 64 MiB is what was measured and is enough.
const CACHE_MIB: u64 = 64;

#[derive(Debug, Clone)]
pub struct Options {
    /// A directory of the journal's own. Made when it is missing.
    pub path: PathBuf,
    pub cache_mib: u64,
    /// The newest events that are kept; older ones go in small steps. At least 1.
    pub keep_events: u64,
}

impl Options {
    pub fn new(path: impl Into<PathBuf>) -> Options {
        Options { path: path.into(), cache_mib: CACHE_MIB, keep_events: KEEP_EVENTS }
    }
}

/// What a batch became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Of the batch: 1, 2, 3 … over the journal's life, in the order of commitment.
    pub number: u64,
    /// Of the batch's first event; its others follow without a gap. `None` when it has none.
    pub first_cursor: Option<u64>,
    /// The newest event as of this batch: its own last, or that of an earlier batch.
    pub last_cursor: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Batches acknowledged since the journal was opened.
    pub commits: u64,
    /// Groups written: each is one batch of the store.
    pub batches: u64,
    pub syncs: u64,
    /// Batches that wait for the writer or are being written.
    pub waiting: usize,
    /// The data file; 0 when it cannot be told.
    pub disk_bytes: u64,
    /// Flush and sync of the last group.
    pub last_sync_us: u64,
    /// Events dropped by retention since the journal was opened.
    pub pruned: u64,
    /// Nothing is committed any more; restart.
    pub poisoned: bool,
}

/// A handle on the journal; clones are cheap and equal.
#[derive(Clone)]
pub struct Journal(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    /// Taken by `close`.
    queue: RwLock<Option<SyncSender<Request>>>,
    latest: watch::Receiver<u64>,
    ended: watch::Receiver<bool>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Rung at each request and at the end, for a writer that is a task.
    #[cfg(feature = "simulation")]
    bell: Option<Arc<tokio::sync::Notify>>,
    /// Of a simulation, which wakes watchers in an order that repeats.
    #[cfg(feature = "simulation")]
    each: Option<super::watch::Each>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Journal").field("path", &self.0.shared.path).finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens or creates the journal and takes the directory for this process. Blocks; recovery reads the whole file.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(options: Options) -> Result<Journal, OpenError> {
        Ok(Journal::of(super::writer::open(options)?))
    }

    fn of(opened: Opened) -> Journal {
        Journal(Arc::new(Handle {
            shared: opened.shared,
            queue: RwLock::new(Some(opened.queue)),
            latest: opened.latest,
            ended: opened.ended,
            writer: Mutex::new(opened.writer),
            #[cfg(feature = "simulation")]
            bell: None,
            #[cfg(feature = "simulation")]
            each: None,
        }))
    }

    /// A journal in a simulated machine's memory, whose writer is a task of the runtime that this is called on. The same writer otherwise.
    ///
    /// # Errors
    /// The disk holds what no journal leaves there.
    #[cfg(feature = "simulation")]
    pub fn simulated(
        disk: super::memory::MemoryDisk,
        fates: impl super::memory::Fates,
        keep_events: u64,
    ) -> Result<Journal, OpenError> {
        let (opened, bell, each) = super::memory::open(disk, fates, keep_events)?;
        let mut journal = Journal::of(opened);
        if let Some(handle) = Arc::get_mut(&mut journal.0) {
            handle.bell = Some(bell);
            handle.each = Some(each);
        }
        Ok(journal)
    }

    /// Commits a batch; `Ok` means that it is on the disk, whole.
    ///
    /// Cancel: dropping the future after its first poll does not take the batch back.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        batch.check()?;
        let (sender, receiver) = oneshot::channel();
        self.0.enqueue(Work::Batch(batch), Reply::Async(sender))?;
        receiver.await.unwrap_or(Err(CommitError::Gone))
    }

    /// As `commit`, on a thread that may block (for about a millisecond, or what waits before it).
    ///
    /// # Errors
    /// See [`CommitError`].
    pub fn commit_blocking(&self, batch: Batch) -> Result<Committed, CommitError> {
        batch.check()?;
        self.0.enqueue_blocking(Work::Batch(batch))
    }

    /// All records of a table at one moment. Commits wait meanwhile.
    ///
    /// # Errors
    /// The store failed, is poisoned or closed.
    pub fn load(&self, table: &str) -> Result<Loaded, ReadError> {
        self.0.shared.readable(|store| loaded(table, store.scan(&layout::table_prefix(table))?))
    }

    /// Every record of a table, decoded, in the order of the keys' bytes and at one moment; commits wait meanwhile. For tables that are
    /// large: what the records are decoded from is never in memory as a whole.
    ///
    /// # Errors
    /// As `load`. Records before the fault were handed out.
    pub fn each<T: Stored>(&self, table: &str, mut record: impl FnMut(&str, Result<T, DecodeError>)) -> Result<(), ReadError> {
        let prefix = layout::table_prefix(table);
        self.0.shared.readable(|store| {
            store.each_value(&prefix, |key, bytes| {
                record(text(table, &key[prefix.len()..])?, envelope::decode(bytes));
                Ok(())
            })
        })
    }

    /// The first `limit` records of a table whose keys lie in a range, at one moment: from one key on, up to another without it.
    ///
    /// # Errors
    /// As `load`.
    pub fn load_part(&self, table: &str, keys: Range<&str>, limit: usize) -> Result<Loaded, ReadError> {
        // An empty range is one; the store would refuse one that ends before it begins.
        if keys.is_empty() {
            return Ok(Loaded::default());
        }
        let keys = layout::record_key(table, keys.start)..layout::record_key(table, keys.end);
        self.0.shared.readable(|store| loaded(table, store.between(keys, limit)?))
    }

    /// All records at one moment, for a backup. Commits wait while they are read, and nothing is pruned while the answer lives.
    ///
    /// # Errors
    /// As `load`.
    pub fn export(&self) -> Result<Export, ReadError> {
        self.0.shared.export()
    }

    /// # Errors
    /// The store failed, is poisoned or closed.
    pub fn get(&self, table: &str, key: &str) -> Result<Option<Vec<u8>>, ReadError> {
        self.0.shared.readable(|store| store.get(&layout::record_key(table, key)))
    }

    /// Durable events with a cursor above `after`, in order and gapless, up to `limit` (and [`READ_LIMIT`]); empty at the head.
    ///
    /// # Errors
    /// `Expired` when events above `after` were pruned; so `read(0, …)` fails once the first are. To start from the
    /// oldest kept, read after `oldest() - 1` and try again should that have just gone. Else as `get`.
    pub fn read(&self, after: u64, limit: usize) -> Result<Vec<Event>, ReadError> {
        self.0.shared.read_events(after, limit)
    }

    /// The newest durable event; 0 when there was none.
    pub fn latest(&self) -> u64 {
        self.0.shared.latest()
    }

    /// The oldest event kept; 0 when there was none.
    pub fn oldest(&self) -> u64 {
        self.0.shared.oldest()
    }

    /// The newest durable cursor as it moves; its wakes are paced to one in 2 ms. Ends when the journal does.
    /// Take it first and read then: what comes between is announced.
    pub fn watch(&self) -> watch::Receiver<u64> {
        #[cfg(feature = "simulation")]
        if let Some(each) = &self.0.each {
            return each.watch(self.latest());
        }
        self.0.latest.clone()
    }

    /// Moves an unreadable record to the table `set-aside`: its bytes stay, with the reason and the time. Blocks like
    /// `commit_blocking`. The move itself is one atomic step of the writer.
    ///
    /// # Errors
    /// `NoRecord` when it is not there; else see [`CommitError`].
    pub fn set_aside(&self, table: &str, key: &str, why: &str) -> Result<(), CommitError> {
        batch::check_name(table, key)?;
        if table == SET_ASIDE {
            return Err(CommitError::Reserved { table: table.into() });
        }
        let work = Work::SetAside { table: table.into(), key: key.into(), why: why.into() };
        self.0.enqueue_blocking(work).map(|_| ())
    }

    /// Everything set aside, oldest first: (key in the table [`SET_ASIDE`], record). What is itself unreadable is
    /// left out with a warning.
    ///
    /// # Errors
    /// As `load`.
    pub fn load_set_aside(&self) -> Result<Vec<(String, SetAside)>, ReadError> {
        let split = self.load(SET_ASIDE)?.decode::<SetAside>();
        for (key, error) in &split.bad {
            tracing::warn!(key, %error, "a record that was set aside cannot be read");
        }
        Ok(split.good)
    }

    pub fn stats(&self) -> Stats {
        let shared = &self.0.shared;
        let counters = &shared.counters;
        Stats {
            commits: counters.commits.load(Ordering::Relaxed),
            batches: counters.batches.load(Ordering::Relaxed),
            syncs: counters.syncs.load(Ordering::Relaxed),
            waiting: shared.waiting.load(Ordering::Relaxed),
            disk_bytes: directory::data_bytes(&shared.path),
            last_sync_us: counters.last_sync_us.load(Ordering::Relaxed),
            pruned: counters.pruned.load(Ordering::Relaxed),
            poisoned: shared.poison.get().is_some(),
        }
    }

    /// Refuses new batches, lets the writer commit what waits, and returns once the directory is free. Every
    /// other handle then answers `Closed`. Cancel: the writer ends all the same.
    pub async fn close(&self) {
        self.0.stop();
        let mut ended = self.0.ended.clone();
        // An error means that the writer is gone, which is what we wait for.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

fn loaded(table: &str, entries: Vec<Entry>) -> Result<Loaded, StoreFault> {
    let begin = layout::table_prefix(table).len();
    let record = |(key, value): Entry| Ok((text(table, &key[begin..])?.to_owned(), value));
    Ok(Loaded { records: entries.into_iter().map(record).collect::<Result<_, StoreFault>>()? })
}

fn text<'a>(table: &str, key: &'a [u8]) -> Result<&'a str, StoreFault> {
    std::str::from_utf8(key)
        .map_err(|_| StoreFault::Inconsistent { detail: format!("a key of {table} is no text: {}", key.escape_ascii()) })
}

impl Handle {
    fn enqueue_blocking(&self, work: Work) -> Result<Committed, CommitError> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.enqueue(work, Reply::Blocking(sender))?;
        receiver.recv().unwrap_or(Err(CommitError::Gone))
    }

    fn enqueue(&self, work: Work, reply: Reply) -> Result<(), CommitError> {
        let shared = &self.shared;
        if let Some(source) = shared.poison.get() {
            return Err(CommitError::Poisoned { source: source.clone() });
        }
        let queue = self.queue.read().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queue.as_ref() else {
            return Err(CommitError::Closed);
        };
        let bytes = work.bytes();
        let waiting = shared.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting_bytes = shared.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let refused = if waiting_bytes + bytes > QUEUE_BYTES {
            Some(CommitError::Busy { waiting })
        } else {
            match queue.try_send(Request { work, bytes, reply }) {
                Ok(()) => {
                    self.ring_bell();
                    None
                }
                Err(TrySendError::Full(_)) => Some(CommitError::Busy { waiting }),
                Err(TrySendError::Disconnected(_)) => Some(CommitError::Gone),
            }
        };
        refused.map_or(Ok(()), |error| {
            shared.left(1, bytes);
            Err(error)
        })
    }

    fn stop(&self) {
        drop(self.queue.write().unwrap_or_else(PoisonError::into_inner).take());
        self.ring_bell();
    }

    #[cfg(feature = "simulation")]
    fn ring_bell(&self) {
        if let Some(bell) = &self.bell {
            bell.notify_one();
        }
    }

    /// The writer's thread waits on the queue itself.
    #[cfg(not(feature = "simulation"))]
    fn ring_bell(&self) {}
}

impl Shared {
    /// Batches have left the queue, one way or the other.
    pub(super) fn left(&self, batches: usize, bytes: usize) {
        self.waiting.fetch_sub(batches, Ordering::Relaxed);
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Handle {
    /// After the last handle is gone the directory is free, as after `close`; what waits is committed first.
    fn drop(&mut self) {
        self.stop();
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the journal's writer panicked");
        }
    }
}
