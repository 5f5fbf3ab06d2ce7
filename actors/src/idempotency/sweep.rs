//! Forgetting keys that stand for nothing any more. Reads the part of the index that is due, and of the keys in it their records.
//!
//! A journal of a hearth without an index is given one first, in parts, once; until that is done it is begun again at each start.

use super::{BY_TIME, Record, TABLE};
use crate::ambient::blocking;
use domain::{Timestamp, idempotency};
use std::ops::Range;
use storage::{Batch, CommitError, Digest, Journal, ReadError, envelope::decode};

/// Entries of one read and one batch: two deletes for each, one with its condition, make under two thirds of the megabyte that a batch may
/// have.
const PART: usize = 1000;
/// Records that are read at once while the index is made: of up to 64 KiB each.
const RECORDS: usize = 200;

/// Why not all was swept; what is left is there for the next time.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error("the keys can't be read")]
    Read {
        #[source]
        source: ReadError,
    },
    #[error("the keys can't be removed")]
    Commit {
        #[source]
        source: CommitError,
    },
    #[error("reading the keys was cut short")]
    CutShort,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Entries that were due: all that was read of the index.
    pub due: usize,
    /// Keys that were forgotten: the others were used again since, and have a later entry. One that is used again in the very moment in
    /// which it is swept is among these, and stays.
    pub forgotten: usize,
    /// Keys that were given an entry.
    pub indexed: usize,
}

/// Forgets what counts no more at `now`.
///
/// Cancel: what was removed so far is removed, entry and record together.
pub async fn sweep(journal: &Journal, now: Timestamp) -> Result<Swept, SweepError> {
    let mut swept = Swept { indexed: make_index(journal).await?, ..Swept::default() };
    for Range { mut start, end } in idempotency::due(now) {
        loop {
            let (reader, range) = (journal.clone(), start.clone()..end.clone());
            let part = read(move || due(&reader, &range, now)).await?;
            let Some(last) = part.last() else { break };
            // The next key that there may be.
            start = format!("{}\0", last.entry);
            swept.due += part.len();
            swept.forgotten += forget(journal, part).await?;
        }
    }
    Ok(swept)
}

/// Removes entries, and the records of keys that were not used again since they were read.
async fn forget(journal: &Journal, part: Vec<Due>) -> Result<usize, SweepError> {
    let (mut batch, mut forgotten) = (Batch::default(), 0);
    for Due { entry, forget } in part {
        batch = batch.delete(BY_TIME, entry);
        if let Some((key, record)) = forget {
            batch = batch.delete_if(TABLE, key, record);
            forgotten += 1;
        }
    }
    journal.commit(batch).await.map_err(|source| SweepError::Commit { source })?;
    Ok(forgotten)
}

/// An entry that goes.
struct Due {
    entry: String,
    /// The key that goes with it, and its record's digest; absent when it was used again, or its record can't be read, which is for
    /// `hearth fsck` to tell.
    forget: Option<(String, Digest)>,
}

fn due(journal: &Journal, range: &Range<String>, now: Timestamp) -> Result<Vec<Due>, ReadError> {
    let entries = journal.load_part(BY_TIME, &range.start..&range.end, PART)?;
    let mut due = Vec::with_capacity(entries.len());
    for (entry, _) in entries {
        let key = idempotency::key_of(&entry).map(str::to_owned);
        let record = match &key {
            Some(key) => journal.get(TABLE, key)?,
            None => None,
        };
        let over = key.zip(record).filter(|(key, record)| is_over(key, record, now));
        // Records may have 64 KiB each.
        due.push(Due { entry, forget: over.map(|(key, record)| (key, storage::digest(&record))) });
    }
    Ok(due)
}

fn is_over(key: &str, record: &[u8], now: Timestamp) -> bool {
    match decode::<Record>(record) {
        Ok(record) => !idempotency::counts(record.at(), now),
        Err(error) => {
            tracing::warn!(key, %error, "the record of an idempotency key can't be read, it stays");
            false
        }
    }
}

/// An entry for every key, once in a journal's life; answers for how many.
async fn make_index(journal: &Journal) -> Result<usize, SweepError> {
    let reader = journal.clone();
    if read(move || reader.get(BY_TIME, idempotency::COMPLETE)).await?.is_some() {
        return Ok(0);
    }
    let (mut start, mut indexed) = (String::new(), 0);
    loop {
        let (reader, from) = (journal.clone(), start.clone());
        // Keys are printable ASCII.
        let part = read(move || reader.load_part(TABLE, &from..&"\u{7f}", RECORDS)).await?;
        let Some((last, _)) = part.records.last() else { break };
        start = format!("{last}\0");
        let mut batch = Batch::default();
        for (key, record) in part.decode::<Record>().good {
            let (table, entry, bytes) = record.entry(&key);
            batch = batch.put(table, entry, bytes);
            indexed += 1;
        }
        journal.commit(batch).await.map_err(|source| SweepError::Commit { source })?;
    }
    let complete = Batch::default().put(BY_TIME, idempotency::COMPLETE, Vec::new());
    journal.commit(complete).await.map_err(|source| SweepError::Commit { source })?;
    Ok(indexed)
}

async fn read<T: Send + 'static>(work: impl FnOnce() -> Result<T, ReadError> + Send + 'static) -> Result<T, SweepError> {
    blocking(work).await.map_err(|_| SweepError::CutShort)?.map_err(|source| SweepError::Read { source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idempotency::Outcome;
    use storage::{Options, envelope::encode};

    const NOW: u64 = 1_767_225_600_000;

    fn used(batch: Batch, key: &str, at_ms: u64) -> Batch {
        let outcome = Outcome::Answered { status: 200, body: "{}".into() };
        let record = Record { fingerprint: [7; 32], at_ms, outcome };
        let (table, entry, nothing) = record.entry(key);
        batch.put(TABLE, key, encode(&record).unwrap()).put(table, entry, nothing)
    }

    #[tokio::test]
    async fn a_key_that_is_used_again_while_it_is_swept_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(Options::new(dir.path().join("journal"))).unwrap();
        let old = NOW - 48 * 3_600_000;
        journal.commit(used(used(Batch::default(), "again", old), "gone", old)).await.unwrap();
        let [range, _] = idempotency::due(Timestamp(NOW));
        let part = due(&journal, &range, Timestamp(NOW)).unwrap();
        assert_eq!(part.len(), 2);
        // Between the sweep's look and its removal.
        journal.commit(used(Batch::default(), "again", NOW)).await.unwrap();
        forget(&journal, part).await.unwrap();
        let record = journal.get(TABLE, "again").unwrap().expect("what was answered a moment ago is there");
        assert_eq!(decode::<Record>(&record).unwrap().at_ms, NOW);
        assert_eq!(journal.get(TABLE, "gone").unwrap(), None);
        let entries: Vec<_> = journal.load(BY_TIME).unwrap().records.into_iter().map(|(entry, _)| entry).collect();
        assert_eq!(entries, [idempotency::entry(Timestamp(NOW), "again")], "and the next sweep will find it");
        journal.close().await;
    }
}
