//! Sweeping idempotency keys reads what is due and nothing else, and forgets nothing that counts.

use actors::idempotency::{BY_TIME, Outcome, Record, Swept, TABLE, sweep};
use domain::{Timestamp, idempotency};
use storage::{Batch, Journal, Options, envelope::encode};

const NOW: u64 = 1_767_225_600_000;
const HOUR: u64 = 3_600_000;

fn record(at_ms: u64) -> Record {
    Record { fingerprint: [7; 32], at_ms, outcome: Outcome::Answered { status: 200, body: "{}".into() } }
}

/// As a server of now leaves it, or, without its entry, one that had no index.
fn used(batch: Batch, key: &str, at_ms: u64, indexed: bool) -> Batch {
    let record = record(at_ms);
    let batch = batch.put(TABLE, key, encode(&record).unwrap());
    if !indexed {
        return batch;
    }
    let (table, entry, nothing) = record.entry(key);
    batch.put(table, entry, nothing)
}

fn keys(journal: &Journal, table: &'static str) -> Vec<String> {
    let all = journal.load(table).unwrap().records.into_iter().map(|(key, _)| key);
    all.filter(|key| key != idempotency::COMPLETE).collect()
}

#[tokio::test]
async fn a_sweep_reads_what_is_due_and_forgets_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(Options::new(dir.path().join("journal"))).unwrap();
    let now = Timestamp(NOW);
    assert_eq!(sweep(&journal, now).await.unwrap(), Swept::default(), "nothing is there");
    let long = "k".repeat(255);
    let mut batch = Batch::default();
    // More than one read takes, and more that counts than that.
    for number in 0..1500 {
        batch = used(batch, &format!("old-{number}"), NOW - 26 * HOUR - number, true);
    }
    journal.commit(batch).await.unwrap();
    let mut batch = Batch::default();
    for number in 0..2000 {
        batch = used(batch, &format!("young-{number}"), NOW - number * 40_000, true);
    }
    for (key, at) in [(long.as_str(), NOW - 30 * HOUR), ("ahead", NOW + 30 * HOUR), ("a-little-ahead", NOW + HOUR)] {
        batch = used(batch, key, at, true);
    }
    // Used again after its day: the first entry is due, the key is not.
    batch = used(batch, "again", NOW - 40 * HOUR, true);
    batch = used(batch, "again", NOW - HOUR, true);
    journal.commit(batch).await.unwrap();
    let swept = sweep(&journal, now).await.unwrap();
    assert_eq!(swept, Swept { due: 1503, forgotten: 1502, indexed: 0 });
    let left = keys(&journal, TABLE);
    assert_eq!(left.len(), 2002, "what counts is there");
    assert!(left.contains(&"again".to_owned()) && left.contains(&"a-little-ahead".to_owned()));
    assert_eq!(keys(&journal, BY_TIME).len(), 2002, "an entry for each");
    assert_eq!(sweep(&journal, now).await.unwrap(), Swept::default(), "what was swept is not read again");
    journal.close().await;
}

#[tokio::test]
async fn a_journal_without_an_index_gets_one_once_and_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = Journal::open(Options::new(&path)).unwrap();
    let mut batch = Batch::default();
    for number in 0..450 {
        batch = used(batch, &format!("old-{number}"), NOW - 48 * HOUR, false);
        batch = used(batch, &format!("young-{number}"), NOW - HOUR, false);
    }
    journal.commit(batch.put(TABLE, "unreadable", vec![255; 9])).await.unwrap();
    let swept = sweep(&journal, Timestamp(NOW)).await.unwrap();
    assert_eq!(swept, Swept { due: 450, forgotten: 450, indexed: 900 });
    assert_eq!((keys(&journal, TABLE).len(), keys(&journal, BY_TIME).len()), (451, 450), "what can't be read stays");
    journal.close().await;
    let journal = Journal::open(Options::new(&path)).unwrap();
    let swept = sweep(&journal, Timestamp(NOW + 24 * HOUR)).await.unwrap();
    assert_eq!(swept, Swept { due: 450, forgotten: 450, indexed: 0 }, "made once in a journal's life");
    assert_eq!((keys(&journal, TABLE).len(), keys(&journal, BY_TIME).len()), (1, 0));
    journal.close().await;
}
