//! The one writer: takes what waits, makes it one batch of the store, syncs, and only then answers.
//!
//! Owns the order of batches, retention and the end of the directory's use; what a request becomes is `stage`'s.
//! Retention rides on groups: each prunes a few events more than it adds, and an idle writer prunes alone, so that a
//! commit never waits for more than one small step. It does not own admission (`handle`).

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use domain::mutant::{self, Mutant};
use tokio::sync::{oneshot, watch};

use super::{
    Counters, Shared,
    directory::{self, Acknowledged, Directory, Found, Noted},
    engine::Staged,
    examine,
    handle::{Committed, Options, QUEUE_BATCHES},
    layout::{self, Head},
    ring::{RING_EVENTS, Ring},
    stage::{Group, stage},
    store::Store,
    watch::Watch,
};
use crate::{
    batch::Batch,
    error::{CommitError, OpenError, StoreFault},
};

/// One group: what shares a sync. More would make the first of them wait longer than the sync saves.
const GROUP_BATCHES: usize = 1024;
const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// Events pruned beside a group at least; it may prune twice what it adds. A removal costs a few microseconds.
const PRUNE_STEP: u64 = 64;
/// How long the writer waits for work before it prunes alone, while there is something to prune.
pub(super) const PRUNE_IDLE: Duration = Duration::from_millis(20);

/// Under this target each group's events are told with the microsecond in which they were on the disk: what latencies are measured from.
const DURABLE: &str = "storage::durable";

fn micros_since_epoch() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// What a caller wants done.
pub(super) enum Work {
    Batch(Batch),
    SetAside { table: String, key: String, why: String },
}

impl Work {
    pub fn bytes(&self) -> usize {
        match self {
            Work::Batch(batch) => batch.bytes(),
            // Its record is not yet read; it weighs what it may.
            Work::SetAside { .. } => crate::MAX_VALUE_BYTES,
        }
    }

    /// Whether what it becomes depends on what the store holds.
    fn reads(&self) -> bool {
        match self {
            Work::Batch(batch) => batch.is_conditional(),
            Work::SetAside { .. } => true,
        }
    }
}

pub(super) enum Reply {
    Async(oneshot::Sender<Result<Committed, CommitError>>),
    Blocking(SyncSender<Result<Committed, CommitError>>),
}

impl Reply {
    /// A caller that has gone away does not hear it.
    pub(super) fn send(self, result: Result<Committed, CommitError>) {
        match self {
            Reply::Async(sender) => drop(sender.send(result)),
            Reply::Blocking(sender) => drop(sender.send(result)),
        }
    }
}

pub(super) struct Request {
    pub work: Work,
    pub bytes: usize,
    pub reply: Reply,
}

/// What `open` hands to the first handle.
pub(super) struct Opened {
    pub shared: Arc<Shared>,
    pub queue: SyncSender<Request>,
    pub latest: watch::Receiver<u64>,
    pub ended: watch::Receiver<bool>,
    /// Absent in a simulation, whose writer is a task.
    pub writer: Option<JoinHandle<()>>,
}

pub(super) fn open(options: Options) -> Result<Opened, OpenError> {
    let path = options.path;
    let (mut directory, found) = Directory::claim(&path)?;
    let damaged = |source: StoreFault| match source.is_refusal() {
        true => OpenError::Unwritable { path: path.clone(), source },
        false => OpenError::Damaged { path: path.clone(), source },
    };
    if found == Found::Ready {
        if !directory::has_data(&path) {
            return Err(damaged(StoreFault::Inconsistent { detail: "its data file is missing".into() }));
        }
        // Before sled: it cuts off what lies behind damage.
        examine::before_opening(&path, options.cache_mib).map_err(|detail| damaged(StoreFault::Inconsistent { detail }))?;
        directory.sign()?;
    }
    let mut store = Store::open(&path, options.cache_mib).map_err(damaged)?;
    let head = match (found, store.head().map_err(damaged)?) {
        (_, Some(head)) => head,
        (Found::Ready, None) => {
            return Err(damaged(StoreFault::Inconsistent { detail: "it has no head".into() }));
        }
        (Found::Fresh, None) => begin(&mut store).map_err(|source| OpenError::Prepare { path: path.clone(), source })?,
    };
    directory.mark_ready()?;
    let acknowledged = Acknowledged::open(&path)
        .map_err(|source| damaged(StoreFault::File { step: "open the note of the last acknowledged batch", source }))?;
    let number = directory::noted(&path).map_or(0, |noted| noted.number);
    if head.number < number {
        let detail = format!("batch {number} was acknowledged, the store ends at batch {}", head.number);
        return Err(damaged(StoreFault::Inconsistent { detail }));
    }
    let shared = share(path.clone(), store, head).map_err(damaged)?;
    let (watch, latest) = Watch::start(head.latest).map_err(|source| OpenError::Thread { name: "journal-watch", source })?;
    let (queue, requests) = sync_channel(QUEUE_BATCHES);
    let (ended_sender, ended) = watch::channel(false);
    let acknowledged = Some(acknowledged);
    let writer = Writer { shared: shared.clone(), next: None, acknowledged, head, keep: options.keep_events.max(1), watch };
    let thread = std::thread::Builder::new()
        .name("journal-writer".into())
        .spawn(move || {
            writer.run(&requests, directory);
            ended_sender.send_replace(true);
        })
        .map_err(|source| OpenError::Thread { name: "journal-writer", source })?;
    Ok(Opened { shared, queue, latest, ended, writer: Some(thread) })
}

/// What handles and writer share of a store that ends with `head`.
pub(super) fn share(path: PathBuf, store: Store, head: Head) -> Result<Arc<Shared>, StoreFault> {
    let ring = Ring::default();
    ring.push(check(&store, head)?);
    Ok(Arc::new(Shared {
        path,
        store: RwLock::new(Some(store)),
        ring,
        latest: AtomicU64::new(head.latest),
        oldest: AtomicU64::new(head.oldest),
        poison: OnceLock::new(),
        waiting: AtomicUsize::new(0),
        waiting_bytes: AtomicUsize::new(0),
        holds: AtomicUsize::new(0),
        counters: Counters::default(),
    }))
}

/// The first batch of a new journal is its head, so that a later loss of it is noticed.
pub(super) fn begin(store: &mut Store) -> Result<Head, StoreFault> {
    let mut batch = Staged::default();
    Store::stage_head(&mut batch, Head::default());
    store.apply(batch)?;
    Ok(Head::default())
}

/// Compares the head with the events and returns the newest. The whole log is not read: at 500,000 events
/// that would take seconds of every start.
fn check(store: &Store, head: Head) -> Result<Vec<(u64, Vec<u8>)>, StoreFault> {
    let bounds = store.event_bounds()?.unwrap_or((0, 0));
    if bounds != (head.oldest, head.latest) {
        let detail = format!("the head says events {} to {}, there are {} to {}", head.oldest, head.latest, bounds.0, bounds.1);
        return Err(StoreFault::Inconsistent { detail });
    }
    if head.latest == 0 {
        return Ok(Vec::new());
    }
    store.events(head.oldest.max((head.latest + 1).saturating_sub(RING_EVENTS as u64)), head.latest)
}

pub(super) struct Writer {
    pub shared: Arc<Shared>,
    /// A request that was taken from the queue but must begin the next group.
    pub next: Option<Request>,
    /// Absent in a simulation, whose disk can't be damaged.
    pub acknowledged: Option<Acknowledged>,
    pub head: Head,
    pub keep: u64,
    pub watch: Watch,
}

/// A group that is on the disk and of which nobody has heard yet.
pub(super) struct Written {
    head: Head,
    group: Group,
    count: usize,
    bytes: usize,
}

impl Writer {
    fn run(mut self, requests: &Receiver<Request>, directory: Directory) {
        loop {
            let first = match self.next.take() {
                Some(next) => Ok(next),
                None if self.excess() == 0 || self.poison().is_some() => {
                    requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
                }
                None => requests.recv_timeout(PRUNE_IDLE),
            };
            match first {
                Ok(first) => {
                    let group = self.drain(first, requests);
                    self.commit(group);
                }
                Err(RecvTimeoutError::Timeout) => self.commit(Vec::new()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.end();
        directory.release();
    }

    /// The store ends, and with it the watch.
    pub(super) fn end(self) {
        let store = self.shared.writable().take();
        if let Some(Err(error)) = store.map(Store::close) {
            tracing::error!(error = &error as &dyn std::error::Error, "the journal's store did not end well");
        }
    }

    pub(super) fn poison(&self) -> Option<&Arc<StoreFault>> {
        self.shared.poison.get()
    }

    /// Events above what is kept.
    pub(super) fn excess(&self) -> u64 {
        self.above(self.head)
    }

    fn above(&self, head: Head) -> u64 {
        match self.shared.holds.load(Ordering::Acquire) {
            0 => head.kept().saturating_sub(self.keep - u64::from(mutant::on(Mutant::PrunesWhatIsKept))),
            _ => 0,
        }
    }

    fn commit(&mut self, requests: Vec<Request>) {
        if let Some(written) = self.write(requests) {
            self.publish(written);
        }
    }

    /// Puts the group on the disk. What could not be written is answered here.
    pub(super) fn write(&mut self, requests: Vec<Request>) -> Option<Written> {
        let bytes: usize = requests.iter().map(|request| request.bytes).sum();
        let count = requests.len();
        if let Some(source) = self.poison().cloned() {
            self.shared.left(count, bytes);
            for request in requests {
                request.reply.send(Err(CommitError::Poisoned { source: source.clone() }));
            }
            return None;
        }
        let shared = self.shared.clone();
        let mut slot = shared.writable();
        let store = slot.as_mut()?;
        let mut head = self.head;
        let mut group = Group::default();
        for request in requests {
            stage(store, &mut group, &mut head, request);
        }
        self.prune(store, &mut group, &mut head);
        let written = if head == self.head {
            Ok(()) // Every request was refused while staging and nothing was pruned.
        } else {
            Store::stage_head(&mut group.batch, head);
            store.apply(std::mem::take(&mut group.batch)).map(|synced| self.shared.counters.wrote(synced))
        };
        if let Err(fault) = written {
            // Before the lock goes: nobody may read what is not on disk.
            self.fail(fault, group.answers);
            drop(slot);
            self.shared.left(count, bytes);
            return None;
        }
        // Before the lock goes, too: who reads far back must know what is pruned.
        self.shared.oldest.store(head.oldest, Ordering::Release);
        Some(Written { head, group, count, bytes })
    }
}

impl Writer {
    /// What waits already; nobody is waited for. Work that reads the store may not come after a change that is only
    /// staged: it begins a group.
    pub(super) fn drain(&mut self, first: Request, requests: &Receiver<Request>) -> Vec<Request> {
        let mut bytes = first.bytes;
        let mut group = vec![first];
        while group.len() < GROUP_BATCHES && bytes < GROUP_BYTES {
            let Ok(request) = requests.try_recv() else {
                break;
            };
            if request.work.reads() {
                self.next = Some(request);
                break;
            }
            bytes += request.bytes;
            group.push(request);
        }
        group
    }

    fn prune(&self, store: &mut Store, group: &mut Group, head: &mut Head) {
        let excess = self.above(*head);
        // Only what is on disk already: an event of this very group stays until the next.
        let stored = (self.head.latest + 1).saturating_sub(head.oldest);
        let step = excess.min(stored).min(PRUNE_STEP.max(2 * group.events.len() as u64));
        for cursor in head.oldest..head.oldest + step {
            store.stage_delete(&mut group.batch, &layout::event_key(cursor));
        }
        head.oldest += step;
    }

    /// What is on the disk becomes visible, and is answered.
    pub(super) fn publish(&mut self, written: Written) {
        let Written { head, group, count, bytes } = written;
        let shared = &self.shared;
        shared.counters.pruned.fetch_add(head.oldest.saturating_sub(self.head.oldest.max(1)), Ordering::Relaxed);
        shared.counters.commits.fetch_add(group.answers.len() as u64, Ordering::Relaxed);
        let moved = head.latest != self.head.latest;
        let first = self.head.latest + 1;
        let durable_us = tracing::enabled!(target: DURABLE, tracing::Level::TRACE).then(micros_since_epoch);
        self.head = head;
        shared.ring.push(group.events);
        shared.latest.store(head.latest, Ordering::Release);
        if let Some(acknowledged) = &self.acknowledged
            && let Err(error) = acknowledged.record(Noted { number: head.number, latest: head.latest })
        {
            // It only guards against damage later; what is committed stays so.
            tracing::warn!(%error, "cannot note the last acknowledged batch");
        }
        for (reply, committed) in group.answers {
            reply.send(Ok(committed));
        }
        if moved {
            self.watch.moved(head.latest);
        }
        self.shared.left(count, bytes);
        // Last, so that writing it down is in nobody's way.
        if let Some(at_us) = durable_us.filter(|_| moved) {
            tracing::trace!(target: DURABLE, first, last = head.latest, at_us, "durable");
        }
    }

    fn fail(&self, fault: StoreFault, answers: Vec<(Reply, Committed)>) {
        let fault = Arc::new(fault);
        tracing::error!(error = &*fault as &dyn std::error::Error, "the journal could not write and takes nothing more");
        let source = self.shared.poison.get_or_init(|| fault);
        for (reply, _) in answers {
            reply.send(Err(CommitError::Disk { source: source.clone() }));
        }
    }
}

impl Counters {
    fn wrote(&self, synced: Duration) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.last_sync_us.store(u64::try_from(synced.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
