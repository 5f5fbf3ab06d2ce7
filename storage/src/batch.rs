//! A batch: what one step of one actor wants durable, all of it or nothing.
//!
//! Owns the limits and their check, which happens in the caller before anything is queued. It does not own numbers:
//! the writer gives those.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use crate::{error::CommitError, journal::SET_ASIDE};

/// Tables are few and known at compile time; a computed one is accepted too.
pub type Table = Cow<'static, str>;
pub type Key = String;

/// A table's name: 1 to this many bytes, no zero byte (it separates table and key on disk).
pub const MAX_TABLE_BYTES: usize = 64;
/// A key: 1 to this many bytes, for an idempotency key (255) behind its hour (`domain::idempotency`). Ids and paths of ids are far shorter;
/// long keys would swell every index page.
pub const MAX_KEY_BYTES: usize = 272;
/// A record or an event. Values above one chunk are split (see `layout`); this keeps them to 16 chunks.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;
/// A whole batch, keys included: one batch must fit a group (4 MiB) with room for others.
pub const MAX_BATCH_BYTES: usize = 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Put {
        table: Table,
        key: Key,
        value: Vec<u8>,
    },
    Delete {
        table: Table,
        key: Key,
    },
    /// Deletes what has this digest still. Not the bytes: a batch of many would outgrow its limit.
    DeleteIf {
        table: Table,
        key: Key,
        digest: Digest,
    },
}

/// SHA-256 of a record's bytes.
pub type Digest = [u8; 32];

/// Of a value's bytes, for [`Batch::delete_if`].
pub fn digest(value: &[u8]) -> Digest {
    Sha256::digest(value).into()
}

/// Records to put and delete, in the order given (a later change of the same key wins), and events to append.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    pub(crate) changes: Vec<Change>,
    pub(crate) events: Vec<Vec<u8>>,
}

impl Batch {
    pub fn put(mut self, table: impl Into<Table>, key: impl Into<Key>, value: Vec<u8>) -> Self {
        self.changes.push(Change::Put { table: table.into(), key: key.into(), value });
        self
    }

    /// Deleting what is not there is no error.
    pub fn delete(mut self, table: impl Into<Table>, key: impl Into<Key>) -> Self {
        self.changes.push(Change::Delete { table: table.into(), key: key.into() });
        self
    }

    /// Deletes the record if its bytes have this digest still when the batch is committed, before anything else of the batch; else it leaves
    /// it as it is, and the rest of the batch is done all the same.
    pub fn delete_if(mut self, table: impl Into<Table>, key: impl Into<Key>, digest: Digest) -> Self {
        self.changes.push(Change::DeleteIf { table: table.into(), key: key.into(), digest });
        self
    }

    /// Whether what it does depends on what the store holds.
    pub(crate) fn is_conditional(&self) -> bool {
        self.changes.iter().any(|change| matches!(change, Change::DeleteIf { .. }))
    }

    /// Appends an event; it gets its cursor when the batch is committed.
    pub fn event(mut self, bytes: Vec<u8>) -> Self {
        self.events.push(bytes);
        self
    }

    /// Nothing to put, delete or append. Committing it is allowed and waits for the disk like any other.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.events.is_empty()
    }

    /// Its weight in the queue, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let changes: usize = self
            .changes
            .iter()
            .map(|change| match change {
                Change::Put { table, key, value } => table.len() + key.len() + value.len(),
                Change::Delete { table, key } => table.len() + key.len(),
                Change::DeleteIf { table, key, digest } => table.len() + key.len() + digest.len(),
            })
            .sum();
        changes + self.events.iter().map(Vec::len).sum::<usize>()
    }

    /// Refuses what the layout on disk cannot hold.
    pub(crate) fn check(&self) -> Result<(), CommitError> {
        for change in &self.changes {
            let (table, key, value) = match change {
                Change::Put { table, key, value } => (table, key, value.len()),
                Change::Delete { table, key } | Change::DeleteIf { table, key, .. } => (table, key, 0),
            };
            check_name(table, key)?;
            // Its records carry the bytes of others up to the limit, so only `set_aside` writes there.
            if table == SET_ASIDE && matches!(change, Change::Put { .. }) {
                return Err(CommitError::Reserved { table: table.to_string() });
            }
            check_value(table, value)?;
        }
        for event in &self.events {
            check_value("events", event.len())?;
        }
        match self.bytes() {
            bytes if bytes > MAX_BATCH_BYTES => {
                Err(CommitError::TooLarge { what: "batch".into(), bytes, limit: MAX_BATCH_BYTES })
            }
            _ => Ok(()),
        }
    }
}

/// A table and key that cannot be written can be neither read nor set aside.
pub(crate) fn check_name(table: &str, key: &str) -> Result<(), CommitError> {
    let table_fits = (1..=MAX_TABLE_BYTES).contains(&table.len()) && !table.contains('\0');
    if table_fits && (1..=MAX_KEY_BYTES).contains(&key.len()) {
        return Ok(());
    }
    Err(CommitError::Name { table: table.into(), key: key.into() })
}

fn check_value(table: &str, bytes: usize) -> Result<(), CommitError> {
    if bytes <= MAX_VALUE_BYTES {
        return Ok(());
    }
    Err(CommitError::TooLarge { what: format!("a value of {table}"), bytes, limit: MAX_VALUE_BYTES })
}
