//! Random batches, set-asides, reopenings and reads against a model of a few lines.
//!
//! Owns the comparison of everything that the public interface shows; crashes are the matter of `kill`.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use storage::{Batch, CommitError, Journal, Options, ReadError};

const KEEP_EVENTS: u64 = 40;
const TABLES: [&str; 3] = ["vm", "vm2", "image"];

#[derive(Debug, Clone)]
enum Change {
    Put(usize, String, Vec<u8>),
    Delete(usize, String),
    /// Under the condition that it has these bytes, or those that it has.
    DeleteIf(usize, String, Option<Vec<u8>>),
}

#[derive(Debug, Clone)]
enum Step {
    /// Batches that are sent at once, so that the writer may group them.
    Commit(Vec<(Vec<Change>, usize)>),
    SetAside(usize, String),
    Reopen,
    Read(u64, usize),
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{1,2}", Just("a\0b".to_owned()), Just("é/\u{1}".to_owned())]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    // Around the edges of a chunk, which are the edges of the layout.
    prop_oneof![4 => 0..40usize, 1 => 4094..4099usize, 1 => 8190..8195usize, 1 => Just(20_000usize)]
        .prop_flat_map(|size| any::<u8>().prop_map(move |byte| vec![byte; size]))
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (0..TABLES.len(), key(), value()).prop_map(|(table, key, value)| Change::Put(table, key, value)),
        1 => (0..TABLES.len(), key()).prop_map(|(table, key)| Change::Delete(table, key)),
        1 => (0..TABLES.len(), key(), value()).prop_map(|(table, key, value)| Change::DeleteIf(table, key, Some(value))),
        1 => (0..TABLES.len(), key()).prop_map(|(table, key)| Change::DeleteIf(table, key, None)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let batch = (prop::collection::vec(change(), 0..5), 0..4usize);
    prop_oneof![
        6 => prop::collection::vec(batch, 1..6).prop_map(Step::Commit),
        1 => (0..TABLES.len(), key()).prop_map(|(table, key)| Step::SetAside(table, key)),
        1 => Just(Step::Reopen),
        3 => (0..100u64, 0..20usize).prop_map(|(after, limit)| Step::Read(after, limit)),
    ]
}

#[derive(Default)]
struct Model {
    records: BTreeMap<(usize, String), Vec<u8>>,
    aside: Vec<(usize, String, Vec<u8>)>,
    /// Event `n` is at `n - 1`.
    events: Vec<Vec<u8>>,
    number: u64,
}

fn open(dir: &std::path::Path) -> Journal {
    Journal::open(Options { keep_events: KEEP_EVENTS, ..Options::new(dir) }).unwrap()
}

/// Sends all at once and waits then; the queue is first in, first out, so the model knows the order.
fn commit(runtime: &tokio::runtime::Runtime, journal: &Journal, model: &mut Model, batches: Vec<(Vec<Change>, usize)>) {
    let mut sent = Vec::new();
    for (changes, events) in batches {
        let mut batch = Batch::default();
        // What conditions are about.
        let before = model.records.clone();
        for change in changes {
            match change {
                Change::Put(table, key, value) => {
                    batch = batch.put(TABLES[table], key.clone(), value.clone());
                    model.records.insert((table, key), value);
                }
                Change::Delete(table, key) => {
                    batch = batch.delete(TABLES[table], key.clone());
                    model.records.remove(&(table, key));
                }
                Change::DeleteIf(table, key, wanted) => {
                    let at = (table, key);
                    let wanted = wanted.or_else(|| before.get(&at).cloned()).unwrap_or_default();
                    batch = batch.delete_if(TABLES[table], at.1.clone(), storage::digest(&wanted));
                    if before.get(&at) == Some(&wanted) {
                        model.records.remove(&at);
                    }
                }
            }
        }
        let first = (events > 0).then_some(model.events.len() as u64 + 1);
        for _ in 0..events {
            let event = vec![model.events.len() as u8; 3 + 5000 * usize::from(model.events.len().is_multiple_of(9))];
            batch = batch.event(event.clone());
            model.events.push(event);
        }
        model.number += 1;
        sent.push((batch, (model.number, first, model.events.len() as u64)));
    }
    runtime.block_on(async {
        let mut waiting = Vec::new();
        for (batch, expected) in sent {
            let journal = journal.clone();
            // On one thread the tasks are first polled in the order of their spawning.
            waiting.push((tokio::spawn(async move { journal.commit(batch).await }), expected));
        }
        for (task, expected) in waiting {
            let committed = task.await.unwrap().unwrap();
            assert_eq!((committed.number, committed.first_cursor, committed.last_cursor), expected);
        }
    });
}

fn compare(journal: &Journal, model: &Model) {
    for (at, table) in TABLES.iter().enumerate() {
        let expected: Vec<(String, Vec<u8>)> = model
            .records
            .iter()
            .filter(|((table, _), _)| *table == at)
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect();
        assert_eq!(journal.load(table).unwrap().records, expected);
    }
    let aside = journal.load_set_aside().unwrap().into_iter();
    let aside: Vec<_> = aside.map(|(_, record)| (record.table, record.key, record.bytes)).collect();
    let expected: Vec<_> =
        model.aside.iter().map(|(table, key, bytes)| (TABLES[*table].to_owned(), key.clone(), bytes.clone())).collect();
    assert_eq!(aside, expected);
    assert_eq!(journal.latest(), model.events.len() as u64);
}

fn read(journal: &Journal, model: &Model, after: u64, limit: usize) {
    // An idle writer may prune between the two calls, so the bound is taken before and after.
    let before = journal.oldest();
    match journal.read(after, limit) {
        Ok(events) => {
            assert!(after + 1 >= before || events.is_empty(), "event {} is older than {before}", after + 1);
            let expected = model.events.iter().enumerate().skip(after as usize).take(limit);
            let expected: Vec<_> = expected.map(|(at, bytes)| (at as u64 + 1, bytes.clone())).collect();
            let events: Vec<_> = events.into_iter().map(|(cursor, bytes)| (cursor, bytes.to_vec())).collect();
            assert_eq!(events, expected);
        }
        Err(ReadError::Expired { oldest }) => {
            assert!(after + 1 < oldest && oldest <= journal.oldest(), "{after} is expired, the oldest is {oldest}");
            let kept = journal.latest() - oldest + 1;
            assert!(kept >= KEEP_EVENTS.min(journal.latest()), "only {kept} events are kept");
        }
        Err(error) => panic!("{error:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn the_journal_does_what_the_model_does(steps in prop::collection::vec(step(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (mut journal, mut model) = (open(dir.path()), Model::default());
        for step in steps {
            match step {
                Step::Commit(batches) => commit(&runtime, &journal, &mut model, batches),
                Step::SetAside(table, key) => {
                    let result = journal.set_aside(TABLES[table], &key, "why");
                    match model.records.remove(&(table, key.clone())) {
                        Some(bytes) => {
                            result.unwrap();
                            model.number += 1;
                            model.aside.push((table, key, bytes));
                        }
                        None => assert!(matches!(result, Err(CommitError::NoRecord { .. }))),
                    }
                }
                Step::Reopen => {
                    drop(journal);
                    journal = open(dir.path());
                }
                Step::Read(after, limit) => read(&journal, &model, after, limit),
            }
        }
        compare(&journal, &model);
        drop(journal);
        compare(&open(dir.path()), &model);
    }
}
