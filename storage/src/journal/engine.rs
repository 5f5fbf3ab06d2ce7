//! What a store keeps its entries in: ordered keys and bytes that change by atomic batches.
//!
//! Owns the seam between what the journal means (numbers, events, chunks: `store`, `writer`) and where it lies: on sled
//! ([`super::disk`]), or in a simulation's memory. It does not own what a failure means; after one the store is not used again.

use std::{ops::Bound, time::Duration};

use crate::error::StoreFault;

/// A key and its bytes.
pub(crate) type Entry = (Vec<u8>, Vec<u8>);

/// From one key to another.
pub(crate) type Keys = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// A first and a last key.
pub(crate) type Bounds = (Vec<u8>, Vec<u8>);

/// The changes of one batch, in order; `None` removes. Of two changes of one key the later counts.
#[derive(Debug, Default)]
pub(crate) struct Staged(pub Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl Staged {
    pub fn insert(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.0.push((key.into(), Some(value.into())));
    }

    pub fn remove(&mut self, key: impl Into<Vec<u8>>) {
        self.0.push((key.into(), None));
    }
}

/// `step` says in errors what the caller was about.
pub(crate) trait Engine: Send + Sync {
    fn get(&self, step: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault>;

    /// All entries under a prefix, in key order.
    fn scan(&self, step: &'static str, prefix: &[u8]) -> Result<Vec<Entry>, StoreFault>;

    /// Each entry under a prefix, in key order, without a copy of them all where the engine can; `entry` may read the engine.
    fn each_under(&self, step: &'static str, prefix: &[u8], entry: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreFault> {
        self.scan(step, prefix)?.iter().for_each(|(key, value)| entry(key, value));
        Ok(())
    }

    /// In key order, `limit` at most.
    fn range(&self, step: &'static str, keys: Keys, limit: usize) -> Result<Vec<Entry>, StoreFault>;

    /// Every entry, in key order, until `entry` says that it is enough.
    fn each(&self, step: &'static str, entry: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreFault>;

    /// The first and the last key under a prefix.
    fn bounds(&self, step: &'static str, prefix: &[u8]) -> Result<Option<Bounds>, StoreFault>;

    /// Returns how long the disk took, once the batch is on it.
    ///
    /// # Errors
    /// After any, memory may hold what the disk does not: the engine must not be read or written again.
    fn apply(&self, batch: Staged) -> Result<Duration, StoreFault>;

    fn close(self: Box<Self>) -> Result<(), StoreFault>;
}
