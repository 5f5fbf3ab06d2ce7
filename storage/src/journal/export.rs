//! All records at one moment, while the journal goes on.
//!
//! Owns the moment, and that no event of before it is pruned while its backup is being made. Commits wait only while the records are
//! read; events are read later, page by page, because they never change.

use super::{Shared, layout};
use crate::error::{ReadError, StoreFault};
use std::sync::{Arc, atomic::Ordering};

/// Records as of a batch, in order of tables and keys. While it lives, nothing is pruned.
pub struct Export {
    /// The batch.
    pub number: u64,
    pub oldest: u64,
    pub latest: u64,
    /// Table, key, value.
    pub records: Vec<(String, String, Vec<u8>)>,
    _hold: Hold,
}

struct Hold(Arc<Shared>);

impl Hold {
    fn on(shared: &Arc<Shared>) -> Hold {
        shared.holds.fetch_add(1, Ordering::AcqRel);
        Hold(shared.clone())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Shared {
    pub(super) fn export(self: &Arc<Self>) -> Result<Export, ReadError> {
        // Before the moment: what is pruned after it would be missed.
        let hold = Hold::on(self);
        self.readable(|store| {
            let head = store.head()?.unwrap_or_default();
            let mut records = Vec::new();
            for (key, value) in store.scan(layout::RECORDS)? {
                let (table, key) = layout::record_name(&key).ok_or_else(|| StoreFault::Inconsistent {
                    detail: format!("the key of a record is no text: {}", key.escape_ascii()),
                })?;
                records.push((table.to_owned(), key.to_owned(), value));
            }
            Ok(Export { number: head.number, oldest: head.oldest, latest: head.latest, records, _hold: hold })
        })
    }
}
