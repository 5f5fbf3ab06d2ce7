//! Torn and dropped writes below the store: of each of the last writes every prefix, every single block and random halves reach the disk.
//! The journal then opens with the batch or without it, whole, and without anything that was acknowledged being lost.
//!
//! What a batch writes is seen by comparing the files before and after it. Power itself is lost in `make powerloss`.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    fs,
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use storage::{Batch, Journal, OpenError, Options, READ_LIMIT};

const TABLE: &str = "vms";
const KEYS: u64 = 60;
const KEEP_EVENTS: u64 = 200;
/// What a disk writes whole.
const SECTOR: usize = 512;
/// Batches before the ones that are torn: enough that the log has several segments, some used again.
const BEFORE: [u64; 3] = [3, 700, 2600];
/// Batches that are torn, one after the other, after each of those.
const TORN: u64 = 3;

fn options(path: &Path) -> Options {
    Options { keep_events: KEEP_EVENTS, ..Options::new(path) }
}

fn value(step: u64) -> Vec<u8> {
    let mut bytes = step.to_be_bytes().to_vec();
    let length = if step.is_multiple_of(5) { 5000 } else { 100 + step % 200 };
    bytes.extend((0..length).map(|at| (at.wrapping_mul(step) >> 3) as u8));
    bytes
}

/// Three records and two events, so that half a batch would be seen.
fn batch(step: u64) -> Batch {
    let mut batch = Batch::default();
    for part in 0..3 {
        batch = batch.put(TABLE, format!("{part}-{:03}", step % KEYS), value(step));
    }
    batch.event(value(step)).event(value(step))
}

/// The files of a journal.
#[derive(Clone)]
struct Files {
    data: Vec<u8>,
    others: Vec<(PathBuf, Vec<u8>)>,
}

fn files(path: &Path) -> Files {
    let mut files = Files { data: Vec::new(), others: Vec::new() };
    for entry in fs::read_dir(path).unwrap().map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file()) {
        match entry.file_name() == "db" {
            true => files.data = fs::read(entry.path()).unwrap(),
            false => files.others.push((entry.file_name().into(), fs::read(entry.path()).unwrap())),
        }
    }
    files
}

fn place(files: &Files, path: &Path) {
    if path.exists() {
        fs::remove_dir_all(path).unwrap();
    }
    fs::create_dir(path).unwrap();
    fs::create_dir(path.join("blobs")).unwrap();
    fs::write(path.join("db"), &files.data).unwrap();
    for (name, bytes) in &files.others {
        fs::write(path.join(name), bytes).unwrap();
    }
}

/// What reached the disk of a write: each block says which.
fn mix(before: &[u8], after: &[u8], blocks: &[usize], keep: impl Fn(usize) -> bool) -> Vec<u8> {
    let mut data = before.to_vec();
    // The file's length is metadata of its own: it may be there without the data.
    data.resize(after.len().max(before.len()), 0);
    for (number, block) in blocks.iter().enumerate() {
        if keep(number) {
            let range = block * SECTOR..((block + 1) * SECTOR).min(after.len());
            data[range.clone()].copy_from_slice(&after[range]);
        }
    }
    data
}

/// `Ok(step)`: whole as of that batch.
fn open(path: &Path) -> Result<u64, OpenError> {
    let journal = Journal::open(options(path))?;
    let step = journal.latest() / 2;
    assert_eq!(journal.latest(), step * 2, "half a batch");
    let records = journal.load(TABLE).unwrap().records;
    assert_eq!(records.len() as u64, 3 * KEYS.min(step));
    for (name, bytes) in records {
        let of = u64::from_be_bytes(*bytes.first_chunk().unwrap());
        assert!(bytes == value(of), "{name} is damaged");
        let newest = step - (step + KEYS - of % KEYS) % KEYS;
        assert_eq!(of, newest, "{name} at batch {step}");
    }
    let mut after = journal.oldest() - 1;
    while after < journal.latest() {
        for (cursor, bytes) in journal.read(after, READ_LIMIT).unwrap() {
            assert!(*bytes == value(cursor.div_ceil(2)), "event {cursor}");
            after = cursor;
        }
    }
    journal.commit_blocking(batch(step + 1)).unwrap();
    Ok(step)
}

#[test]
fn every_part_of_the_last_writes_opens_whole() {
    let mut rng = StdRng::seed_from_u64(3);
    let dir = tempfile::tempdir().unwrap();
    let (path, trial) = (dir.path().join("journal"), dir.path().join("trial"));
    let (mut step, mut cases, mut with) = (0, 0, 0);
    for target in BEFORE {
        // Opened anew for each, so that sled has an index of the log's earlier part.
        let journal = Journal::open(options(&path)).unwrap();
        while step < target {
            step += 1;
            journal.commit_blocking(batch(step)).unwrap();
        }
        for _ in 0..TORN {
            let before = files(&path);
            journal.commit_blocking(batch(step + 1)).unwrap();
            let after = files(&path);
            let blocks: Vec<usize> = (0..after.data.len().div_ceil(SECTOR))
                .filter(|block| {
                    let range = block * SECTOR..((block + 1) * SECTOR).min(after.data.len());
                    before.data.get(range.clone()) != Some(&after.data[range])
                })
                .collect();
            let count = blocks.len();
            let random: Vec<Vec<bool>> = (0..6).map(|_| (0..count).map(|_| rng.random()).collect()).collect();
            let mut kept: Vec<Vec<bool>> = (0..=count).map(|prefix| (0..count).map(|number| number < prefix).collect()).collect();
            kept.extend((0..count).map(|one| (0..count).map(|number| number == one).collect()));
            kept.extend((0..count).map(|one| (0..count).map(|number| number != one).collect()));
            kept.extend(random);
            // A large batch has many blocks; any of them shows the same.
            let every = kept.len().div_ceil(40);
            for keep in kept.iter().step_by(every).chain([kept[count].clone()].iter()) {
                let data = mix(&before.data, &after.data, &blocks, |number| keep[number]);
                place(&Files { data, ..before.clone() }, &trial);
                match open(&trial) {
                    Ok(found) if found == step => {}
                    Ok(found) if found == step + 1 => with += 1,
                    other => panic!("{keep:?} of batch {}: {other:?}", step + 1),
                }
                cases += 1;
            }
            // It was acknowledged and the disk lied: refused.
            place(&Files { data: before.data.clone(), ..after }, &trial);
            assert!(matches!(open(&trial), Err(OpenError::Damaged { .. })));
            step += 1;
        }
    }
    writeln!(std::io::stderr(), "{cases} torn writes, {with} of them with the batch").unwrap();
    assert!(cases > 100 && with > 5, "{cases} cases, {with} with the batch: they show nothing");
}

/// A write that reached a place where another was promised to lie is told from one that did not.
#[test]
fn a_sector_of_zeros_in_what_was_acknowledged_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (path, trial) = (dir.path().join("journal"), dir.path().join("trial"));
    let journal = Journal::open(options(&path)).unwrap();
    let before = {
        for step in 1..=50 {
            journal.commit_blocking(batch(step)).unwrap();
        }
        files(&path)
    };
    journal.commit_blocking(batch(51)).unwrap();
    let after = files(&path);
    place(&after, &trial);
    let first = before.data.iter().zip(&after.data).position(|(a, b)| a != b).unwrap_or(before.data.len());
    let file = fs::File::options().write(true).open(trial.join("db")).unwrap();
    file.write_all_at(&[0; SECTOR], (first / SECTOR * SECTOR) as u64).unwrap();
    assert!(matches!(open(&trial), Err(OpenError::Damaged { .. })));
}
