//! Which key lies where in the one sled tree, and how large values are split.
//!
//! A sled batch covers one tree, so states, events and counters of a step share one: `s/` + table + 0 + key for records,
//! `e/` + big-endian cursor for events, `m/head` for the counters, `x/` + any of these + chunk number for the rest of a
//! value that is larger than one chunk. It does no I/O.
//!
//! Why chunks: sled moves a leaf above a quarter of a segment (128 KiB) into a blob file that it never syncs, which a
//! power loss would show. A leaf splits above 16 entries and a merge may bring it to about 20, so entries of at most
//! 4 KiB and a key (under 400 B) stay below 90 KiB. Source: sled 0.34.7 `logger.rs`, `blob_io.rs`, `node.rs`.

/// The bytes of a value in its first entry and in each further one.
pub(crate) const CHUNK_BYTES: usize = 4096;

pub(crate) const HEAD: &[u8] = b"m/head";
pub(crate) const EVENTS: &[u8] = b"e/";
pub(crate) const CHUNKS: &[u8] = b"x/";

/// The counters of the journal, kept in the same batch as what they count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Of the last batch; 0 before the first.
    pub number: u64,
    /// The newest event; 0 when there was none.
    pub latest: u64,
    /// The oldest event kept; 0 when there was none.
    pub oldest: u64,
}

impl Head {
    pub fn encode(self) -> Vec<u8> {
        [self.number, self.latest, self.oldest].iter().flat_map(|counter| counter.to_be_bytes()).collect()
    }

    pub fn decode(bytes: &[u8]) -> Option<Head> {
        let (counters, []) = bytes.as_chunks::<8>() else {
            return None;
        };
        match counters {
            [number, latest, oldest] => Some(Head {
                number: u64::from_be_bytes(*number),
                latest: u64::from_be_bytes(*latest),
                oldest: u64::from_be_bytes(*oldest),
            }),
            _ => None,
        }
    }

    /// Events kept.
    pub fn kept(self) -> u64 {
        if self.latest == 0 { 0 } else { self.latest.saturating_sub(self.oldest).saturating_add(1) }
    }
}

pub(crate) fn table_prefix(table: &str) -> Vec<u8> {
    [b"s/", table.as_bytes(), b"\0"].concat()
}

pub(crate) fn record_key(table: &str, key: &str) -> Vec<u8> {
    [b"s/", table.as_bytes(), b"\0", key.as_bytes()].concat()
}

pub(crate) const RECORDS: &[u8] = b"s/";

pub(crate) fn is_record(key: &[u8]) -> bool {
    key.starts_with(RECORDS)
}

/// The table and key of a record's key.
pub(crate) fn record_name(key: &[u8]) -> Option<(&str, &str)> {
    let rest = key.strip_prefix(RECORDS)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    Some((std::str::from_utf8(&rest[..end]).ok()?, std::str::from_utf8(&rest[end + 1..]).ok()?))
}

pub(crate) fn event_key(cursor: u64) -> Vec<u8> {
    [EVENTS, &cursor.to_be_bytes()].concat()
}

pub(crate) fn event_cursor(key: &[u8]) -> Option<u64> {
    key.strip_prefix(EVENTS).and_then(|rest| rest.try_into().ok()).map(u64::from_be_bytes)
}

/// Exactly one byte of number follows the owner's key, so two owners can never share a chunk's key.
pub(crate) fn chunk_key(owner: &[u8], number: u8) -> Vec<u8> {
    [CHUNKS, owner, &[number]].concat()
}

/// The owner and number of a chunk's key.
pub(crate) fn chunk_owner(key: &[u8]) -> Option<(&[u8], u8)> {
    let (number, owner) = key.strip_prefix(CHUNKS)?.split_last()?;
    Some((owner, *number))
}

/// Counters, keys and values as they lie in the tree.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Some(head) = Head::decode(bytes) {
        assert_eq!(head.encode(), bytes);
        let _kept = head.kept();
    }
    if let Some(cursor) = event_cursor(bytes) {
        assert_eq!(event_key(cursor), bytes);
    }
    if let Some((owner, number)) = chunk_owner(bytes) {
        assert_eq!(chunk_key(owner, number), bytes);
    }
    if let Some((table, key)) = record_name(bytes) {
        assert_eq!(record_key(table, key), bytes);
        assert!(is_record(bytes));
    }
    if let Some(first) = First::of(bytes) {
        assert!(first.bytes.len() < bytes.len());
    }
    // As long as a journal takes it, and of every length at the chunks' edges.
    let long = bytes.repeat(1 + 3 * CHUNK_BYTES / (1 + bytes.len()));
    for value in [bytes, &long] {
        let (entry, chunks) = split(value);
        let first = First::of(&entry).expect("an entry that was just made");
        assert_eq!(usize::from(first.chunks), chunks.len());
        assert_eq!([first.bytes, chunks.concat().as_slice()].concat(), value);
        assert!(first.fits(value) && first.bytes.len() <= CHUNK_BYTES);
        assert!(chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK_BYTES));
        assert!(chunks.is_empty() || !first.fits(&value[1..]), "another value has the same sum");
    }
}

/// Set in the first byte of an entry whose value's sum follows. Journals of the format 1 have none.
const SUMMED: u8 = 0x80;
const SUM_BYTES: usize = 4;

/// The first entry (how many chunks follow, for a value with any its sum, then the first bytes) and the chunks, numbered from 1.
///
/// The sum tells a value from one whose parts are of different batches, which damage may leave behind.
pub(crate) fn split(value: &[u8]) -> (Vec<u8>, Vec<&[u8]>) {
    let (first, rest) = value.split_at(value.len().min(CHUNK_BYTES));
    let chunks: Vec<&[u8]> = rest.chunks(CHUNK_BYTES).collect();
    let count =
        u8::try_from(chunks.len()).expect("a value has at most MAX_VALUE_BYTES, which is 16 chunks, or twice that in set-aside");
    let mut entry = Vec::with_capacity(1 + SUM_BYTES + first.len());
    if count == 0 {
        entry.push(0);
    } else {
        entry.push(SUMMED | count);
        entry.extend_from_slice(&crc32fast::hash(value).to_le_bytes());
    }
    entry.extend_from_slice(first);
    (entry, chunks)
}

/// An entry taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct First<'a> {
    pub chunks: u8,
    sum: Option<u32>,
    pub bytes: &'a [u8],
}

impl First<'_> {
    /// `None`: an entry has at least its count.
    pub fn of(entry: &[u8]) -> Option<First<'_>> {
        let (count, rest) = entry.split_first()?;
        if count & SUMMED == 0 {
            return Some(First { chunks: *count, sum: None, bytes: rest });
        }
        let (sum, bytes) = rest.split_first_chunk::<SUM_BYTES>()?;
        Some(First { chunks: count & !SUMMED, sum: Some(u32::from_le_bytes(*sum)), bytes })
    }

    /// Whether this is the value that was written.
    pub fn fits(&self, value: &[u8]) -> bool {
        self.sum.is_none_or(|sum| sum == crc32fast::hash(value))
    }
}
