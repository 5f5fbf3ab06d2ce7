//! Damage of what lies on the disk: the journal is whole, or refused with its folder untouched to the byte; and what can be read is kept.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use storage::{
    Batch, Journal, OpenError, Options, READ_LIMIT, Rescued,
    offline::{EVENT_LOST, Offline},
};

/// Places that are damaged in each of two journals.
const ROUNDS: usize = 16;
const BATCHES: u64 = 1500;
const KEYS: u64 = 200;
const TABLE: &str = "vms";
/// Few enough that the data file holds live and dead pages side by side.
const KEEP_EVENTS: u64 = 400;

fn options(path: &Path) -> Options {
    Options { keep_events: KEEP_EVENTS, ..Options::new(path) }
}

fn value(step: u64) -> Vec<u8> {
    let mut bytes = step.to_be_bytes().to_vec();
    let length = if step.is_multiple_of(40) { 9000 } else { 100 + step % 200 };
    bytes.extend((0..length).map(|at| (at.wrapping_mul(step) >> 3) as u8));
    bytes
}

fn step(bytes: &[u8]) -> u64 {
    let step = u64::from_be_bytes(*bytes.first_chunk().unwrap());
    assert!(bytes == value(step), "a value that was never written");
    step
}

fn key(step: u64) -> String {
    format!("{:04}", step % KEYS)
}

/// A journal that was opened more than once, so that sled has an index of it; `killed`: copied while it was open.
fn make(path: &Path, killed: bool) {
    let open = path.with_extension("open");
    let mut done = 0;
    for part in [BATCHES / 3, BATCHES] {
        let journal = Journal::open(options(&open)).unwrap();
        while done < part {
            done += 1;
            journal.commit_blocking(Batch::default().put(TABLE, key(done), value(done)).event(value(done))).unwrap();
        }
        if killed && done == BATCHES {
            copy(&open, path);
        }
    }
    if !killed {
        copy(&open, path);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

/// Every file with its bytes.
fn picture(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => files.extend(picture(&entry.path())),
            false => drop(files.insert(entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
    files
}

/// `None`: whole. The error is that of the start.
fn start(path: &Path) -> Option<OpenError> {
    let journal = match Journal::open(options(path)) {
        Ok(journal) => journal,
        Err(error) => return Some(error),
    };
    assert_eq!(journal.latest(), BATCHES, "an earlier state was opened");
    let records = journal.load(TABLE).unwrap();
    assert_eq!(records.len() as u64, KEYS);
    for (name, bytes) in records {
        let step = step(&bytes);
        assert!(step > BATCHES - KEYS && key(step) == name, "record {name} is of batch {step}");
    }
    let mut after = journal.oldest() - 1;
    while after < BATCHES {
        for (cursor, bytes) in journal.read(after, READ_LIMIT).unwrap() {
            assert_eq!(step(&bytes), cursor);
            after = cursor;
        }
    }
    None
}

/// All of it was written once, and what is older than it was or not there is named.
fn check_rescued(rescued: &Rescued) -> (usize, u64) {
    let doubtful = |step: u64| rescued.losses.batches.iter().any(|(first, last)| (*first..=*last).contains(&step));
    let mut current = 0;
    for newest in BATCHES - KEYS + 1..=BATCHES {
        let found = rescued.records.get(&(TABLE.to_owned(), key(newest))).map(|bytes| step(bytes));
        let named = rescued.losses.records.iter().any(|(_, name)| *name == key(newest));
        let ranged = rescued.losses.ranges.iter().any(|(low, high)| {
            let name = format!("{TABLE}/{}", key(newest));
            *low <= name && (high.is_empty() || name < *high)
        });
        match found {
            Some(step) if step == newest => current += 1,
            Some(step) => {
                assert!(key(step) == key(newest) && !rescued.losses.is_empty(), "{step} for {newest}, nothing is named")
            }
            None => assert!(
                named || ranged || doubtful(newest) || rescued.losses.unattributed > 0 || !rescued.losses.bytes.is_empty()
            ),
        }
    }
    for (cursor, bytes) in &rescued.events {
        assert_eq!(step(bytes), *cursor);
    }
    let lost: u64 = rescued.losses.events.iter().map(|(first, last)| last - first + 1).sum();
    (current, lost)
}

/// Refused and untouched; then repaired, with what could be read.
fn refused_and_repaired(path: &Path, why: &str) -> (usize, u64) {
    let before = picture(path);
    let beside = fs::read_dir(path.parent().unwrap()).unwrap().count();
    let error = start(path).unwrap_or_else(|| panic!("{why}: not refused"));
    assert!(matches!(error, OpenError::Damaged { .. }), "{why}: {error:?}");
    assert!(picture(path) == before, "{why}: a refused journal was changed");
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), beside, "{why}: something is left beside it");
    let offline = Offline::open(path).unwrap();
    offline.health().unwrap_err();
    let rescued = offline.read().unwrap();
    assert!(picture(path) == before, "{why}: looking changed it");
    let kept = check_rescued(&rescued);
    let old = offline.replace(&rescued).unwrap();
    assert!(picture(&old).into_values().eq(before.into_values()), "{why}: the damaged journal was not kept");
    fs::remove_dir_all(&old).unwrap();
    let journal = Journal::open(options(path)).unwrap();
    assert_eq!(journal.latest(), BATCHES, "{why}: an event's number would be given again");
    let committed = journal.commit_blocking(Batch::default().event(value(BATCHES + 1))).unwrap();
    assert!(committed.number > BATCHES, "{why}: a batch's number was given again");
    let table = journal.load(TABLE).unwrap();
    assert_eq!(table.len(), rescued.records.len());
    kept
}

#[test]
fn a_flipped_byte_is_refused_untouched_or_harmless_and_the_rest_is_kept() {
    let mut rng = StdRng::seed_from_u64(7);
    let (mut refused, mut current, mut lost) = (0, Vec::new(), 0);
    for killed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (good, bad) = (dir.path().join("good"), dir.path().join("bad"));
        make(&good, killed);
        let length = fs::metadata(good.join("db")).unwrap().len();
        for round in 0..ROUNDS {
            let count = [1, 16, 4096][round % 3];
            copy(&good, &bad);
            let file = fs::File::options().read(true).write(true).open(bad.join("db")).unwrap();
            let (at, mut bytes) = (rng.random_range(0..length - count as u64), vec![0; count]);
            file.read_exact_at(&mut bytes, at).unwrap();
            bytes.iter_mut().for_each(|byte| *byte = !*byte);
            file.write_all_at(&bytes, at).unwrap();
            let trial = dir.path().join("trial");
            copy(&bad, &trial);
            if start(&trial).is_some() {
                refused += 1;
                let kept = refused_and_repaired(&bad, &format!("{count} bytes at {at}, killed: {killed}"));
                current.push(kept.0);
                lost += kept.1;
            }
            fs::remove_dir_all(&bad).unwrap();
            fs::remove_dir_all(&trial).unwrap();
        }
    }
    assert!(refused * 4 >= ROUNDS, "only {refused} places mattered: the test shows nothing");
    let total: usize = current.iter().sum();
    writeln!(
        std::io::stderr(),
        "{refused} of {} places refused; {total} of {} records kept, {lost} events lost",
        2 * ROUNDS,
        refused as u64 * KEYS
    )
    .unwrap();
    // A page holds some ten records; damage takes one page or two.
    assert!(
        total * 10 >= refused * KEYS as usize * 9,
        "{total} of {} records were kept as they were, {lost} events lost",
        refused as u64 * KEYS
    );
}

#[test]
fn a_file_cut_short_is_refused_untouched_and_the_rest_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good");
    make(&good, false);
    let length = fs::metadata(good.join("db")).unwrap().len();
    for tenths in [0, 2, 5, 8] {
        let (bad, trial) = (dir.path().join("bad"), dir.path().join("trial"));
        copy(&good, &bad);
        fs::File::options().write(true).open(bad.join("db")).unwrap().set_len(length * tenths / 10).unwrap();
        copy(&bad, &trial);
        // The end of the file may hold nothing that is in use: then `start` has found all of it.
        if start(&trial).is_some() || tenths < 5 {
            refused_and_repaired(&bad, &format!("cut to {tenths} tenths"));
        }
        fs::remove_dir_all(&bad).unwrap();
        fs::remove_dir_all(&trial).unwrap();
    }
}

#[test]
fn a_damaged_index_is_refused_untouched_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good");
    make(&good, true);
    let index = fs::read_dir(&good).unwrap().map(|entry| entry.unwrap().path());
    let index = index.into_iter().find(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap.")).unwrap();
    let mut bytes = fs::read(&index).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&index, bytes).unwrap();
    assert_eq!(refused_and_repaired(&good, "the index"), (KEYS as usize, 0));
}

/// sled would take an index that was being written when the process ended for its newest, and refuse.
#[test]
fn an_index_that_was_begun_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good");
    make(&good, true);
    fs::write(good.join("snap.FFFFFFFFFFFFFFFF.generating"), [1; 40]).unwrap();
    assert!(start(&good).is_none());
}

#[test]
fn a_journal_in_use_or_absent_is_not_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    assert!(matches!(Offline::open(&path), Err(OpenError::Nothing { .. })));
    assert!(!path.exists(), "looking made it");
    let journal = Journal::open(options(&path)).unwrap();
    assert!(matches!(Offline::open(&path), Err(OpenError::InUse { .. })));
    drop(journal);
    Offline::open(&path).unwrap().health().unwrap();
    fs::write(path.join("format"), "hearth journal 9\n").unwrap();
    assert!(matches!(Offline::open(&path), Err(OpenError::Format { .. })));
}

/// Whoever follows the stream sees that something is missing, at its number.
#[test]
fn lost_events_have_a_placeholder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut content = Rescued { number: 9, bounds: (3, 5), ..Rescued::default() };
    content.events.extend([(3, value(3)), (5, value(5))]);
    storage::offline::write(&path, &content).unwrap();
    let journal = Journal::open(options(&path)).unwrap();
    assert_eq!((journal.oldest(), journal.latest()), (3, 5));
    let events = journal.read(2, 10).unwrap();
    let lost: domain::event::Event = storage::envelope::decode(&events[1].1).unwrap();
    assert_eq!(lost.event, EVENT_LOST);
    assert_eq!(journal.commit_blocking(Batch::default()).unwrap().number, 10);
}
