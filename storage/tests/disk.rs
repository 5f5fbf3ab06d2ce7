//! A disk that takes no more: the write that fails, and everything after it.
//!
//! The child is this test binary run again under a limit on the size of a file, with SIGXFSZ ignored, so that the
//! kernel itself refuses the write (EFBIG) in the middle of the work, as a full disk does (ENOSPC).
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::{io::Write, path::Path, process::Command};

use storage::{Batch, CommitError, Journal, Options, ReadError};

const DIR: &str = "HEARTH_DISK_TEST_DIR";
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);
const FILE_LIMIT_BYTES: u64 = 6 << 20;

fn batch(step: u64) -> Batch {
    let value = [&step.to_be_bytes()[..], &[7; 3000]].concat();
    Batch::default().put("steps", format!("{step:08}"), value.clone()).put("last", "one", value.clone()).event(value)
}

fn step(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(*bytes.first_chunk().unwrap())
}

/// Not a test of its own: does nothing when run with the others.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let journal = Journal::open(Options::new(Path::new(&dir))).unwrap();
    let mut done = 0;
    let error = loop {
        match journal.commit_blocking(batch(done + 1)) {
            Ok(committed) => done = committed.last_cursor,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, CommitError::Disk { .. }), "{error:?}");
    assert!(matches!(journal.commit_blocking(Batch::default()), Err(CommitError::Poisoned { .. })));
    assert!(matches!(journal.set_aside("last", "one", "x"), Err(CommitError::Poisoned { .. })));
    assert!(matches!(journal.get("last", "one"), Err(ReadError::Poisoned { .. })));
    assert!(matches!(journal.load("last"), Err(ReadError::Poisoned { .. })));
    assert!(journal.stats().poisoned);
    assert_eq!(journal.latest(), done, "what failed is not announced");
    // The watch is paced, so it may come a moment later; it must not pass what is durable.
    let (watch, start) = (journal.watch(), std::time::Instant::now());
    while *watch.borrow() < done {
        assert!(start.elapsed() < DEADLINE, "the watch stays at {}", *watch.borrow());
        std::thread::yield_now();
    }
    assert_eq!(*watch.borrow(), done);
    let events = journal.read(done - 1, 10).unwrap();
    assert_eq!(events.len(), 1, "followers still get what is durable, and nothing else");
    drop(journal);
    writeln!(std::io::stdout(), "\ndone {done}").unwrap();
}

#[test]
fn a_failed_write_acknowledges_nothing_and_reopening_has_all_that_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let output = Command::new("prlimit")
        .arg(format!("--fsize={FILE_LIMIT_BYTES}"))
        .args(["env", "--ignore-signal=XFSZ"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(DIR, &path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let done: u64 = text.lines().find_map(|line| line.strip_prefix("done ")).unwrap().parse().unwrap();
    assert!(done > 10, "only {done} commits before the limit");

    let journal = Journal::open(Options::new(&path)).unwrap();
    let latest = journal.latest();
    // The batch that failed may be there, whole, or not at all.
    assert!(latest == done || latest == done + 1, "{done} were acknowledged, {latest} are there");
    assert_eq!(step(&journal.get("last", "one").unwrap().unwrap()), latest);
    let steps: Vec<u64> = journal.load("steps").unwrap().into_iter().map(|(_, bytes)| step(&bytes)).collect();
    assert_eq!(steps, (1..=latest).collect::<Vec<u64>>());
    assert_eq!(journal.commit_blocking(batch(latest + 1)).unwrap().last_cursor, latest + 1);
}
