//! What sled 0.34 would make of its files when it opens them, found without writing: which message is the newest of each page, and
//! where the log ends for it. sled cuts off what lies behind that end; whoever asks here first loses nothing.
//!
//! Source: sled 0.34.7, `pagecache/iterator.rs`, `pagecache/snapshot.rs`; the steps below are in that order and have its conditions.

use super::codec::{
    Cursor, Kind, Lsn, MESSAGE_HEADER_MAX, Message, SEGMENT_BYTES, SEGMENT_HEADER_BYTES, Segment, Source, message, segment_header,
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

const SEGMENT: Lsn = SEGMENT_BYTES as Lsn;
/// Above any page that a journal can have, so that a damaged number cannot ask for all memory: 64 Mi pages hold a billion records.
const PAGES_MAX: u64 = 1 << 26;

/// Where a message lies: its position in the order of writing, and in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub lsn: Lsn,
    pub at: u64,
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
                pointer(&mut cursor)?.map_or(Page::Elsewhere, |at| Page::Free(Place { lsn, at }))
            }
            parts => {
                let (mut places, mut elsewhere) = (Vec::new(), false);
                for _ in 0..parts {
                    let lsn = cursor.lsn()?;
                    match pointer(&mut cursor)? {
                        Some(at) => places.push(Place { lsn, at }),
                        None => elsewhere = true,
                    }
                    let _bytes = cursor.varint()?;
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

/// The headers of all segments from `least` on: position in the order of writing -> place in the file; and how far all was stable.
fn headers(data: &File, least: Lsn) -> Result<(BTreeMap<Lsn, u64>, Lsn), Unusable> {
    let failed = |source| Unusable::Io { path: "db".into(), source };
    let length = data.metadata().map_err(failed)?.len();
    let count = length / SEGMENT_BYTES + u64::from(length % SEGMENT_BYTES >= SEGMENT_HEADER_BYTES);
    let (mut found, mut stable) = (BTreeMap::new(), least);
    for at in (0..count).map(|index| index * SEGMENT_BYTES) {
        let mut header = [0; SEGMENT_HEADER_BYTES as usize];
        if data.read(&mut header, at).map_err(failed)? < header.len() {
            continue;
        }
        let Some((lsn, stable_then)) = segment_header(&header).filter(|(lsn, _)| *lsn >= least) else { continue };
        stable = stable.max(stable_then);
        if let Some(other) = found.insert(lsn, at) {
            return Err(Unusable::Damaged(format!("the segments at {other} and {at} both claim the position {lsn}")));
        }
    }
    Ok((found, stable))
}

/// sled's iterator over the log.
struct Log<'a> {
    data: &'a File,
    segments: BTreeMap<Lsn, u64>,
    segment: Option<Segment>,
    now: Option<Lsn>,
    last: Option<Lsn>,
    /// Damage ends the segment only; else it ends the log.
    goes_on: bool,
    skipped: Vec<Place>,
}

impl Log<'_> {
    fn next(&mut self) -> io::Result<Option<(Kind, u64, Place)>> {
        loop {
            let within = u64::try_from(self.now.unwrap_or(0)).unwrap_or(0) % SEGMENT_BYTES;
            if !(SEGMENT_HEADER_BYTES..=SEGMENT_BYTES - MESSAGE_HEADER_MAX).contains(&within) {
                self.segment = None;
            }
            if self.segment.is_none() && !self.load()? {
                return Ok(None);
            }
            let (Some(segment), Some(lsn)) = (&self.segment, self.now) else { return Ok(None) };
            if self.last.is_some_and(|last| lsn > last) {
                return Ok(None);
            }
            let at = segment.at + u64::try_from(lsn % SEGMENT).unwrap_or(0);
            let number = u64::try_from(lsn / SEGMENT).unwrap_or(0);
            let advance = |bytes: u64| Some(lsn + bytes as Lsn);
            match message(segment, at, number)? {
                Message::Page { kind, pid, bytes, .. } => {
                    self.now = advance(bytes);
                    return Ok(Some((kind, pid, Place { lsn, at })));
                }
                Message::Batch { last, bytes } => {
                    if self.last.is_some_and(|end| last > end) {
                        return Ok(None);
                    }
                    self.now = advance(bytes);
                }
                Message::Canceled { bytes } => self.now = advance(bytes),
                Message::Cap => self.segment = None,
                Message::Damaged if self.goes_on => {
                    self.skipped.push(Place { lsn, at });
                    self.segment = None;
                }
                Message::Damaged | Message::Cut => return Ok(None),
            }
        }
    }

    fn load(&mut self) -> io::Result<bool> {
        let Some((&lsn, &at)) = self.segments.iter().next() else { return Ok(false) };
        if self.last.is_some_and(|last| lsn > last) {
            return Ok(false);
        }
        let mut bytes = vec![0; SEGMENT_BYTES as usize];
        let count = self.data.read(&mut bytes, at)?;
        bytes.truncate(count);
        self.segments.remove(&lsn);
        self.now = Some(lsn + SEGMENT_HEADER_BYTES as Lsn);
        self.segment = Some(Segment { at, bytes });
        Ok(true)
    }
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
    let mut log = Log { data, segments: tail, segment: None, now: None, last: missing, goes_on: false, skipped: Vec::new() };
    while log.next()?.is_some() {}
    Ok(log.now.unwrap_or(0) - 1)
}

/// Reads `snap.N` and `db` of a folder of sled's.
pub(crate) fn recover(folder: &Path, data: &File) -> Result<Recovered, Unusable> {
    let failed = |source| Unusable::Io { path: folder.join("db"), source };
    let Snapshot { stable, mut pages } = snapshot(folder)?;
    let least = stable.unwrap_or(0) / SEGMENT * SEGMENT;
    let (segments, stable_then) = headers(data, least)?;
    let last = end_of_tail(data, &segments, stable_then).map_err(failed)?;
    let mut log = Log { data, segments, segment: None, now: None, last: Some(last), goes_on: true, skipped: Vec::new() };
    while let Some((kind, pid, place)) = log.next().map_err(failed)? {
        if place.lsn < stable.unwrap_or(-1) {
            continue;
        }
        if place.lsn >= last || pid >= PAGES_MAX {
            return Err(Unusable::Damaged(format!("the log goes on behind its end, at {}", place.lsn)));
        }
        apply(&mut pages, kind, pid, place);
    }
    if stable.is_some_and(|stable| log.now.is_some_and(|now| now < stable)) {
        return Err(Unusable::Damaged("the log ends earlier than at an earlier start".to_owned()));
    }
    let begin = stable.unwrap_or(0);
    Ok(Recovered { pages, begin, end: log.now.map_or(begin, |now| now.max(begin)), skipped: log.skipped })
}

fn apply(pages: &mut Vec<Page>, kind: Kind, pid: u64, place: Place) {
    let index = pid as usize;
    if kind == Kind::Link {
        // A link to a page whose base was not met yet: it was moved to a later place, with all its links.
        if let Some(Page::Present { base, links }) = pages.get_mut(index)
            && links.last().map_or(base.lsn, |newest| newest.lsn) < place.lsn
        {
            links.push(place);
        }
        return;
    }
    if pages.len() <= index {
        pages.resize(index + 1, Page::Absent);
    }
    pages[index] = match kind {
        Kind::Free => Page::Free(place),
        Kind::Blob => Page::Elsewhere,
        Kind::Counter | Kind::Meta | Kind::Node | Kind::Link => Page::Present { base: place, links: Vec::new() },
    };
}
