//! A whole journal written into a new folder: by a repair, a restore and a compaction.
//!
//! Owns the order: entries first, the head with the last of them, the mark "ready" last, so that a rebuild that was cut short is no
//! journal. Decides nothing about content.

use super::{
    directory::{Acknowledged, Directory, Found, Noted},
    engine::Staged,
    layout::{self, Head},
    store::Store,
};
use crate::error::{OpenError, StoreFault};
use std::path::Path;

/// Of one write to the store; a rebuild is not in a hurry, and the store keeps what is not written in memory.
const WRITE_BYTES: usize = 4 * 1024 * 1024;
const CACHE_MIB: u64 = 64;

/// Takes entries in any order; `finish` makes it a journal.
pub(crate) struct Rebuild {
    directory: Directory,
    store: Store,
    batch: Staged,
    waiting: usize,
}

impl Rebuild {
    /// In a folder that is new or empty.
    ///
    /// # Errors
    /// As those of opening a journal; `Foreign` when it holds something, a journal too.
    pub fn begin(folder: &Path) -> Result<Rebuild, OpenError> {
        let (directory, found) = Directory::claim(folder)?;
        if found != Found::Fresh {
            return Err(OpenError::Foreign { path: folder.into(), found: "a journal".to_owned() });
        }
        let store = Store::open(folder, CACHE_MIB).map_err(|source| OpenError::Prepare { path: folder.into(), source })?;
        Ok(Rebuild { directory, store, batch: Staged::default(), waiting: 0 })
    }

    pub fn record(&mut self, table: &str, key: &str, value: &[u8]) -> Result<(), StoreFault> {
        self.put(layout::record_key(table, key), value)
    }

    pub fn event(&mut self, cursor: u64, value: &[u8]) -> Result<(), StoreFault> {
        self.put(layout::event_key(cursor), value)
    }

    fn put(&mut self, key: Vec<u8>, value: &[u8]) -> Result<(), StoreFault> {
        self.waiting += key.len() + value.len();
        self.store.stage_put(&mut self.batch, key, value);
        if self.waiting >= WRITE_BYTES {
            self.waiting = 0;
            self.store.apply(std::mem::take(&mut self.batch))?;
        }
        Ok(())
    }

    /// All of it is on the disk when this returns, and the folder is a journal that nobody uses.
    pub fn finish(mut self, head: Head, folder: &Path) -> Result<(), OpenError> {
        let failed = |source| OpenError::Prepare { path: folder.into(), source };
        Store::stage_head(&mut self.batch, head);
        self.store.apply(std::mem::take(&mut self.batch)).map_err(failed)?;
        Acknowledged::open(folder)
            .and_then(|file| file.record(Noted { number: head.number, latest: head.latest }))
            .map_err(|source| failed(StoreFault::File { step: "note the last batch", source }))?;
        self.store.close().map_err(failed)?;
        self.directory.mark_ready()?;
        self.directory.release();
        Ok(())
    }
}
