//! What a request becomes in its group: numbers, and changes of the store's entries.
//!
//! Owns the numbers of batches and of events, and what depends on what the store holds (setting aside, deleting under a condition): such a
//! request begins its group, so that nothing is staged that the store does not show yet. When groups end is `writer`'s.

use std::sync::Arc;

use super::{
    aside::{SET_ASIDE, SetAside},
    engine::Staged,
    handle::Committed,
    layout::{self, Head},
    store::Store,
    writer::{Reply, Request, Work},
};
use crate::{
    batch::{Batch, Change, digest},
    envelope,
    error::{CommitError, ReadError},
};

/// A group as it becomes one batch of the store.
#[derive(Default)]
pub(super) struct Group {
    pub batch: Staged,
    pub events: Vec<(u64, Vec<u8>)>,
    pub answers: Vec<(Reply, Committed)>,
}

/// Adds a request to the group, or answers at once that it cannot be done. The last change of a key counts, so the order of staging is the
/// order of the batches.
pub(super) fn stage(store: &mut Store, group: &mut Group, head: &mut Head, request: Request) {
    let batch = match request.work {
        Work::Batch(batch) if batch.is_conditional() => settled(store, batch),
        Work::Batch(batch) => Ok(batch),
        Work::SetAside { table, key, why } => move_aside(store, head.number + 1, &table, &key, &why),
    };
    let batch = match batch {
        Ok(batch) => batch,
        Err(error) => return request.reply.send(Err(error)),
    };
    for change in batch.changes {
        match change {
            Change::Put { table, key, value } => {
                store.stage_put(&mut group.batch, layout::record_key(&table, &key), &value);
            }
            Change::Delete { table, key } => store.stage_delete(&mut group.batch, &layout::record_key(&table, &key)),
            // Those that hold are deletions now.
            Change::DeleteIf { .. } => {}
        }
    }
    head.number += 1;
    let first_cursor = (!batch.events.is_empty()).then_some(head.latest + 1);
    for event in batch.events {
        head.latest += 1;
        head.oldest = head.oldest.max(1);
        store.stage_put(&mut group.batch, layout::event_key(head.latest), &event);
        group.events.push((head.latest, event));
    }
    let committed = Committed { number: head.number, first_cursor, last_cursor: head.latest };
    group.answers.push((request.reply, committed));
}

/// The batch with its conditions judged: a deletion whose condition holds is one without, the others stay behind.
fn settled(store: &Store, mut batch: Batch) -> Result<Batch, CommitError> {
    for change in &mut batch.changes {
        if let Change::DeleteIf { table, key, digest: wanted } = change
            && read(store, table, key)?.is_some_and(|value| digest(&value) == *wanted)
        {
            *change = Change::Delete { table: std::mem::take(table), key: std::mem::take(key) };
        }
    }
    Ok(batch)
}

fn read(store: &Store, table: &str, key: &str) -> Result<Option<Vec<u8>>, CommitError> {
    store.get(&layout::record_key(table, key)).map_err(|fault| CommitError::Record {
        table: table.into(),
        key: key.into(),
        source: ReadError::Store { source: Arc::new(fault) },
    })
}

/// The key begins with the batch's number: in order of time, and the same record can be set aside twice.
fn move_aside(store: &Store, number: u64, table: &str, key: &str, why: &str) -> Result<Batch, CommitError> {
    let bytes = read(store, table, key)?.ok_or_else(|| CommitError::NoRecord { table: table.into(), key: key.into() })?;
    let record = envelope::encode(&SetAside::new(table, key, bytes, why))
        .map_err(|source| CommitError::Encode { source: Arc::new(source) })?;
    Ok(Batch::default().delete(table.to_owned(), key).put(SET_ASIDE, format!("{number:020}"), record))
}
