//! What sled 0.34 would make of its files when it opens them, found without writing: which message is the newest of each page, and
//! where the log ends for it. sled cuts off what lies behind that end; whoever asks here first loses nothing.
//!
//! Source: sled 0.34.7, `pagecache/iterator.rs`, `pagecache/snapshot.rs`; the steps below are in that order and have its conditions.
//! The log itself is followed by `log`.

use super::{
    codec::{Cursor, Kind, Lsn, SEGMENT_BYTES, SEGMENT_HEADER_BYTES, Segment, Source, segment_header},
    log::{Log, Next},
    scan::{Ahead, scan},
    unseen::Rest,
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

pub(super) const SEGMENT: Lsn = SEGMENT_BYTES as Lsn;
/// Above any page that a journal can have, so that a damaged number cannot ask for all memory: 64 Mi pages hold a billion records.
const PAGES_MAX: u64 = 1 << 26;

/// Where a message lies: its position in the order of writing, and in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub lsn: Lsn,
    pub at: u64,
    /// As it was said to have; whoever reads it takes the message's own word.
    pub bytes: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Page {
    Absent,
    Free(Place),
    Present {
        base: Place,
        links: Vec<Place>,
    },
    /// It lies in a file beside the log, which the journal never makes.
    Elsewhere,
}

/// The pages as sled would have them.
pub(crate) struct Recovered {
    pub pages: Vec<Page>,
    /// The part of the log that sled would read: from where its index ends to where the log does.
    pub begin: Lsn,
    pub end: Lsn,
    /// Places at which sled would stop reading a segment though it is no end of one: damage, or remains of an earlier use.
    pub skipped: Vec<Place>,
    /// What lies in this part of the log, and sled would not come to.
    pub(super) rest: Rest,
}

/// Why sled would refuse, or would have to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("cannot read {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0}")]
    Damaged(String),
}

#[derive(Default)]
struct Snapshot {
    stable: Option<Lsn>,
    pages: Vec<Page>,
}

/// sled's own notes of an earlier start, if there are any: files `snap.N`, the newest by name. One that was being written when the
/// process ended (`.generating`) is none; sled would take it for the newest and refuse, so it is removed before sled is let in.
pub(crate) fn snapshots(folder: &Path) -> io::Result<(Option<PathBuf>, Vec<PathBuf>)> {
    let (mut whole, mut begun) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match name.strip_prefix("snap.") {
            Some(rest) if rest.ends_with(".generating") => begun.push(path),
            Some(_) => whole.push(path),
            None => {}
        }
    }
    whole.sort();
    Ok((whole.pop(), begun))
}

fn snapshot(folder: &Path) -> Result<Snapshot, Unusable> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Unusable::Io { path, source }
    };
    let Some(path) = snapshots(folder).map_err(failed(folder))?.0 else { return Ok(Snapshot::default()) };
    let bytes = fs::read(&path).map_err(failed(&path))?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let damaged = || Unusable::Damaged(format!("the index {name} is damaged"));
    // Content, its length (8 bytes), its sum (4).
    let content = bytes.len().checked_sub(12).filter(|length| *length > 0).map(|length| &bytes[..length]).ok_or_else(damaged)?;
    let sum = u32::from_le_bytes(bytes[bytes.len() - 4..].try_into().map_err(|_| damaged())?);
    if crc32fast::hash(content) != sum {
        return Err(damaged());
    }
    parse_snapshot(content).ok_or_else(damaged)
}

fn parse_snapshot(content: &[u8]) -> Option<Snapshot> {
    let mut cursor = Cursor(content);
    // 0 is none; a number is shifted by one.
    let stable = match cursor.lsn()? {
        0 => None,
        shifted if shifted < 0 => Some(shifted),
        shifted => Some(shifted - 1),
    };
    let _active_segment = cursor.varint()?;
    let mut pages = Vec::new();
    while !cursor.0.is_empty() {
        pages.push(match cursor.byte()? {
            0 => {
                let lsn = cursor.lsn()?;
                pointer(&mut cursor)?.map_or(Page::Elsewhere, |at| Page::Free(Place { lsn, at, bytes: 0 }))
            }
            parts => {
                let (mut places, mut elsewhere) = (Vec::new(), false);
                for _ in 0..parts {
                    let (lsn, place) = (cursor.lsn()?, pointer(&mut cursor)?);
                    let bytes = u32::try_from(cursor.varint()?).unwrap_or(u32::MAX);
                    match place {
                        Some(at) => places.push(Place { lsn, at, bytes }),
                        None => elsewhere = true,
                    }
                }
                match (places.split_first(), elsewhere) {
                    (Some((base, links)), false) => Page::Present { base: *base, links: links.to_vec() },
                    _ => Page::Elsewhere,
                }
            }
        });
    }
    Some(Snapshot { stable, pages })
}

/// `Some(None)`: into a file beside the log.
fn pointer(cursor: &mut Cursor<'_>) -> Option<Option<u64>> {
    match cursor.byte()? {
        0 => Some(Some(cursor.varint()?)),
        1 => {
            let (_, _) = (cursor.varint()?, cursor.lsn()?);
            Some(None)
        }
        _ => None,
    }
}

/// Where the segments lie from a position on.
#[derive(Default)]
struct Headers {
    /// Position in the order of writing -> place in the file.
    found: BTreeMap<Lsn, u64>,
    /// How far all was stable.
    stable: Lsn,
    /// Places of segments whose header is damaged, or was never written.
    without: Vec<u64>,
}

fn headers(data: &File, least: Lsn) -> Result<Headers, Unusable> {
    let failed = |source| Unusable::Io { path: "db".into(), source };
    let length = data.metadata().map_err(failed)?.len();
    let mut headers = Headers { stable: least, ..Headers::default() };
    for at in (0..length.div_ceil(SEGMENT_BYTES)).map(|index| index * SEGMENT_BYTES) {
        let mut header = [0; SEGMENT_HEADER_BYTES as usize];
        let whole = data.read(&mut header, at).map_err(failed)? == header.len();
        match segment_header(&header).filter(|_| whole) {
            Some((lsn, stable_then)) if lsn >= least => {
                headers.stable = headers.stable.max(stable_then);
                if let Some(other) = headers.found.insert(lsn, at) {
                    return Err(Unusable::Damaged(format!("the segments at {other} and {at} both claim the position {lsn}")));
                }
            }
            // All of it is told by the index.
            Some(_) => {}
            None => headers.without.push(at),
        }
    }
    Ok(headers)
}

/// The end of the last message of the newest segments, which must follow each other without a hole.
fn end_of_tail(data: &File, segments: &BTreeMap<Lsn, u64>, stable: Lsn) -> io::Result<Lsn> {
    let lowest = (stable / SEGMENT * SEGMENT).max(0);
    let (mut expected, mut missing, mut tail) = (lowest, None, BTreeMap::new());
    for (&lsn, &at) in segments.range(lowest..) {
        if lsn != expected {
            missing = Some(expected);
            break;
        }
        expected += SEGMENT;
        tail.insert(lsn, at);
    }
    let mut memory = Segment::default();
    let mut log = Log::new(data, tail, missing, false);
    loop {
        match log.next()? {
            Next::Message { .. } => {}
            Next::Segment(at) => log.enter(scan(data, at, &mut memory)?),
            Next::End => return Ok(log.now.unwrap_or(0) - 1),
        }
    }
}

/// Reads `snap.N` and `db` of a folder of sled's.
pub(crate) fn recover(folder: &Path, data: &File) -> Result<Recovered, Unusable> {
    let failed = |source| Unusable::Io { path: folder.join("db"), source };
    let Snapshot { stable, mut pages } = snapshot(folder)?;
    let Headers { found, stable: stable_then, without } = headers(data, stable.unwrap_or(0) / SEGMENT * SEGMENT)?;
    let last = end_of_tail(data, &found, stable_then).map_err(failed)?;
    let order: Vec<u64> = found.values().chain(&without).copied().collect();
    let shorter = || failed(io::ErrorKind::UnexpectedEof.into());
    let mut log = Log::new(data, found, Some(last), true);
    std::thread::scope(|scope| {
        let mut ahead = Ahead::begin(scope, data, &order);
        loop {
            match log.next().map_err(failed)? {
                Next::Message { place, .. } if place.lsn < stable.unwrap_or(-1) => {}
                Next::Message { pid, place, .. } if place.lsn >= last || pid >= PAGES_MAX => {
                    return Err(Unusable::Damaged(format!("the log goes on behind its end, at {}", place.lsn)));
                }
                Next::Message { kind, pid, place } => {
                    if !apply(&mut pages, kind, pid, place) {
                        log.rest.message(place, kind, pid);
                    }
                }
                Next::Segment(_) => log.enter(ahead.next().map_err(failed)?.ok_or_else(shorter)?),
                Next::End => break,
            }
        }
        log.leave();
        while let Some(scanned) = ahead.next().map_err(failed)? {
            log.rest.segment(scanned, 0);
        }
        Ok(())
    })?;
    if stable.is_some_and(|stable| log.now.is_some_and(|now| now < stable)) {
        return Err(Unusable::Damaged("the log ends earlier than at an earlier start".to_owned()));
    }
    let begin = stable.unwrap_or(0);
    Ok(Recovered { pages, begin, end: log.now.map_or(begin, |now| now.max(begin)), skipped: log.skipped, rest: log.rest })
}

/// Whether the message is in the pages now, or may be missing from them.
fn apply(pages: &mut Vec<Page>, kind: Kind, pid: u64, place: Place) -> bool {
    let index = pid as usize;
    if kind == Kind::Link {
        // A link to a page whose base was not met yet: it was moved to a later place, with all its links.
        let Some(Page::Present { base, links }) = pages.get_mut(index) else { return true };
        let follows = links.last().map_or(base.lsn, |newest| newest.lsn) < place.lsn;
        if follows {
            links.push(place);
        }
        return follows;
    }
    if pages.len() <= index {
        pages.resize(index + 1, Page::Absent);
    }
    match (kind, &mut pages[index]) {
        (Kind::Free, page) => *page = Page::Free(place),
        (Kind::Blob, page) => *page = Page::Elsewhere,
        // Its memory is used again: a page is replaced for every dozen links.
        (_, Page::Present { base, links }) => {
            *base = place;
            links.clear();
        }
        (Kind::Counter | Kind::Meta | Kind::Node | Kind::Link, page) => *page = Page::Present { base: place, links: Vec::new() },
    }
    true
}

#[cfg(test)]
mod tests;
