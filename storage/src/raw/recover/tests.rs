//! What is read ahead, each segment once, gives what the plain way gives: message by message from the file, then a search of all of it.

use super::*;
use crate::{
    Batch, Journal, Options,
    raw::{scan::Scanned, unseen},
};
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};

const CASES: usize = 60;

/// One thread, every message read where it lies, and the whole file searched for what was not come to.
fn plainly(folder: &Path, data: &File) -> Result<Recovered, Unusable> {
    let Snapshot { stable, mut pages } = snapshot(folder)?;
    let Headers { found, stable: stable_then, .. } = headers(data, stable.unwrap_or(0) / SEGMENT * SEGMENT)?;
    let nothing = |at| Scanned { at, ..Scanned::default() };
    let last = end_of_tail(data, &found, stable_then).unwrap();
    let mut log = Log::new(data, found, Some(last), true);
    loop {
        match log.next().unwrap() {
            Next::Message { place, .. } if place.lsn < stable.unwrap_or(-1) => {}
            Next::Message { pid, place, .. } if place.lsn >= last || pid >= PAGES_MAX => {
                return Err(Unusable::Damaged(format!("the log goes on behind its end, at {}", place.lsn)));
            }
            Next::Message { kind, pid, place } => drop(apply(&mut pages, kind, pid, place)),
            Next::Segment(at) => log.enter(nothing(at)),
            Next::End => break,
        }
    }
    if stable.is_some_and(|stable| log.now.is_some_and(|now| now < stable)) {
        return Err(Unusable::Damaged("the log ends earlier than at an earlier start".to_owned()));
    }
    let mut rest = Rest::default();
    let (length, mut memory) = (data.metadata().unwrap().len(), Segment::default());
    for at in (0..length.div_ceil(SEGMENT_BYTES)).map(|index| index * SEGMENT_BYTES) {
        rest.segment(scan(data, at, &mut memory).unwrap(), 0);
    }
    let begin = stable.unwrap_or(0);
    Ok(Recovered { pages, begin, end: log.now.map_or(begin, |now| now.max(begin)), skipped: log.skipped, rest })
}

fn agree(folder: &Path, what: &str) -> bool {
    let data = File::open(folder.join("db")).unwrap();
    match (recover(folder, &data), plainly(folder, &data)) {
        (Ok(ahead), Ok(plain)) => {
            assert!(ahead.pages == plain.pages, "{what}");
            assert_eq!((ahead.begin, ahead.end, &ahead.skipped), (plain.begin, plain.end, &plain.skipped), "{what}");
            let verdict = unseen(&ahead);
            assert_eq!(verdict, unseen(&plain), "{what}");
            verdict.is_some()
        }
        (Err(ahead), Err(plain)) => {
            assert_eq!(ahead.to_string(), plain.to_string(), "{what}");
            true
        }
        (ahead, plain) => panic!("{what}: {:?}, {:?}", ahead.map(drop), plain.map(drop)),
    }
}

#[test]
fn reading_ahead_finds_what_the_plain_way_finds_whatever_is_damaged() {
    // The second start has an index of sled's, and the log behind it.
    reading_ahead(1);
    reading_ahead(2);
}

fn reading_ahead(starts: u64) {
    let dir = tempfile::tempdir().unwrap();
    let (path, mut random) = (dir.path().join("journal"), StdRng::seed_from_u64(starts));
    for start in 0..starts {
        let journal = Journal::open(Options::new(&path)).unwrap();
        for step in 0..900_u64 {
            let value = |bytes: u64| (0..bytes + step % 90).map(|at| ((at * (step + start)) >> 2) as u8).collect::<Vec<u8>>();
            let batch = Batch::default().put("states", format!("{:03}", step % 600), value(400)).event(value(200));
            journal.commit_blocking(batch).unwrap();
        }
    }
    assert!(!agree(&path, "as it was written"));
    let (whole, mut found) = (std::fs::read(path.join("db")).unwrap(), 0);
    assert!(whole.len() as u64 > 2 * SEGMENT_BYTES, "one segment alone can't be read ahead");
    for case in 0..CASES {
        let mut damaged = whole.clone();
        let from = random.random_range(0..damaged.len());
        let what = match case % 5 {
            // A header of a segment, every second time another's in its place.
            0 => {
                let segments = damaged.len() as u64 / SEGMENT_BYTES;
                let mut place = || (random.random_range(0..segments) * SEGMENT_BYTES) as usize;
                let (to, of) = (place(), place());
                if case % 2 == 0 {
                    damaged.copy_within(of..of + SEGMENT_HEADER_BYTES as usize, to);
                } else {
                    damaged[to] ^= 1;
                }
                format!("the header at {to} ({of})")
            }
            1 => {
                damaged.truncate(from);
                format!("cut at {from}")
            }
            2 => {
                let to = (from + 4096).min(damaged.len());
                damaged[from..to].fill(0);
                format!("zeros from {from}")
            }
            _ => {
                let to = (from + 16).min(damaged.len());
                random.fill_bytes(&mut damaged[from..to]);
                format!("16 bytes from {from}")
            }
        };
        std::fs::write(path.join("db"), &damaged).unwrap();
        found += usize::from(agree(&path, &format!("case {case}, {what}")));
    }
    assert!((CASES / 20..CASES).contains(&found), "{found} of {CASES} were found: the damage is not varied");
}
