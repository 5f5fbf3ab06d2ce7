//! A journal out of damaged files: all records and events that can still be read, and what is lost, by name.
//!
//! Owns what of the store's entries is a journal's and whole, and the naming of losses. Finding the entries is `raw::salvage`'s. Pure but
//! for reading the folder, which it never writes.

use super::{
    directory,
    examine::{Finding, walk},
    layout::{self, Head},
};
use crate::raw::{self, Gap, Salvaged, Torn, Value};
use std::{collections::BTreeMap, fs::File, io, path::Path};

/// Ranges are told up to this many; a journal that is lost in more pieces is better restored from a backup.
const NAMED_MAX: usize = 1000;

/// What is lost, for people. Empty: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    /// A table and key whose value has lost a part: it is left out.
    pub records: Vec<(String, String)>,
    /// Records between two keys, of which nothing is known: (first possible, first behind), as text.
    pub ranges: Vec<(String, String)>,
    /// First and last event that are lost; placeholders stand in their place, so that no number is given twice.
    pub events: Vec<(u64, u64)>,
    /// Batches of whose changes some may be missing, so that a record they changed may be older than it was: first, last.
    pub batches: Vec<(u64, u64)>,
    /// Changes that were read and of which it can't be said which record they belong to.
    pub unattributed: u64,
    /// Bytes of the data file that can't be read: first, how many.
    pub bytes: Vec<(u64, u64)>,
}

impl Losses {
    pub fn is_empty(&self) -> bool {
        *self == Losses::default()
    }
}

/// A journal's content, put together again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rescued {
    /// By table and key.
    pub records: BTreeMap<(String, String), Vec<u8>>,
    /// By cursor, without those that are lost.
    pub events: BTreeMap<u64, Vec<u8>>,
    /// Of the last batch: not below what was acknowledged.
    pub number: u64,
    /// The oldest and the newest event, lost ones included; zeros when there was none.
    pub bounds: (u64, u64),
    pub losses: Losses,
}

/// Reads the folder's data file, whatever its state.
pub(crate) fn rescue(folder: &Path) -> io::Result<Rescued> {
    let noted = directory::noted(folder)?;
    let data = File::open(folder.join("db"))?;
    let mut salvaged = raw::salvage(&data, layout::HEAD, Torn::Drop)?;
    if newest_head(&heads(&salvaged)).number < noted.number {
        // Part of what was acknowledged is gone: what there is of the newest batch is better than nothing of it.
        salvaged = raw::salvage(&data, layout::HEAD, Torn::Keep)?;
    }
    let heads = heads(&salvaged);
    let newest = newest_head(&heads);
    if newest.number >= noted.number {
        // What lies behind the newest batch was left there by an earlier use of the segment.
        salvaged.gaps.retain(|gap| gap.from <= salvaged.batch_end);
    }
    let mut rescued = Rescued { number: newest.number.max(noted.number), ..Rescued::default() };
    let losses = &mut rescued.losses;
    losses.unattributed = salvaged.unattributed;
    losses.bytes = salvaged.gaps.iter().map(|gap| (gap.at, gap.bytes)).take(NAMED_MAX).collect();
    losses.batches = batches(&salvaged.gaps, &heads, newest.number, noted.number);
    let names = |(low, high): &(Vec<u8>, Vec<u8>)| (name(low), name(high));
    losses.ranges = salvaged.lost_ranges.iter().map(names).take(NAMED_MAX).collect();
    collect(&salvaged, &mut rescued, newest);
    bounds(&mut rescued, newest.oldest, newest.latest.max(noted.latest));
    Ok(rescued)
}

fn heads(salvaged: &Salvaged) -> Vec<(i64, Head)> {
    salvaged.history.iter().filter_map(|value| Some((value.lsn, Head::decode(&value.bytes)?))).collect()
}

fn newest_head(heads: &[(i64, Head)]) -> Head {
    heads.iter().map(|(_, head)| *head).max_by_key(|head| head.number).unwrap_or_default()
}

fn name(key: &[u8]) -> String {
    match layout::record_name(key) {
        Some((table, key)) => format!("{table}/{key}"),
        None => layout::event_cursor(key).map_or_else(|| key.escape_ascii().to_string(), |cursor| format!("event {cursor}")),
    }
}

/// Each gap in the log lies between two heads; what was written there belongs to the batches between their numbers.
fn batches(gaps: &[Gap], heads: &[(i64, Head)], newest: u64, acknowledged: u64) -> Vec<(u64, u64)> {
    let mut all: Vec<(u64, u64)> = Vec::new();
    for gap in gaps {
        let before = heads.iter().filter(|(lsn, _)| *lsn < gap.from).map(|(_, head)| head.number).max().unwrap_or(0);
        let after = heads.iter().filter(|(lsn, _)| *lsn >= gap.to).map(|(_, head)| head.number).min();
        all.push((before + 1, after.unwrap_or(acknowledged)));
    }
    all.push((newest + 1, acknowledged));
    all.retain(|(first, last)| first <= last);
    all.sort_unstable();
    let mut lost: Vec<(u64, u64)> = Vec::new();
    for (first, last) in all {
        if let Some(before) = lost.last_mut().filter(|before| first <= before.1 + 1) {
            before.1 = before.1.max(last);
        } else if lost.len() < NAMED_MAX {
            lost.push((first, last));
        }
    }
    lost
}

fn collect(salvaged: &Salvaged, rescued: &mut Rescued, newest: Head) {
    for (key, value) in &salvaged.entries {
        let event = layout::event_cursor(key);
        if event.is_none() && !layout::is_record(key) {
            continue;
        }
        match (event, layout::record_name(key), whole(salvaged, key, &value.bytes)) {
            // Pruned ones may have been read again: their removal is what was lost.
            (Some(cursor), _, Some(bytes)) if cursor >= newest.oldest => drop(rescued.events.insert(cursor, bytes)),
            (None, Some((table, key)), Some(bytes)) => drop(rescued.records.insert((table.to_owned(), key.to_owned()), bytes)),
            (None, Some((table, key)), None) => rescued.losses.records.push((table.to_owned(), key.to_owned())),
            _ => {}
        }
    }
}

/// The value with its chunks, if all are there and of one batch.
fn whole(salvaged: &Salvaged, key: &[u8], entry: &[u8]) -> Option<Vec<u8>> {
    let first = layout::First::of(entry)?;
    let mut value = first.bytes.to_vec();
    for number in 1..=first.chunks {
        value.extend_from_slice(&salvaged.entries.get(&layout::chunk_key(key, number))?.bytes);
    }
    first.fits(&value).then_some(value)
}

/// The events' bounds, and the runs that are missing between them. What is missing before the first that was read is given up: the oldest
/// kept is then a later one, as after pruning.
fn bounds(rescued: &mut Rescued, oldest: u64, latest: u64) {
    let latest = latest.max(rescued.events.keys().next_back().copied().unwrap_or(0));
    if latest == 0 {
        return;
    }
    let mut expected = oldest.max(1);
    for cursor in rescued.events.keys().copied().chain([latest + 1]) {
        if cursor > expected {
            rescued.losses.events.push((expected, cursor - 1));
        }
        expected = cursor + 1;
    }
    rescued.bounds = (rescued.events.keys().next().copied().unwrap_or(latest), latest);
}

/// The same of a journal that is whole; the error says what is not.
pub(crate) fn contents(folder: &Path) -> Result<Rescued, String> {
    let mut entries = BTreeMap::new();
    let content = walk(folder, |key, value| drop(entries.insert(key.to_vec(), Value { lsn: 0, bytes: value.to_vec() })))
        .map_err(Finding::text)?;
    let salvaged = Salvaged { entries, ..Salvaged::default() };
    let head = content.head;
    let mut rescued = Rescued { number: head.number, bounds: (head.oldest, head.latest), ..Rescued::default() };
    collect(&salvaged, &mut rescued, head);
    Ok(rescued)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, Journal, Options};

    /// Of a whole journal, the search for what can be read and the walk that sled would do find the same, and nothing is lost.
    #[test]
    fn of_a_whole_journal_all_is_rescued() {
        let dir = tempfile::tempdir().unwrap();
        for (keep_events, round) in [(u64::MAX, 0), (100, 1), (100, 2)] {
            let journal = Journal::open(Options { keep_events, ..Options::new(dir.path()) }).unwrap();
            for step in 0..1500u64 {
                let value = vec![step as u8; if step % 50 == 0 { 9000 } else { 20 + (step * 7 % 300) as usize }];
                let mut batch = Batch::default().put("vms", format!("{:03}", step * 31 % 400), value.clone()).event(value);
                if step % 3 == 0 {
                    batch = batch.delete("vms", format!("{:03}", (step + round) * 17 % 400));
                }
                journal.commit_blocking(batch).unwrap();
            }
            drop(journal);
            let whole = contents(dir.path()).unwrap();
            let rescued = rescue(dir.path()).unwrap();
            assert_eq!(rescued.losses, Losses::default());
            assert!(rescued == whole, "the search finds {} records, the walk {}", rescued.records.len(), whole.records.len());
        }
    }
}
