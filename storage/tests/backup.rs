//! A backup that is made while the journal goes on is one moment of it, and a file that is not whole is refused.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use sha2::Digest;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};
use storage::{
    Batch, Journal, Options, Rescued,
    backup::{self, BackupError, Pieces},
    offline,
};

const THREADS: u64 = 3;
const PARTS: u64 = 4;
const KEEP_EVENTS: u64 = 300;

fn open(path: &Path) -> Journal {
    Journal::open(Options { keep_events: KEEP_EVENTS, ..Options::new(path) }).unwrap()
}

fn value(thread: u64, step: u64) -> Vec<u8> {
    let mut bytes = format!("{thread} {step}").into_bytes();
    if step.is_multiple_of(7) {
        bytes.resize(9000, b' ');
    }
    bytes
}

fn parse(bytes: &[u8]) -> (u64, u64) {
    let text = std::str::from_utf8(bytes).unwrap();
    let mut numbers = text.split_whitespace().map(|word| word.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

fn batch(thread: u64, step: u64) -> Batch {
    let mut batch = Batch::default().event(value(thread, step));
    for part in 0..PARTS {
        batch = batch.put("parts", format!("{thread}-{part}"), value(thread, step));
    }
    batch
}

fn take(journal: &Journal) -> Vec<u8> {
    Pieces::of(journal, "0.1.0", 5).unwrap().flat_map(Result::unwrap).collect()
}

/// Every thread's parts are of one step, which is that of its last event.
fn is_one_moment(content: &Rescued) {
    let mut newest = BTreeMap::new();
    for bytes in content.events.values() {
        let (thread, step) = parse(bytes);
        assert_eq!(newest.insert(thread, step).map_or(step, |before| before + 1), step);
    }
    for ((_, key), bytes) in &content.records {
        let (thread, step) = parse(bytes);
        assert_eq!(newest.get(&thread), Some(&step), "{key} is of another moment than the events");
    }
    assert_eq!(content.number, content.bounds.1, "one event a batch");
    // An empty journal's bounds are 0 to 0, and there is no event 0.
    let events = if content.bounds.1 == 0 { 0 } else { content.bounds.1 + 1 - content.bounds.0 };
    assert_eq!(content.events.len() as u64, events);
}

struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_backup_under_load_is_one_moment_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir.path().join("journal"));
    let stop = AtomicBool::new(false);
    let last = std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (journal, stop) = (journal.clone(), &stop);
            scope.spawn(move || {
                for step in 1.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    journal.commit_blocking(batch(thread, step)).unwrap();
                }
            });
        }
        // Also when an assertion fails: the scope waits for its threads, and a failure must not become a hang.
        let stopping = Stopping(&stop);
        let mut last = Rescued::default();
        while last.number < 1500 {
            let backup::Backup { about, content, .. } = backup::read(take(&journal).as_slice()).unwrap();
            is_one_moment(&content);
            assert!(about.number >= last.number && about.version == "0.1.0");
            last = content;
        }
        drop(stopping);
        last
    });
    let restored = dir.path().join("restored");
    offline::write(&restored, &last).unwrap();
    let again = open(&restored);
    let content = backup::read(take(&again).as_slice()).unwrap().content;
    assert!(content == last, "what was restored is something else");
    assert_eq!(again.commit_blocking(batch(9, 1)).unwrap().number, last.number + 1);
    // Nothing holds back retention once no backup is under way.
    for step in 2..50 {
        journal.commit_blocking(batch(9, step)).unwrap();
    }
    assert!(journal.latest() + 1 - journal.oldest() <= 2 * KEEP_EVENTS, "{} to {}", journal.oldest(), journal.latest());
    let kept = Pieces::of(&journal, "", 0).unwrap();
    let oldest = journal.oldest();
    for step in 50..500 {
        journal.commit_blocking(batch(9, step)).unwrap();
    }
    assert_eq!(journal.oldest(), oldest, "pruned under a backup's feet");
    is_one_moment(&backup::read(kept.flat_map(Result::unwrap).collect::<Vec<u8>>().as_slice()).unwrap().content);
}

#[test]
fn an_empty_journal_has_a_backup_too() {
    let dir = tempfile::tempdir().unwrap();
    let backup::Backup { about, content, secrets } = backup::read(take(&open(dir.path())).as_slice()).unwrap();
    assert_eq!((about.number, about.latest, content.records.len(), secrets.len()), (0, 0, 0, 0));
}

#[test]
fn secrets_that_are_brought_come_back_and_a_file_of_the_first_format_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal.commit_blocking(batch(0, 1)).unwrap();
    let secrets = vec![("wh_1".to_owned(), b"sesame".to_vec()), ("wh_2_05".to_owned(), vec![])];
    let pieces = Pieces::of(&journal, "0.1.0", 5).unwrap();
    assert_eq!(pieces.records_of("parts").count() as u64, PARTS);
    let file: Vec<u8> = pieces.with_secrets(secrets.clone()).flat_map(Result::unwrap).collect();
    let read = backup::read(file.as_slice()).unwrap();
    assert_eq!(read.secrets.clone().into_iter().collect::<Vec<_>>(), secrets);
    assert!(!format!("{read:?}").contains("115, 101"), "{read:?}");
    is_one_moment(&read.content);

    // As hearth wrote it before there were any: another number, and the sum over it.
    let mut first = take(&journal);
    first.truncate(first.len() - 37);
    first[14] = b'1';
    let sum = sha2::Sha256::digest(&first);
    first.extend_from_slice(&[b'Z', 32, 0, 0, 0]);
    first.extend_from_slice(&sum);
    let old = backup::read(first.as_slice()).unwrap();
    assert!(old.content == read.content && old.secrets.is_empty());
}

#[test]
fn what_is_not_whole_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    for step in 1..=20 {
        journal.commit_blocking(batch(0, step)).unwrap();
    }
    let good = take(&journal);
    backup::read(good.as_slice()).unwrap();
    for length in (0..good.len()).step_by(97) {
        let error = backup::read(&good[..length]).unwrap_err();
        let expected = if length < 16 { matches!(error, BackupError::Foreign) } else { matches!(error, BackupError::Truncated) };
        assert!(expected, "cut to {length}: {error:?}");
    }
    for at in (16..good.len()).step_by(61) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert!(backup::read(bad.as_slice()).is_err(), "byte {at}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(matches!(backup::read(longer.as_slice()), Err(BackupError::Damaged { .. })));
    let mut newer = good;
    newer[14] = b'3';
    assert!(matches!(backup::read(newer.as_slice()), Err(BackupError::Newer { found }) if found == "hearth backup 3"));
    assert!(matches!(backup::read(&b"some other file altogether"[..]), Err(BackupError::Foreign)));
}
