//! A journal on a file system that takes nothing: it is refused with what to do about it, nothing of it is lost, and it opens again afterwards.
//!
//! The children are this test binary run again in a mount namespace of their own, in which a small file system in memory is filled, or
//! mounted read-only. Where no such namespace can be made, the tests say so and are counted as skipped.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};
use storage::{Batch, CommitError, Journal, OpenError, Options};

/// Where the child's file system is mounted.
const DIR: &str = "HEARTH_UNWRITABLE_DIR";
const MOUNT: [&str; 5] = ["-t", "tmpfs", "-o", "size=8m", "hearth"];
const STEPS: u64 = 60;
const PAGE: u64 = 4096;
/// More pages than opening a journal takes: two segments of 512 KiB and some small files.
const LEFT_MOST: u64 = 300;

/// Runs the child of this name with a file system of its own.
fn in_a_namespace(child: &str) {
    let dir = tempfile::tempdir().unwrap();
    let inside = |program: &Path| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]).arg(program).env(DIR, dir.path());
        command
    };
    let tried = inside(Path::new("mount")).args(MOUNT).arg(dir.path()).output();
    if let Some(why) = match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    } {
        return skipped(child, &format!("no file system can be mounted in a namespace of its own, which needs root: {why}"));
    }
    let output = inside(&std::env::current_exe().unwrap()).args(["--exact", child, "--nocapture"]).output().unwrap();
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.contains("1 passed"), "{told}\n{errors}");
}

/// Said aloud, and counted by the run that names a log for it: libtest would call it passed.
fn skipped(test: &str, why: &str) {
    eprintln!("SKIPPED: {test}: {why}");
    if let Some(log) = std::env::var_os("HEARTH_SKIP_LOG") {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
        file.write_all(format!("{test}: {why}\n").as_bytes()).unwrap();
    }
}

/// The child's own file system, empty. Absent when this is no child.
fn mounted() -> Option<PathBuf> {
    let dir = PathBuf::from(std::env::var_os(DIR)?);
    let status = Command::new("mount").args(MOUNT).arg(&dir).status().unwrap();
    assert!(status.success(), "mount: {status}");
    Some(dir)
}

fn remount(dir: &Path, how: &str) {
    let status = Command::new("mount").arg("-o").arg(format!("remount,{how}")).arg(dir).status().unwrap();
    assert!(status.success(), "remount,{how}: {status}");
}

/// Takes all the room that is left, but for so many pages.
fn fill(dir: &Path, left: u64) -> PathBuf {
    let path = dir.join("filler");
    let mut file = fs::File::options().create(true).append(true).open(&path).unwrap();
    for size in [1 << 20, PAGE as usize] {
        let bytes = vec![1; size];
        loop {
            match file.write(&bytes) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    let taken = file.metadata().unwrap().len();
    file.set_len(taken.saturating_sub(left * PAGE)).unwrap();
    path
}

fn open(path: &Path) -> Result<Journal, OpenError> {
    Journal::open(Options::new(path))
}

fn batch(step: u64) -> Batch {
    let value = [&step.to_be_bytes()[..], &[7; 3000]].concat();
    Batch::default().put("steps", format!("{step:08}"), value.clone()).put("last", "one", value.clone()).event(value)
}

/// A journal with some content, closed.
fn made(path: &Path) {
    let journal = open(path).unwrap();
    for step in 1..=STEPS {
        journal.commit_blocking(batch(step)).unwrap();
    }
}

/// Every record and every event that `made` wrote.
fn is_whole(journal: &Journal) {
    assert_eq!(journal.latest(), STEPS);
    assert_eq!(journal.load("steps").unwrap().into_iter().count() as u64, STEPS);
    assert_eq!(journal.read(0, 1000).unwrap().len() as u64, STEPS);
    assert_eq!(journal.get("last", "one").unwrap().unwrap()[..8], STEPS.to_be_bytes());
}

/// Every file with its bytes.
fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(path).into_iter().flatten() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => all.extend(files(&entry.path())),
            false => drop(all.insert(entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
    all
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

/// The error says what is the matter and what to do, and speaks of no damage.
fn tells(error: &OpenError, remedies: [&str; 2]) {
    let told = chain(error);
    eprintln!("{told}");
    assert!(remedies.iter().all(|remedy| told.contains(remedy)), "{told}");
    assert!(!told.contains("damaged") && !told.contains("fsck"), "{told}");
    assert!(!matches!(error, OpenError::Damaged { .. }), "{error:?}");
}

const READ_ONLY: [&str; 2] = ["read-only", "mount it for writing"];
const FULL: [&str; 2] = ["full", "make room"];

#[test]
fn a_new_journal_on_a_read_only_disk() {
    in_a_namespace("read_only_new");
}

/// Not a test of its own, as the other children.
#[test]
fn read_only_new() {
    let Some(dir) = mounted() else { return };
    remount(&dir, "ro");
    tells(&open(&dir.join("journal")).unwrap_err(), READ_ONLY);
    // In a folder that is there already, too.
    remount(&dir, "rw");
    fs::create_dir(dir.join("journal")).unwrap();
    remount(&dir, "ro");
    tells(&open(&dir.join("journal")).unwrap_err(), READ_ONLY);
    assert!(files(&dir).is_empty());
    remount(&dir, "rw");
    made(&dir.join("journal"));
}

#[test]
fn a_journal_on_a_disk_that_became_read_only() {
    in_a_namespace("read_only_existing");
}

#[test]
fn read_only_existing() {
    let Some(dir) = mounted() else { return };
    let path = dir.join("journal");
    made(&path);
    let before = files(&path);
    remount(&dir, "ro");
    tells(&open(&path).unwrap_err(), READ_ONLY);
    assert!(files(&path) == before, "to the byte");
    remount(&dir, "rw");
    is_whole(&open(&path).unwrap());
}

#[test]
fn a_new_journal_on_a_full_disk() {
    in_a_namespace("full_new");
}

#[test]
fn full_new() {
    let Some(dir) = mounted() else { return };
    let path = dir.join("journal");
    // Wherever it is cut off, the next try goes on.
    for left in 0..LEFT_MOST {
        let filler = fill(&dir, left);
        let opened = open(&path);
        fs::remove_file(filler).unwrap();
        match opened {
            Ok(journal) => {
                assert!(left > 0 && journal.latest() == 0);
                break;
            }
            Err(error) => tells(&error, FULL),
        }
    }
    made(&path);
    is_whole(&open(&path).unwrap());
}

#[test]
fn a_journal_on_a_disk_that_became_full() {
    in_a_namespace("full_existing");
}

#[test]
fn full_existing() {
    let Some(dir) = mounted() else { return };
    let path = dir.join("journal");
    made(&path);
    let before = files(&path);
    // With less room than it needs it says so and changes nothing; with enough it opens, and what it can't write then is said then.
    for left in 0..LEFT_MOST {
        let filler = fill(&dir, left);
        match open(&path) {
            Err(error) => {
                tells(&error, FULL);
                assert!(only_adds(&before, &files(&path)), "something of the journal has changed with {left} pages left");
            }
            Ok(journal) => {
                is_whole(&journal);
                // What takes room, until there is none.
                let error = (1..).find_map(|step| journal.commit_blocking(batch(STEPS + step)).err()).unwrap();
                assert!(matches!(error, CommitError::Disk { .. }), "{error:?}");
                let told = chain(&error);
                assert!(told.contains("make room") && told.contains("No space left"), "{told}");
                eprintln!("with {left} pages left it opened, then: {told}");
                drop(journal);
                fs::remove_file(&filler).unwrap();
                let again = open(&path).unwrap();
                assert!(again.latest() >= STEPS && again.load("steps").unwrap().into_iter().count() as u64 >= STEPS);
                return;
            }
        }
        fs::remove_file(&filler).unwrap();
    }
    panic!("it never opened");
}

/// Every file of before is there with the bytes that it had, and more behind them at most; but for the lock, which tells who tried last.
fn only_adds(before: &BTreeMap<PathBuf, Vec<u8>>, after: &BTreeMap<PathBuf, Vec<u8>>) -> bool {
    let mutable = |path: &Path| path.file_name().is_some_and(|name| name == "lock");
    before
        .iter()
        .filter(|(path, _)| !mutable(path))
        .all(|(path, bytes)| after.get(path).is_some_and(|now| now.starts_with(bytes)))
}
