//! Steps without end leave the folder bounded: what is overwritten, deleted and pruned gives its room back.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::{fs, io::Write, path::Path};
use storage::{Batch, Journal, Options, disk_bound, offline::Offline};

const STEPS: u64 = 30_000;
const VMS: u64 = 100;
const KEEP_EVENTS: u64 = 2000;
/// Steps of one commit, so that the test takes seconds: the store sees the same writes.
const TOGETHER: u64 = 50;

fn folder_bytes(path: &Path) -> u64 {
    let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
    entries
        .map(
            |entry| {
                if entry.file_type().unwrap().is_dir() { folder_bytes(&entry.path()) } else { entry.metadata().unwrap().len() }
            },
        )
        .sum()
}

#[test]
fn the_folder_stays_within_its_bound() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(Options { keep_events: KEEP_EVENTS, ..Options::new(dir.path()) }).unwrap();
    let (mut most, mut written) = (0, 0);
    for first in (0..STEPS).step_by(TOGETHER as usize) {
        let mut batch = Batch::default();
        for step in first..first + TOGETHER {
            let value = vec![step as u8; 400 + (step % 64) as usize];
            written += value.len() as u64 * 2 + 220;
            batch = batch.put("vms", format!("{:04}", step * 7919 % VMS), value.clone()).put(
                "operations",
                format!("{step:08}"),
                value,
            );
            batch = batch.event(vec![step as u8; 220]).delete("operations", format!("{:08}", step.saturating_sub(200)));
        }
        journal.commit_blocking(batch).unwrap();
        most = most.max(folder_bytes(dir.path()));
    }
    drop(journal);
    let content = Offline::open(dir.path()).unwrap().read().unwrap();
    let records: u64 = content.records.iter().map(|((table, key), value)| (table.len() + key.len() + value.len()) as u64).sum();
    let live = records + content.events.values().map(|event| event.len() as u64).sum::<u64>();
    writeln!(std::io::stderr(), "written {written}, alive {live}, at most {most} on disk, bound {}", disk_bound(live)).unwrap();
    assert!(content.events.len() as u64 <= 2 * KEEP_EVENTS && content.records.len() as u64 <= VMS + 201);
    assert!(most <= disk_bound(live), "{most} bytes on disk for {live} alive");
    assert!(written > disk_bound(live), "the test writes too little to show anything");
}
