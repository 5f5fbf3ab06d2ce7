//! The bytes of sled 0.34's files: numbers, segments, messages. Reads; owns no file and no meaning. What pages are made of is `page`'s.
//!
//! Source: sled 0.34.7, `serialization.rs`, `pagecache/logger.rs`, `pagecache/constants.rs`. sled is pinned to 0.34, whose
//! format does not change any more; a test reads what the sled of this build has written.

use std::{borrow::Cow, ops::Range};

/// sled's default, which the journal keeps.
pub(crate) const SEGMENT_BYTES: u64 = 512 * 1024;
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 20;
/// The last bytes of a segment in which no message begins.
pub(crate) const MESSAGE_HEADER_MAX: u64 = 32;
/// sled reads so much at once to find a message's header in it.
const WINDOW_BYTES: usize = 128;

/// A position in the order of all that was ever written.
pub(crate) type Lsn = i64;

/// Reads forward; `None` where the bytes end too early.
pub(crate) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub fn lsn(&mut self) -> Option<Lsn> {
        self.take(8)?.try_into().ok().map(Lsn::from_le_bytes)
    }

    pub fn varint(&mut self) -> Option<u64> {
        let first = self.byte()?;
        Some(match first {
            0..=240 => u64::from(first),
            241..=248 => 240 + 256 * (u64::from(first) - 241) + u64::from(self.byte()?),
            249 => {
                let two = self.take(2)?;
                2288 + 256 * u64::from(two[0]) + u64::from(two[1])
            }
            250..=255 => {
                let mut bytes = [0; 8];
                let count = usize::from(first) - 247;
                bytes[..count].copy_from_slice(self.take(count)?);
                u64::from_le_bytes(bytes)
            }
        })
    }

    /// Bytes with their length before them.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.varint()?).ok()?;
        self.take(count)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Free,
    Counter,
    Meta,
    Node,
    Link,
    /// Of a file beside the log. The journal makes none (`layout`).
    Blob,
}

impl Kind {
    /// It stands for the whole page; a link changes one.
    pub fn replaces(self) -> bool {
        matches!(self, Kind::Counter | Kind::Meta | Kind::Node | Kind::Blob)
    }
}

/// What lies at a place of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message<Body> {
    Page {
        kind: Kind,
        pid: u64,
        body: Body,
        bytes: u64,
    },
    /// What follows up to this position belongs together.
    Batch {
        last: Lsn,
        bytes: u64,
    },
    Canceled {
        bytes: u64,
    },
    /// The rest of the segment is padding.
    Cap,
    /// No message, one of another use of the segment, or a damaged one.
    Damaged,
    /// It goes on where the file ends.
    Cut,
}

/// Bytes by their place in the data file.
pub(crate) trait Source {
    /// Fills what there is and answers how much.
    fn read(&self, buffer: &mut [u8], at: u64) -> std::io::Result<usize>;
}

impl Source for std::fs::File {
    fn read(&self, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match std::os::unix::fs::FileExt::read_at(self, &mut buffer[done..], at + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

/// A segment in memory, as far as the file goes.
#[derive(Default)]
pub(crate) struct Segment {
    pub at: u64,
    pub bytes: Vec<u8>,
}

impl Segment {
    /// Reads into the memory that the bytes have already: a new segment's would be touched for the first time, which costs more than to
    /// read it.
    pub fn load(&mut self, data: &impl Source, at: u64) -> std::io::Result<()> {
        self.at = at;
        self.bytes.resize(SEGMENT_BYTES as usize, 0);
        let count = data.read(&mut self.bytes, at)?;
        self.bytes.truncate(count);
        Ok(())
    }

    /// The use of which a message says that it is, if one begins there.
    pub fn claimed(&self, at: u64) -> Option<u64> {
        let rest = usize::try_from(at - self.at).ok().and_then(|from| self.bytes.get(from..))?;
        Header::of(rest.first_chunk()?, at).map(|header| header.number)
    }

    /// As [`message`], with the body where it lies.
    pub fn message(&self, at: u64, number: u64) -> Message<Cow<'_, [u8]>> {
        let rest = usize::try_from(at - self.at).ok().and_then(|from| self.bytes.get(from..)).unwrap_or_default();
        let mut padded = [0; WINDOW_BYTES];
        let window = rest.first_chunk().unwrap_or_else(|| {
            padded[..rest.len()].copy_from_slice(rest);
            &padded
        });
        let Some(header) = Header::of(window, at) else { return Message::Damaged };
        let body = match rest.get(header.offset..header.end()) {
            Some(body) => Cow::Borrowed(body),
            None => match window.get(header.offset..header.end()) {
                Some(body) => Cow::Owned(body.to_vec()),
                None => return Message::Cut,
            },
        };
        // As sled has it: what goes beyond the file ends the log, whatever it says of itself. Sums are only computed where the number fits.
        if header.number != number {
            return Message::Damaged;
        }
        match body {
            Cow::Borrowed(bytes) => header.message(window, bytes, body),
            Cow::Owned(ref bytes) => header.message(window, bytes, Cow::Owned(bytes.clone())),
        }
    }
}

/// The first position of a segment and how far all was stable when it was begun; `None` when the header's sum is wrong.
pub(crate) fn segment_header(bytes: &[u8; SEGMENT_HEADER_BYTES as usize]) -> Option<(Lsn, Lsn)> {
    let mut cursor = Cursor(bytes);
    let sum = u32::from_le_bytes(cursor.take(4)?.try_into().ok()?) ^ u32::MAX;
    (sum == crc32fast::hash(&bytes[4..])).then_some(())?;
    Some((cursor.lsn()? ^ Lsn::MAX, cursor.lsn()? ^ Lsn::MAX))
}

/// What stands before a message's body.
struct Header {
    sum: u32,
    kind: u8,
    length: usize,
    number: u64,
    pid: u64,
    /// Where the body begins.
    offset: usize,
}

impl Header {
    /// `None`: none, or of a message that would go beyond its segment.
    fn of(window: &[u8; WINDOW_BYTES], at: u64) -> Option<Header> {
        let mut cursor = Cursor(window);
        let sum = u32::from_le_bytes(cursor.take(4)?.try_into().ok()?);
        let kind = cursor.byte().filter(|kind| (1..=11).contains(kind))?;
        let (length, number, pid) = (cursor.varint()?, cursor.varint()?, cursor.varint()?);
        let offset = WINDOW_BYTES - cursor.0.len();
        let left = SEGMENT_BYTES - at % SEGMENT_BYTES - offset as u64;
        (length <= left).then_some(Header { sum, kind, length: length as usize, number, pid, offset })
    }

    fn end(&self) -> usize {
        self.offset + self.length
    }

    /// The sum decides. `Body` is what the caller has for these bytes.
    fn message<Body>(&self, window: &[u8; WINDOW_BYTES], bytes: &[u8], body: Body) -> Message<Body> {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(bytes);
        hasher.update(&window[4..self.offset]);
        if hasher.finalize() ^ u32::MAX != self.sum {
            return Message::Damaged;
        }
        let all = self.end() as u64;
        let kind = match self.kind {
            1 => return Message::Canceled { bytes: all },
            2 => return Message::Cap,
            3 => return Cursor(bytes).lsn().map_or(Message::Damaged, |last| Message::Batch { last, bytes: all }),
            4 => Kind::Free,
            5 => Kind::Counter,
            6 => Kind::Meta,
            8 => Kind::Node,
            10 => Kind::Link,
            _ => Kind::Blob,
        };
        Message::Page { kind, pid: self.pid, body, bytes: all }
    }
}

/// The message at a place, of the use `number` of its segment. Its bytes are put behind those in `memory`, and its body is told as a range
/// of them; `likely` is how many bytes it may have in all: if that is right, they are read at once.
pub(crate) fn message(
    source: &impl Source,
    at: u64,
    number: u64,
    likely: usize,
    memory: &mut Vec<u8>,
) -> std::io::Result<Message<Range<usize>>> {
    let from = memory.len();
    memory.resize(from + likely.clamp(WINDOW_BYTES, SEGMENT_BYTES as usize), 0);
    let read = source.read(&mut memory[from..], at)?;
    let header = memory[from..].first_chunk().and_then(|window| Header::of(window, at));
    let Some(header) = header else { return Ok(Message::Damaged) };
    if header.end() > WINDOW_BYTES.max(read) {
        memory.resize(from + header.end(), 0);
        let more = source.read(&mut memory[from + read..], at + read as u64)?;
        if read + more < header.end() {
            return Ok(Message::Cut);
        }
    }
    if header.number != number {
        return Ok(Message::Damaged);
    }
    let body = from + header.offset..from + header.end();
    let window = memory[from..].first_chunk().unwrap_or(&[0; WINDOW_BYTES]);
    Ok(header.message(window, &memory[body.clone()], body))
}

/// A segment of any bytes, read from the file and where it lies.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(input: &[u8]) {
    let segment = Segment { at: 0, bytes: input.to_vec() };
    let _header = input.first_chunk().and_then(segment_header);
    for (at, likely) in [(0, 0), (SEGMENT_HEADER_BYTES, 300), (input.len() as u64, 0)] {
        let mut memory = vec![7; 3];
        let read = message(&Bytes(input), at, 0, likely, &mut memory).expect("bytes in memory can be read");
        match (read, segment.message(at, 0)) {
            (Message::Page { kind, pid, body, bytes }, Message::Page { kind: of, pid: other, body: lies, bytes: all }) => {
                assert_eq!((kind, pid, &memory[body.clone()], bytes), (of, other, lies.as_ref(), all));
                assert!(body.len() as u64 <= bytes && at + bytes <= input.len() as u64);
            }
            (Message::Page { .. }, _) | (_, Message::Page { .. }) => panic!("a message is another one where it lies"),
            _ => {}
        }
    }
}

/// What the file would be.
#[cfg(any(test, fuzzing))]
struct Bytes<'a>(&'a [u8]);

#[cfg(any(test, fuzzing))]
impl Source for Bytes<'_> {
    fn read(&self, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
        let rest = usize::try_from(at).ok().and_then(|from| self.0.get(from..)).unwrap_or_default();
        let count = buffer.len().min(rest.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}
