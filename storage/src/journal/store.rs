//! sled behind a small wall: every call is caught when it panics, and a write is one batch that reaches the disk.
//!
//! Owns the tree, the file that is synced and the map of values that have chunks. It does not own numbering, order or
//! the question whether a failed store may be used again (the writer's: it may not).

use std::{
    collections::HashMap,
    fs::File,
    panic::AssertUnwindSafe,
    path::Path,
    time::{Duration, Instant},
};

use super::layout::{self, Head};
use crate::{error::StoreFault, raw};

const BYTES_PER_MIB: u64 = 1024 * 1024;

/// A key of the tree and its whole value.
pub(crate) type Entry = (Vec<u8>, Vec<u8>);

pub(crate) struct Store {
    db: sled::Db,
    /// Our own handle on `<path>/db`, opened once: an error of writing back is reported to handles opened before it.
    file: File,
    /// How many chunks follow the first entry, for the few values that have any.
    chunked: HashMap<Vec<u8>, u8>,
}

impl Store {
    /// # Errors
    /// Damage, a file system's error, or a panic inside sled, which it prefers in some cases of damage.
    pub fn open(path: &Path, cache_mib: u64) -> Result<Store, StoreFault> {
        // sled takes an index that a kill left half written for its newest and refuses; the whole one is still there.
        let forget = || raw::snapshots(path)?.1.iter().try_for_each(std::fs::remove_file);
        match forget() {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreFault::File { step: "remove an index that was begun", source });
            }
            _ => {}
        }
        let db = guarded("open", || {
            sled::Config::new()
                .path(path)
                .cache_capacity(cache_mib.max(1) * BYTES_PER_MIB)
                // Its own timer would write and sync beside ours and take part in no acknowledgement.
                .flush_every_ms(None)
                .open()
        })?;
        let file = File::open(path.join("db")).map_err(|source| StoreFault::File { step: "open the data file", source })?;
        let mut store = Store { db, file, chunked: HashMap::new() };
        let chunks = store.entries("list the chunks", layout::CHUNKS)?;
        for (key, _) in chunks {
            let Some((owner, number)) = layout::chunk_owner(&key) else {
                return Err(StoreFault::Inconsistent { detail: format!("a chunk has the key {key:?}") });
            };
            let count = store.chunked.entry(owner.to_vec()).or_default();
            *count = number.max(*count);
        }
        Ok(store)
    }

    /// `None` when the journal was never begun.
    pub fn head(&self) -> Result<Option<Head>, StoreFault> {
        let Some(bytes) = guarded("read the head", || self.db.get(layout::HEAD))? else {
            return Ok(None);
        };
        let head = Head::decode(&bytes);
        head.map(Some).ok_or_else(|| StoreFault::Inconsistent { detail: format!("the head has {} bytes", bytes.len()) })
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        let entry = guarded("read a record", || self.db.get(key))?;
        entry.map(|entry| self.join(key, &entry)).transpose()
    }

    /// All values under a prefix, in key order.
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<Entry>, StoreFault> {
        self.entries("read a table", prefix)?
            .into_iter()
            .map(|(key, entry)| self.join(&key, &entry).map(|value| (key.to_vec(), value)))
            .collect()
    }

    /// The events from `first` to `last`, both included; each of them must be there.
    pub fn events(&self, first: u64, last: u64) -> Result<Vec<(u64, Vec<u8>)>, StoreFault> {
        let range = layout::event_key(first)..=layout::event_key(last);
        let entries = guarded("read events", || self.db.range(range).collect::<Result<Vec<_>, _>>())?;
        let mut events = Vec::with_capacity(entries.len());
        for (expected, (key, entry)) in (first..=last).zip(&entries) {
            if layout::event_cursor(key) != Some(expected) {
                return Err(StoreFault::Inconsistent { detail: format!("event {expected} is missing") });
            }
            events.push((expected, self.join(key, entry)?));
        }
        match events.len() as u64 == last + 1 - first {
            true => Ok(events),
            false => Err(StoreFault::Inconsistent { detail: format!("event {} is missing", first + events.len() as u64) }),
        }
    }

    /// The cursors of the first and the last event on disk.
    pub fn event_bounds(&self) -> Result<Option<(u64, u64)>, StoreFault> {
        let (first, last) = guarded("find the first and last event", || {
            let mut events = self.db.scan_prefix(layout::EVENTS);
            let first = events.next().transpose()?;
            let last = events.next_back().transpose()?.or_else(|| first.clone());
            Ok((first, last))
        })?;
        Ok(first.and_then(|(key, _)| layout::event_cursor(&key)).zip(last.and_then(|(key, _)| layout::event_cursor(&key))))
    }

    /// Every entry as it lies in the tree, in order of keys; ends at the first that `entry` refuses.
    pub fn each<E>(&self, mut entry: impl FnMut(&[u8], &[u8]) -> Result<(), E>) -> Result<Result<(), E>, StoreFault> {
        guarded("read all", || {
            for found in self.db.iter() {
                let (key, value) = found?;
                if let Err(refused) = entry(&key, &value) {
                    return Ok(Err(refused));
                }
            }
            Ok(Ok(()))
        })
    }

    /// Adds a value to the batch, and the removal of chunks that its predecessor had and it does not need.
    pub fn stage_put(&mut self, batch: &mut sled::Batch, key: Vec<u8>, value: &[u8]) {
        let (entry, chunks) = layout::split(value);
        let before = self.chunked.get(&key).copied().unwrap_or(0);
        let count = u8::try_from(chunks.len()).unwrap_or(u8::MAX);
        for (number, chunk) in (1..=count).zip(&chunks) {
            batch.insert(layout::chunk_key(&key, number), *chunk);
        }
        for number in count + 1..=before {
            batch.remove(layout::chunk_key(&key, number));
        }
        batch.insert(key.as_slice(), entry);
        if count > 0 {
            self.chunked.insert(key, count);
        } else if before > 0 {
            self.chunked.remove(&key);
        }
    }

    pub fn stage_delete(&mut self, batch: &mut sled::Batch, key: &[u8]) {
        for number in 1..=self.chunked.remove(key).unwrap_or(0) {
            batch.remove(layout::chunk_key(key, number));
        }
        batch.remove(key);
    }

    pub fn stage_head(batch: &mut sled::Batch, head: Head) {
        batch.insert(layout::HEAD, head.encode());
    }

    /// Returns how long the flush and the sync took, once the batch is on the disk.
    ///
    /// # Errors
    /// After any, memory may hold what the disk does not: the store must not be read or written again.
    pub fn apply(&self, batch: sled::Batch) -> Result<Duration, StoreFault> {
        guarded("apply a batch", || self.db.apply_batch(batch))?;
        let start = Instant::now();
        guarded("flush", || self.db.flush())?;
        // sled's flush ends with sync_file_range, which reaches neither the metadata nor the drive's cache.
        self.file.sync_data().map_err(|source| StoreFault::File { step: "sync the data file", source })?;
        Ok(start.elapsed())
    }

    /// Ends sled, which flushes once more on its way out and may panic doing so on a full disk.
    pub fn close(self) -> Result<(), StoreFault> {
        guarded("close", || {
            drop(self.db);
            Ok(())
        })
    }

    fn entries(&self, step: &'static str, prefix: &[u8]) -> Result<Vec<(sled::IVec, sled::IVec)>, StoreFault> {
        guarded(step, || self.db.scan_prefix(prefix).collect::<Result<Vec<_>, _>>())
    }

    /// The value of a first entry and its chunks.
    fn join(&self, key: &[u8], entry: &[u8]) -> Result<Vec<u8>, StoreFault> {
        let Some(first) = layout::First::of(entry) else {
            return Err(StoreFault::Inconsistent { detail: format!("the entry {} is empty", key.escape_ascii()) });
        };
        let mut value = first.bytes.to_vec();
        for number in 1..=first.chunks {
            match guarded("read a chunk", || self.db.get(layout::chunk_key(key, number)))? {
                Some(chunk) => value.extend_from_slice(&chunk),
                None => {
                    let detail = format!("chunk {number} of {} is missing", key.escape_ascii());
                    return Err(StoreFault::Inconsistent { detail });
                }
            }
        }
        if !first.fits(&value) {
            return Err(StoreFault::Inconsistent { detail: format!("the parts of {} do not fit together", key.escape_ascii()) });
        }
        Ok(value)
    }
}

/// sled panics where it meets what it holds impossible; on a damaged or full disk the impossible happens.
fn guarded<T>(step: &'static str, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreFault> {
    match std::panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|source| StoreFault::Engine { step, source }),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            Err(StoreFault::Panicked { step, message: text.unwrap_or("no message").to_owned() })
        }
    }
}
