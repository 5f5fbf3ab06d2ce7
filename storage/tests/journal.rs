//! The promises of the journal, one by one, on a real directory.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::{collections::HashSet, path::Path, time::Duration};

use storage::{Batch, CommitError, Journal, MAX_VALUE_BYTES, OpenError, Options, ReadError, SET_ASIDE, SetAside, envelope};

const DEADLINE: Duration = Duration::from_secs(20);

fn open(path: &Path) -> Journal {
    Journal::open(Options::new(path)).unwrap()
}

fn event(number: u64) -> Batch {
    Batch::default().event(number.to_string().into_bytes())
}

#[test]
fn a_batch_is_numbered_and_comes_back_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    assert_eq!((journal.latest(), journal.oldest()), (0, 0));
    let first = journal.commit_blocking(Batch::default().put("vm", "a", vec![1]).put("vm", "b", vec![2])).unwrap();
    assert_eq!((first.number, first.first_cursor, first.last_cursor), (1, None, 0));
    let second = journal.commit_blocking(event(1).event(b"2".to_vec()).delete("vm", "a")).unwrap();
    assert_eq!((second.number, second.first_cursor, second.last_cursor), (2, Some(1), 2));
    drop(journal);
    let journal = open(dir.path());
    assert_eq!(journal.load("vm").unwrap().records, [("b".to_owned(), vec![2])]);
    assert_eq!(journal.load("v").unwrap().records, [], "a table is not the prefix of another");
    assert_eq!((journal.latest(), journal.oldest()), (2, 1));
    assert_eq!(journal.commit_blocking(Batch::default()).unwrap().number, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_callers_get_gapless_numbers_and_their_own_events() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..64u64 {
        let journal = journal.clone();
        callers.spawn(async move {
            let mut mine = Vec::new();
            for step in 0..20u64 {
                let text = format!("{caller} {step}").into_bytes();
                let batch = Batch::default().put("last", "one", text.clone()).event(text.clone()).event(text.clone());
                let committed = journal.commit(batch).await.unwrap();
                let first = committed.first_cursor.unwrap();
                assert_eq!(committed.last_cursor, first + 1);
                assert!(journal.latest() >= committed.last_cursor, "what is answered can be read");
                let read = journal.read(first - 1, 2).unwrap();
                assert!(read.iter().all(|(_, bytes)| **bytes == *text), "the cursors are of these events");
                mine.push((committed.number, first, text));
            }
            assert!(mine.is_sorted(), "a caller's own batches are in its order");
            mine
        });
    }
    let mut all: Vec<_> = callers.join_all().await.into_iter().flatten().collect();
    all.sort();
    let numbers: Vec<u64> = all.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, (1..=1280).collect::<Vec<u64>>());
    let cursors: Vec<u64> = all.iter().map(|(_, first, _)| *first).collect();
    assert_eq!(cursors, (1..=2560).step_by(2).collect::<Vec<u64>>(), "numbers and cursors have one order");
    assert_eq!(journal.get("last", "one").unwrap(), Some(all.last().unwrap().2.clone()), "the last batch wins");
    let stats = journal.stats();
    assert_eq!(stats.commits, 1280);
    assert!(stats.syncs < 1280, "{} syncs for 1280 commits: nothing was grouped", stats.syncs);
    journal.close().await;
    assert!(matches!(journal.commit(event(1)).await, Err(CommitError::Closed)));
    assert!(matches!(journal.get("last", "one"), Err(ReadError::Closed)));
    open(dir.path());
}

#[test]
fn events_are_read_from_the_ring_and_from_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    // More than the ring holds.
    let total: u64 = 20_000;
    for start in (1..=total).step_by(500) {
        let batch = (start..start + 500).fold(Batch::default(), |batch, number| batch.event(number.to_string().into_bytes()));
        journal.commit_blocking(batch).unwrap();
    }
    read_all(&journal, total);
    drop(journal);
    read_all(&open(dir.path()), total);
}

fn read_all(journal: &Journal, total: u64) {
    let mut after = 0;
    while after < total {
        for (cursor, bytes) in journal.read(after, 777).unwrap() {
            assert_eq!((cursor, &*bytes), (after + 1, cursor.to_string().as_bytes()));
            after = cursor;
        }
    }
    assert_eq!(journal.read(total, 10).unwrap(), []);
    assert_eq!(journal.read(total + 5, 10).unwrap(), []);
}

#[test]
fn old_events_expire_and_the_newest_stay() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { keep_events: 100, ..Options::new(dir.path()) };
    let journal = Journal::open(options.clone()).unwrap();
    for number in 1..=1000 {
        journal.commit_blocking(event(number)).unwrap();
    }
    let start = std::time::Instant::now();
    while journal.oldest() != 901 {
        assert!(start.elapsed() < DEADLINE, "the oldest is {}", journal.oldest());
        std::thread::yield_now();
    }
    assert!(matches!(journal.read(0, 10), Err(ReadError::Expired { oldest: 901 })));
    assert!(matches!(journal.read(899, 10), Err(ReadError::Expired { oldest: 901 })));
    assert_eq!(journal.read(900, 1000).unwrap().len(), 100);
    assert_eq!(journal.stats().pruned, 900);
    drop(journal);
    // A smaller retention is reached without any commit.
    let journal = Journal::open(Options { keep_events: 1, ..options }).unwrap();
    let start = std::time::Instant::now();
    while journal.oldest() != 1000 {
        assert!(start.elapsed() < DEADLINE, "the oldest is {}", journal.oldest());
        std::thread::yield_now();
    }
    assert_eq!(journal.read(999, 10).unwrap().len(), 1);
}

#[test]
fn large_values_come_back_and_leave_no_blob() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let value = |seed: usize, bytes: usize| (0..bytes).map(|at| (at * 7 + seed) as u8).collect::<Vec<u8>>();
    let sizes = [0, 1, 4095, 4096, 4097, 8192, 60_000, MAX_VALUE_BYTES];
    for round in 0..20 {
        for key in 0..40usize {
            let size = sizes[(key + round) % sizes.len()];
            let batch = Batch::default().put("vm", format!("{key:03}"), value(key, size)).event(value(key, size));
            journal.commit_blocking(batch).unwrap();
        }
    }
    drop(journal);
    let journal = open(dir.path());
    for (at, (key, bytes)) in journal.load("vm").unwrap().into_iter().enumerate() {
        assert_eq!(bytes, value(at, sizes[(at + 19) % sizes.len()]), "record {key}");
    }
    assert_eq!(*journal.read(6, 1).unwrap()[0].1, *value(6, sizes[6]));
    for key in 0..40 {
        journal.commit_blocking(Batch::default().delete("vm", format!("{key:03}"))).unwrap();
    }
    assert!(journal.load("vm").unwrap().is_empty());
    let blobs = std::fs::read_dir(dir.path().join("blobs")).unwrap().count();
    assert_eq!(blobs, 0, "blob files are never synced, so none may come to be");
}

#[test]
fn a_table_is_decoded_record_by_record_however_large_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let record = |key: &str, bytes| SetAside::new("vm", key, vec![7; bytes], "a test");
    let written = [("a", 1), ("b", 60_000), ("d", 5000)].map(|(key, bytes)| (key.to_owned(), record(key, bytes)));
    let mut batch = Batch::default().put("t", "c", vec![9; 9000]).put("table", "x", vec![1]);
    for (key, value) in &written {
        batch = batch.put("t", key.clone(), envelope::encode(value).unwrap());
    }
    journal.commit_blocking(batch).unwrap();
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    journal
        .each::<SetAside>("t", |key, record| match record {
            Ok(record) => good.push((key.to_owned(), record)),
            Err(_) => bad.push(key.to_owned()),
        })
        .unwrap();
    assert_eq!((good, bad), (written.to_vec(), vec!["c".to_owned()]));
}

#[test]
fn an_unreadable_record_is_set_aside_and_the_rest_starts() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let bytes = vec![0xff; MAX_VALUE_BYTES];
    for key in ["bad", "good"] {
        journal.commit_blocking(Batch::default().put("vm", key, bytes.clone())).unwrap();
    }
    journal.set_aside("vm", "bad", "it does not decode").unwrap();
    assert!(matches!(journal.set_aside("vm", "bad", "again"), Err(CommitError::NoRecord { .. })));
    assert!(matches!(journal.set_aside(SET_ASIDE, "x", "y"), Err(CommitError::Reserved { .. })));
    journal.commit_blocking(Batch::default().put("vm", "bad", vec![2])).unwrap();
    journal.set_aside("vm", "bad", &"é".repeat(1000)).unwrap();
    drop(journal);
    let journal = open(dir.path());
    let keys: Vec<String> = journal.load("vm").unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["good"]);
    let aside = journal.load_set_aside().unwrap();
    assert_eq!(aside.len(), 2, "the second does not replace the first");
    let (_, first) = &aside[0];
    assert_eq!((first.table.as_str(), first.key.as_str(), first.why.as_str()), ("vm", "bad", "it does not decode"));
    assert_eq!(first.bytes, bytes);
    assert!(first.at_ms > 0);
    assert_eq!(aside[1].1.bytes, [2]);
    journal.commit_blocking(Batch::default().delete(SET_ASIDE, aside[0].0.clone())).unwrap();
    assert_eq!(journal.load_set_aside().unwrap().len(), 1);
}

/// Whatever comes just before it, in its group or not: a deletion under a condition sees it.
#[tokio::test]
async fn a_deletion_under_a_condition_spares_what_was_written_since() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let put = |value: &[u8]| Batch::default().put("keys", "k", value.to_vec());
    let delete =
        |value: &[u8]| Batch::default().delete_if("keys", "k", storage::digest(value)).put("keys", "beside", value.to_vec());
    let (old, new) = (vec![1; 9000], vec![2; 9000]);
    for round in 0..50 {
        journal.commit(put(&old)).await.unwrap();
        // The first is on its way to the disk while the others wait, and share the next sync if they may.
        let three = tokio::join!(
            journal.commit(Batch::default().event(vec![0])),
            journal.commit(put(&new)),
            journal.commit(delete(&old))
        );
        let number = three.0.unwrap().number;
        assert_eq!((three.1.unwrap().number, three.2.unwrap().number), (number + 1, number + 2));
        assert_eq!(journal.get("keys", "k").unwrap().as_ref(), Some(&new), "round {round}: what is new was deleted");
        assert_eq!(journal.get("keys", "beside").unwrap().as_ref(), Some(&old), "the rest of the batch is done");
        let both = tokio::join!(journal.commit(put(&old)), journal.commit(delete(&old)));
        both.1.unwrap();
        assert_eq!(journal.get("keys", "k").unwrap(), None, "round {round}: it is still what it was");
        journal.commit(delete(&old)).await.expect("deleting what is not there is no error");
    }
    assert!(matches!(
        journal.commit(Batch::default().delete_if("", "k", storage::digest(&old))).await,
        Err(CommitError::Name { .. })
    ));
    journal.close().await;
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_queued() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let put = |table: &'static str, key: &str, bytes| {
        journal.commit_blocking(Batch::default().put(table, key, vec![0; bytes])).unwrap_err()
    };
    assert!(matches!(put("vm", "a", MAX_VALUE_BYTES + 1), CommitError::TooLarge { .. }));
    assert!(matches!(put("", "a", 1), CommitError::Name { .. }));
    assert!(matches!(put("v\0m", "a", 1), CommitError::Name { .. }));
    assert!(matches!(put("vm", "", 1), CommitError::Name { .. }));
    assert!(matches!(put(SET_ASIDE, "a", 1), CommitError::Reserved { .. }));
    let large = (0..17).fold(Batch::default(), |batch, _| batch.event(vec![0; MAX_VALUE_BYTES]));
    assert!(matches!(journal.commit_blocking(large), Err(CommitError::TooLarge { .. })));
    assert_eq!(journal.commit_blocking(Batch::default()).unwrap().number, 1, "a refusal takes no number");
}

#[tokio::test]
async fn a_full_queue_answers_busy_and_loses_nothing_it_took() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let (mut taken, mut busy) = (Vec::new(), 0);
    for number in 0..20_000u64 {
        // Polled once: it is queued or refused then.
        let mut commit = Box::pin({
            let journal = journal.clone();
            async move { journal.commit(event(number).event(vec![0; 8000])).await }
        });
        match futures_poll_once(&mut commit).await {
            Some(Err(CommitError::Busy { .. })) => busy += 1,
            Some(result) => drop(result.unwrap()),
            None => taken.push(commit),
        }
        if busy > 10 {
            break;
        }
    }
    assert!(busy > 0, "32 MiB of batches were taken without a refusal");
    let mut numbers = HashSet::new();
    for commit in taken {
        assert!(numbers.insert(commit.await.unwrap().number));
    }
    journal.commit(event(1)).await.unwrap();
}

#[tokio::test]
async fn a_set_aside_sees_what_was_queued_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal.commit(Batch::default().put("vm", "a", vec![1])).await.unwrap();
    let mut queued = Vec::new();
    // The first keep the writer busy, so that the last waits in the queue beside the set-aside.
    for number in 0..200u64 {
        let value = if number == 199 { vec![2] } else { vec![0; 30_000] };
        let key = if number == 199 { "a".to_owned() } else { format!("busy {number}") };
        let journal = journal.clone();
        let mut commit = Box::pin(async move { journal.commit(Batch::default().put("vm", key, value)).await });
        if futures_poll_once(&mut commit).await.is_none() {
            queued.push(commit);
        }
    }
    let aside = journal.clone();
    tokio::task::spawn_blocking(move || aside.set_aside("vm", "a", "why")).await.unwrap().unwrap();
    assert_eq!(journal.load_set_aside().unwrap()[0].1.bytes, [2]);
    assert_eq!(journal.get("vm", "a").unwrap(), None);
    for commit in queued {
        commit.await.unwrap();
    }
}

async fn futures_poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| match std::pin::Pin::new(&mut *future).poll(context) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn the_watch_follows_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let mut watch = journal.watch();
    journal.commit(Batch::default().put("vm", "a", vec![1])).await.unwrap();
    for number in 1..=50 {
        journal.commit(event(number)).await.unwrap();
    }
    let seen = tokio::time::timeout(DEADLINE, watch.wait_for(|cursor| *cursor == 50)).await.unwrap().map(|seen| *seen);
    assert_eq!(seen.unwrap(), 50);
    journal.close().await;
    tokio::time::timeout(DEADLINE, watch.changed()).await.unwrap().unwrap_err();
}

#[test]
fn a_second_open_is_refused_with_the_pid() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let error = Journal::open(Options::new(dir.path())).unwrap_err();
    assert!(matches!(error, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()));
    assert!(error.to_string().ends_with(&format!("(pid {})", std::process::id())), "{error}");
    first.commit_blocking(event(1)).unwrap();
    drop(first);
    assert_eq!(open(dir.path()).latest(), 1);
}

#[test]
fn a_foreign_directory_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("photo.jpg"), "x").unwrap();
    let error = Journal::open(Options::new(dir.path())).unwrap_err();
    assert!(matches!(&error, OpenError::Foreign { found, .. } if found == "photo.jpg"), "{error:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_later_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    std::fs::write(dir.path().join("format"), "hearth journal 3\n").unwrap();
    let error = Journal::open(Options::new(dir.path())).unwrap_err();
    assert!(matches!(&error, OpenError::Format { found, .. } if found == "hearth journal 3"), "{error:?}");
}

#[test]
fn a_damaged_store_is_an_error_and_never_a_panic_or_an_empty_journal() {
    type Damage = (&'static str, fn(&Path));
    let damage: [Damage; 4] = [
        ("removed", |db| std::fs::remove_file(db).unwrap()),
        ("emptied", |db| std::fs::write(db, "").unwrap()),
        ("overwritten", |db| std::fs::write(db, vec![0xa5; 1 << 20]).unwrap()),
        ("cut to a fifth", |db| {
            let file = std::fs::File::options().write(true).open(db).unwrap();
            file.set_len(file.metadata().unwrap().len() / 5).unwrap();
        }),
    ];
    for (what, damage) in damage {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path());
        for number in 0..2000 {
            journal.commit_blocking(event(number).put("vm", number.to_string(), vec![7; 500])).unwrap();
        }
        drop(journal);
        damage(&dir.path().join("db"));
        match Journal::open(Options::new(dir.path())) {
            Err(OpenError::Damaged { .. }) => {}
            Err(error) => panic!("{what}: {error:?}"),
            Ok(journal) => panic!("{what}: opened with events {} to {}", journal.oldest(), journal.latest()),
        }
    }
}

#[test]
fn a_first_start_that_did_not_end_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("format"), "hearth journal 1, preparing\n").unwrap();
    std::fs::write(dir.path().join("lock"), "1\n").unwrap();
    let journal = open(dir.path());
    journal.commit_blocking(event(1)).unwrap();
    drop(journal);
    assert_eq!(open(dir.path()).latest(), 1);
}

#[test]
fn a_store_behind_what_was_acknowledged_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal.commit_blocking(event(1)).unwrap();
    drop(journal);
    let db = dir.path().join("db");
    let earlier = std::fs::read(&db).unwrap();
    let journal = open(dir.path());
    journal.commit_blocking(event(2)).unwrap();
    drop(journal);
    std::fs::write(&db, earlier).unwrap();
    // sled may have written a snapshot of the later state; the earlier file alone is what a rolled back log looks like.
    for entry in std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    let error = Journal::open(Options::new(dir.path())).unwrap_err();
    assert!(matches!(&error, OpenError::Damaged { .. }), "{error:?}");
    assert!(format!("{error:?}").contains("batch 2 was acknowledged"), "{error:?}");
}
