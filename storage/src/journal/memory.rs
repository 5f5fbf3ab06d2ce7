//! The journal of a simulated machine: the same writer, run as a task, on a disk in memory that fails and forgets as it is told.
//!
//! ```text
//! request --> queue --> writer: wait `before` | put on the disk | wait `after` --> answer
//!                         a crash here: lost     a crash here: there, and nobody was told
//! ```
//! Owns the disk and when the writer gets to it. Staging, numbers, retention and answers are the writer's own. A crash is dropping
//! the runtime: what is on the [`MemoryDisk`] by then is what the next journal finds.

use std::{
    collections::BTreeMap,
    io,
    ops::Bound,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, TryRecvError, sync_channel},
    },
    time::Duration,
};

use tokio::sync::{Notify, watch};

use super::{
    engine::{Bounds, Engine, Entry, Keys, Staged},
    handle::QUEUE_BATCHES,
    layout::{self, Head},
    store::Store,
    watch::{Each, Watch},
    writer::{self, Opened, PRUNE_IDLE, Request, Writer},
};
use crate::error::{OpenError, StoreFault};

/// What becomes of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// Until it is on the disk.
    pub before: Duration,
    pub verdict: Verdict,
    /// From then until it is answered.
    pub after: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Written,
    /// The disk reports an error; `written`: the group is there all the same, whole.
    Fails {
        full: bool,
        written: bool,
    },
    /// The disk never answers.
    Hangs,
}

/// Who decides it.
pub trait Fates: Send + 'static {
    fn next(&mut self) -> Fate;
}

/// The disk. Clones are the same disk; it outlives the journals on it.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Every event that ever was on it, also those that were pruned; and the numbers that were given to two.
    told: BTreeMap<u64, Vec<u8>>,
    told_twice: Vec<u64>,
    /// Of the next batch.
    failure: Option<(bool, bool)>,
}

impl MemoryDisk {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail_next(&self, full: bool, written: bool) {
        self.content().failure = Some((full, written));
    }

    /// The number of the last batch that is on it.
    pub fn batches(&self) -> u64 {
        self.head().number
    }

    /// The oldest and the newest event on it; 0 when there is none.
    pub fn events(&self) -> (u64, u64) {
        let head = self.head();
        (head.oldest, head.latest)
    }

    fn head(&self) -> Head {
        self.content().entries.get(layout::HEAD).and_then(|bytes| Head::decode(bytes)).unwrap_or_default()
    }

    /// A record as it lies there, whether or not anybody was told.
    pub fn record(&self, table: &str, key: &str) -> Option<Vec<u8>> {
        Store::on(Box::new(self.clone())).ok()?.get(&layout::record_key(table, key)).ok()?
    }

    /// All records of a table.
    pub fn records(&self, table: &str) -> Vec<(String, Vec<u8>)> {
        let prefix = layout::table_prefix(table);
        let entries = Store::on(Box::new(self.clone())).and_then(|store| store.scan(&prefix)).unwrap_or_default();
        entries.into_iter().map(|(key, value)| (String::from_utf8_lossy(&key[prefix.len()..]).into_owned(), value)).collect()
    }

    /// Every event behind a cursor that ever was on it, with its own number as it was written: gaps show. What was pruned since is among
    /// them: whoever watches need not be there in time.
    pub fn told_after(&self, cursor: u64) -> Vec<(u64, Vec<u8>)> {
        self.content().told.range(cursor + 1..).map(|(cursor, event)| (*cursor, event.clone())).collect()
    }

    pub fn told(&self, cursor: u64) -> Option<Vec<u8>> {
        self.content().told.get(&cursor).cloned()
    }

    /// Numbers that were given to two events.
    pub fn told_twice(&self) -> Vec<u64> {
        self.content().told_twice.clone()
    }

    /// How many events are on it now.
    pub fn events_kept(&self) -> u64 {
        let keys = layout::event_key(0)..=layout::event_key(u64::MAX);
        self.content().entries.range(keys).count() as u64
    }
}

impl Content {
    /// Remembers an event that was just put on the disk, whole: its chunks are there as well.
    fn tell(&mut self, key: &[u8]) {
        let Some(cursor) = layout::event_cursor(key) else { return };
        let Some(first) = self.entries.get(key).and_then(|entry| layout::First::of(entry)) else { return };
        let mut event = first.bytes.to_vec();
        for number in 1..=first.chunks {
            event.extend(self.entries.get(&layout::chunk_key(key, number)).into_iter().flatten());
        }
        if self.told.insert(cursor, event).is_some() {
            self.told_twice.push(cursor);
        }
    }
}

impl Engine for MemoryDisk {
    fn get(&self, _: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        Ok(self.content().entries.get(key).cloned())
    }

    fn scan(&self, _: &'static str, prefix: &[u8]) -> Result<Vec<Entry>, StoreFault> {
        let content = self.content();
        let from = (Bound::Included(prefix.to_vec()), Bound::Unbounded);
        let entries = content.entries.range(from).take_while(|(key, _)| key.starts_with(prefix));
        Ok(entries.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn range(&self, _: &'static str, keys: Keys, limit: usize) -> Result<Vec<Entry>, StoreFault> {
        Ok(self.content().entries.range(keys).take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn each(&self, _: &'static str, entry: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreFault> {
        let _ = self.content().entries.iter().all(|(key, value)| entry(key, value));
        Ok(())
    }

    fn bounds(&self, step: &'static str, prefix: &[u8]) -> Result<Option<Bounds>, StoreFault> {
        let entries = self.scan(step, prefix)?;
        Ok(entries.first().zip(entries.last()).map(|(first, last)| (first.0.clone(), last.0.clone())))
    }

    fn apply(&self, batch: Staged) -> Result<Duration, StoreFault> {
        let mut content = self.content();
        let failure = content.failure.take();
        if failure.is_none_or(|(_, written)| written) {
            let mut events = Vec::new();
            for (key, value) in batch.0 {
                match value {
                    Some(value) => {
                        events.extend(layout::event_cursor(&key).map(|_| key.clone()));
                        content.entries.insert(key, value)
                    }
                    None => content.entries.remove(&key),
                };
            }
            for key in events {
                content.tell(&key);
            }
        }
        match failure {
            None => Ok(Duration::ZERO),
            Some((full, _)) => {
                let kind = if full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
                let source =
                    if full { io::Error::from_raw_os_error(NO_SPACE) } else { io::Error::new(kind, "a simulated error") };
                Err(StoreFault::File { step: "sync the data file", source })
            }
        }
    }

    fn close(self: Box<Self>) -> Result<(), StoreFault> {
        Ok(())
    }
}

/// `ENOSPC`: its text is what the layers above know a full disk by.
const NO_SPACE: i32 = 28;

pub(super) fn open(disk: MemoryDisk, fates: impl Fates, keep_events: u64) -> Result<(Opened, Arc<Notify>, Each), OpenError> {
    let path = PathBuf::from("memory");
    let damaged = |source| OpenError::Damaged { path: path.clone(), source };
    let mut store = Store::on(Box::new(disk.clone())).map_err(damaged)?;
    let head = match store.head().map_err(damaged)? {
        Some(head) => head,
        None => writer::begin(&mut store).map_err(damaged)?,
    };
    let shared = writer::share(path.clone(), store, head).map_err(damaged)?;
    let (watch, latest, each) = Watch::direct(head.latest);
    let (queue, requests) = sync_channel(QUEUE_BATCHES);
    let (ended_sender, ended) = watch::channel(false);
    let bell = Arc::new(Notify::new());
    let keep = keep_events.max(1);
    let writer = Writer { shared: shared.clone(), next: None, acknowledged: None, head, keep, watch };
    let rung = bell.clone();
    tokio::spawn(async move {
        run(writer, &disk, fates, requests, &rung).await;
        ended_sender.send_replace(true);
    });
    Ok((Opened { shared, queue, latest, ended, writer: None }, bell, each))
}

/// The writer's loop, with waits in place of a disk.
async fn run(mut writer: Writer, disk: &MemoryDisk, mut fates: impl Fates, requests: Receiver<Request>, bell: &Notify) {
    loop {
        let first = match writer.next.take().map_or_else(|| requests.try_recv(), Ok) {
            Ok(first) => Some(first),
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) if writer.excess() == 0 || writer.poison().is_some() => {
                bell.notified().await;
                continue;
            }
            Err(TryRecvError::Empty) => match tokio::time::timeout(PRUNE_IDLE, bell.notified()).await {
                Ok(()) => continue,
                Err(_) => None,
            },
        };
        let group = first.map(|first| writer.drain(first, &requests)).unwrap_or_default();
        if writer.poison().is_some() {
            writer.write(group);
            continue;
        }
        let fate = fates.next();
        pass(fate.before).await;
        match fate.verdict {
            Verdict::Written => {}
            Verdict::Fails { full, written } => disk.fail_next(full, written),
            Verdict::Hangs => std::future::pending().await,
        }
        if let Some(written) = writer.write(group) {
            pass(fate.after).await;
            writer.publish(written);
        }
    }
    writer.end();
}

/// A wait of nothing is none: it would still be a turn of the scheduler.
async fn pass(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}
