//! sled behind a small wall: every call is caught when it panics, and a write is one batch that reaches the disk.
//!
//! Owns the tree and the file that is synced.

use std::{
    fs::File,
    panic::AssertUnwindSafe,
    path::Path,
    time::{Duration, Instant},
};

use super::engine::{Bounds, Engine, Entry, Keys, Staged};
use crate::{error::StoreFault, raw};

const BYTES_PER_MIB: u64 = 1024 * 1024;

pub(super) struct Disk {
    db: sled::Db,
    /// Our own handle on `<path>/db`, opened once: an error of writing back is reported to handles opened before it.
    file: File,
}

impl Disk {
    /// # Errors
    /// Damage, a file system's error, or a panic inside sled, which it prefers in some cases of damage.
    pub fn open(path: &Path, cache_mib: u64) -> Result<Disk, StoreFault> {
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
        Ok(Disk { db, file })
    }
}

impl Engine for Disk {
    fn get(&self, step: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        Ok(guarded(step, || self.db.get(key))?.map(|value| value.to_vec()))
    }

    fn scan(&self, step: &'static str, prefix: &[u8]) -> Result<Vec<Entry>, StoreFault> {
        guarded(step, || self.db.scan_prefix(prefix).map(owned).collect())
    }

    fn each_under(&self, step: &'static str, prefix: &[u8], entry: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreFault> {
        guarded(step, || {
            for found in self.db.scan_prefix(prefix) {
                let (key, value) = found?;
                entry(&key, &value);
            }
            Ok(())
        })
    }

    fn range(&self, step: &'static str, keys: Keys, limit: usize) -> Result<Vec<Entry>, StoreFault> {
        guarded(step, || self.db.range(keys).take(limit).map(owned).collect())
    }

    fn each(&self, step: &'static str, entry: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreFault> {
        guarded(step, || {
            for found in self.db.iter() {
                let (key, value) = found?;
                if !entry(&key, &value) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn bounds(&self, step: &'static str, prefix: &[u8]) -> Result<Option<Bounds>, StoreFault> {
        guarded(step, || {
            let mut entries = self.db.scan_prefix(prefix);
            let first = entries.next().transpose()?;
            let last = entries.next_back().transpose()?.or_else(|| first.clone());
            Ok(first.zip(last).map(|((first, _), (last, _))| (first.to_vec(), last.to_vec())))
        })
    }

    fn apply(&self, staged: Staged) -> Result<Duration, StoreFault> {
        let mut batch = sled::Batch::default();
        for (key, value) in staged.0 {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        guarded("apply a batch", || self.db.apply_batch(batch))?;
        let start = Instant::now();
        guarded("flush", || self.db.flush())?;
        // sled's flush ends with sync_file_range, which reaches neither the metadata nor the drive's cache.
        self.file.sync_data().map_err(|source| StoreFault::File { step: "sync the data file", source })?;
        Ok(start.elapsed())
    }

    /// Ends sled, which flushes once more on its way out and may panic doing so on a full disk.
    fn close(self: Box<Self>) -> Result<(), StoreFault> {
        guarded("close", || {
            drop(self.db);
            Ok(())
        })
    }
}

fn owned(entry: sled::Result<(sled::IVec, sled::IVec)>) -> sled::Result<Entry> {
    entry.map(|(key, value)| (key.to_vec(), value.to_vec()))
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
