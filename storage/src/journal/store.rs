//! The journal's entries on an engine: the head, events, and values in chunks.
//!
//! Owns the map of values that have chunks. It does not own numbering, order or the question whether a failed store may be
//! used again (the writer's: it may not), nor where the entries lie (`engine`).

use std::{
    collections::HashMap,
    ops::{Bound, Range},
    path::Path,
    time::Duration,
};

use super::{
    disk::Disk,
    engine::{Engine, Entry, Staged},
    layout::{self, Head},
};
use crate::error::StoreFault;

pub(crate) struct Store {
    engine: Box<dyn Engine>,
    /// How many chunks follow the first entry, for the few values that have any.
    chunked: HashMap<Vec<u8>, u8>,
}

impl Store {
    /// # Errors
    /// Damage, a file system's error, or a panic inside sled, which it prefers in some cases of damage.
    pub fn open(path: &Path, cache_mib: u64) -> Result<Store, StoreFault> {
        Store::on(Box::new(Disk::open(path, cache_mib)?))
    }

    pub fn on(engine: Box<dyn Engine>) -> Result<Store, StoreFault> {
        let mut chunked: HashMap<Vec<u8>, u8> = HashMap::new();
        for (key, _) in engine.scan("list the chunks", layout::CHUNKS)? {
            let Some((owner, number)) = layout::chunk_owner(&key) else {
                return Err(StoreFault::Inconsistent { detail: format!("a chunk has the key {}", key.escape_ascii()) });
            };
            let count = chunked.entry(owner.to_vec()).or_default();
            *count = number.max(*count);
        }
        Ok(Store { engine, chunked })
    }

    /// `None` when the journal was never begun.
    pub fn head(&self) -> Result<Option<Head>, StoreFault> {
        let Some(bytes) = self.engine.get("read the head", layout::HEAD)? else {
            return Ok(None);
        };
        let head = Head::decode(&bytes);
        head.map(Some).ok_or_else(|| StoreFault::Inconsistent { detail: format!("the head has {} bytes", bytes.len()) })
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        let entry = self.engine.get("read a record", key)?;
        entry.map(|entry| self.join(key, &entry)).transpose()
    }

    /// All values under a prefix, in key order.
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<Entry>, StoreFault> {
        let entries = self.engine.scan("read a table", prefix)?;
        entries.into_iter().map(|(key, entry)| self.join(&key, &entry).map(|value| (key, value))).collect()
    }

    /// Each value under a prefix, in key order, as it lies there: only one that has chunks is put together first.
    pub fn each_value(
        &self,
        prefix: &[u8],
        mut value: impl FnMut(&[u8], &[u8]) -> Result<(), StoreFault>,
    ) -> Result<(), StoreFault> {
        let mut result = Ok(());
        self.engine.each_under("read a table", prefix, &mut |key, entry| {
            if result.is_ok() {
                result = match layout::First::of(entry) {
                    Some(first) if first.chunks == 0 && first.fits(first.bytes) => value(key, first.bytes),
                    _ => self.join(key, entry).and_then(|joined| value(key, &joined)),
                };
            }
        })?;
        result
    }

    /// The first `limit` values between two keys, in key order.
    pub fn between(&self, keys: Range<Vec<u8>>, limit: usize) -> Result<Vec<Entry>, StoreFault> {
        let keys = (Bound::Included(keys.start), Bound::Excluded(keys.end));
        let entries = self.engine.range("read a part of a table", keys, limit)?;
        entries.into_iter().map(|(key, entry)| self.join(&key, &entry).map(|value| (key, value))).collect()
    }

    /// The events from `first` to `last`, both included; each of them must be there.
    pub fn events(&self, first: u64, last: u64) -> Result<Vec<(u64, Vec<u8>)>, StoreFault> {
        let keys = (Bound::Included(layout::event_key(first)), Bound::Included(layout::event_key(last)));
        let entries = self.engine.range("read events", keys, usize::MAX)?;
        let mut events = Vec::with_capacity(entries.len());
        for (expected, (key, entry)) in (first..=last).zip(entries) {
            if layout::event_cursor(&key) != Some(expected) {
                return Err(StoreFault::Inconsistent { detail: format!("event {expected} is missing") });
            }
            events.push((expected, self.join(&key, &entry)?));
        }
        match events.len() as u64 == last + 1 - first {
            true => Ok(events),
            false => Err(StoreFault::Inconsistent { detail: format!("event {} is missing", first + events.len() as u64) }),
        }
    }

    /// The cursors of the first and the last event on disk.
    pub fn event_bounds(&self) -> Result<Option<(u64, u64)>, StoreFault> {
        let bounds = self.engine.bounds("find the first and last event", layout::EVENTS)?;
        Ok(bounds.and_then(|(first, last)| layout::event_cursor(&first).zip(layout::event_cursor(&last))))
    }

    /// Every entry as it lies in the tree, in order of keys; ends at the first that `entry` refuses.
    pub fn each<E>(&self, mut entry: impl FnMut(&[u8], &[u8]) -> Result<(), E>) -> Result<Result<(), E>, StoreFault> {
        let mut result = Ok(());
        self.engine.each("read all", &mut |key, value| {
            result = entry(key, value);
            result.is_ok()
        })?;
        Ok(result)
    }

    /// Adds a value to the batch, and the removal of chunks that its predecessor had and it does not need.
    pub fn stage_put(&mut self, batch: &mut Staged, key: Vec<u8>, value: &[u8]) {
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

    pub fn stage_delete(&mut self, batch: &mut Staged, key: &[u8]) {
        for number in 1..=self.chunked.remove(key).unwrap_or(0) {
            batch.remove(layout::chunk_key(key, number));
        }
        batch.remove(key);
    }

    pub fn stage_head(batch: &mut Staged, head: Head) {
        batch.insert(layout::HEAD, head.encode());
    }

    /// Returns how long the flush and the sync took, once the batch is on the disk.
    ///
    /// # Errors
    /// After any, memory may hold what the disk does not: the store must not be read or written again.
    pub fn apply(&self, batch: Staged) -> Result<Duration, StoreFault> {
        self.engine.apply(batch)
    }

    pub fn close(self) -> Result<(), StoreFault> {
        self.engine.close()
    }

    /// The value of a first entry and its chunks.
    fn join(&self, key: &[u8], entry: &[u8]) -> Result<Vec<u8>, StoreFault> {
        let Some(first) = layout::First::of(entry) else {
            return Err(StoreFault::Inconsistent { detail: format!("the entry {} is empty", key.escape_ascii()) });
        };
        let mut value = first.bytes.to_vec();
        for number in 1..=first.chunks {
            match self.engine.get("read a chunk", &layout::chunk_key(key, number))? {
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
