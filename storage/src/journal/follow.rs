//! Reading events by cursor.
//!
//! Owns the choice between the ring and the store, and the answer to a cursor that is too old.

use std::sync::Arc;

use super::Shared;
use crate::error::ReadError;

/// An event with its cursor.
pub type Event = (u64, Arc<[u8]>);

/// The most that one `read` returns: about a megabyte of usual events, and a bound on how long the store is locked.
pub const READ_LIMIT: usize = 4096;

impl Shared {
    pub(super) fn read_events(&self, after: u64, limit: usize) -> Result<Vec<Event>, ReadError> {
        let latest = self.latest();
        let limit = limit.min(READ_LIMIT);
        if after >= latest || limit == 0 {
            return Ok(Vec::new());
        }
        let first = after + 1;
        let oldest = self.oldest();
        if first < oldest {
            return Err(ReadError::Expired { oldest });
        }
        if let Some(events) = self.ring.read(first, latest, limit) {
            return Ok(events);
        }
        let last = latest.min(after + limit as u64);
        let events = self.readable(|store| {
            // Under the lock nothing is pruned, so either `first` is expired by now or all of the range is there.
            let oldest = self.oldest();
            if first < oldest { Ok(Err(ReadError::Expired { oldest })) } else { store.events(first, last).map(Ok) }
        })??;
        Ok(events.into_iter().map(|(cursor, bytes)| (cursor, bytes.into())).collect())
    }
}
