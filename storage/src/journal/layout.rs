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
pub(super) const CHUNK_BYTES: usize = 4096;

pub(super) const HEAD: &[u8] = b"m/head";
pub(super) const EVENTS: &[u8] = b"e/";
pub(super) const CHUNKS: &[u8] = b"x/";

/// The counters of the journal, kept in the same batch as what they count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Head {
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
        if self.latest == 0 { 0 } else { self.latest - self.oldest + 1 }
    }
}

pub(super) fn table_prefix(table: &str) -> Vec<u8> {
    [b"s/", table.as_bytes(), b"\0"].concat()
}

pub(super) fn record_key(table: &str, key: &str) -> Vec<u8> {
    [b"s/", table.as_bytes(), b"\0", key.as_bytes()].concat()
}

pub(super) fn event_key(cursor: u64) -> Vec<u8> {
    [EVENTS, &cursor.to_be_bytes()].concat()
}

pub(super) fn event_cursor(key: &[u8]) -> Option<u64> {
    key.strip_prefix(EVENTS).and_then(|rest| rest.try_into().ok()).map(u64::from_be_bytes)
}

/// Exactly one byte of number follows the owner's key, so two owners can never share a chunk's key.
pub(super) fn chunk_key(owner: &[u8], number: u8) -> Vec<u8> {
    [CHUNKS, owner, &[number]].concat()
}

/// The owner and number of a chunk's key.
pub(super) fn chunk_owner(key: &[u8]) -> Option<(&[u8], u8)> {
    let (number, owner) = key.strip_prefix(CHUNKS)?.split_last()?;
    Some((owner, *number))
}

/// Counters, keys and values as they lie in the tree.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Some(head) = Head::decode(bytes) {
        assert_eq!(head.encode(), bytes);
        // Of counters that no journal of ours has; what it is, it is the same twice.
        assert_eq!(head.kept(), head.kept());
    }
    if let Some(cursor) = event_cursor(bytes) {
        assert_eq!(event_key(cursor), bytes);
    }
    if let Some((owner, number)) = chunk_owner(bytes) {
        assert_eq!(chunk_key(owner, number), bytes);
    }
    // As long as a journal takes it, and of every length at the chunks' edges.
    let long = bytes.repeat(1 + 3 * CHUNK_BYTES / (1 + bytes.len()));
    for value in [bytes, &long] {
        let (entry, chunks) = split(value);
        assert_eq!(usize::from(entry[0]), chunks.len());
        assert_eq!([&entry[1..], chunks.concat().as_slice()].concat(), value);
        assert!(entry.len() <= 1 + CHUNK_BYTES && chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK_BYTES));
    }
}

/// The first entry (how many chunks follow, then the first bytes) and the chunks, numbered from 1.
pub(super) fn split(value: &[u8]) -> (Vec<u8>, Vec<&[u8]>) {
    let (first, rest) = value.split_at(value.len().min(CHUNK_BYTES));
    let chunks: Vec<&[u8]> = rest.chunks(CHUNK_BYTES).collect();
    let count =
        u8::try_from(chunks.len()).expect("a value has at most MAX_VALUE_BYTES, which is 16 chunks, or twice that in set-aside");
    let mut entry = Vec::with_capacity(1 + first.len());
    entry.push(count);
    entry.extend_from_slice(first);
    (entry, chunks)
}
