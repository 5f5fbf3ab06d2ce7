//! The bytes of sled 0.34's files: numbers, messages, pages' parts. Reads; owns no file and no meaning.
//!
//! Source: sled 0.34.7, `serialization.rs`, `pagecache/logger.rs`, `pagecache/constants.rs`, `node.rs`. sled is pinned to 0.34, whose
//! format does not change any more; a test reads what the sled of this build has written.

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
pub(crate) enum Message {
    Page {
        kind: Kind,
        pid: u64,
        body: Vec<u8>,
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
pub(crate) struct Segment {
    pub at: u64,
    pub bytes: Vec<u8>,
}

impl Source for Segment {
    fn read(&self, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
        let from = usize::try_from(at - self.at).unwrap_or(usize::MAX).min(self.bytes.len());
        let count = buffer.len().min(self.bytes.len() - from);
        buffer[..count].copy_from_slice(&self.bytes[from..from + count]);
        Ok(count)
    }
}

/// The first position of a segment and how far all was stable when it was begun; `None` when the header's sum is wrong.
pub(crate) fn segment_header(bytes: &[u8; SEGMENT_HEADER_BYTES as usize]) -> Option<(Lsn, Lsn)> {
    let mut cursor = Cursor(bytes);
    let sum = u32::from_le_bytes(cursor.take(4)?.try_into().ok()?) ^ u32::MAX;
    (sum == crc32fast::hash(&bytes[4..])).then_some(())?;
    Some((cursor.lsn()? ^ Lsn::MAX, cursor.lsn()? ^ Lsn::MAX))
}

/// The message at a place, of the use `number` of its segment.
pub(crate) fn message(source: &impl Source, at: u64, number: u64) -> std::io::Result<Message> {
    let mut window = [0; WINDOW_BYTES];
    source.read(&mut window, at)?;
    let mut cursor = Cursor(&window);
    let header = || -> Option<(u32, u8, u64, u64, u64)> {
        let sum = u32::from_le_bytes(cursor.take(4)?.try_into().ok()?);
        Some((sum, cursor.byte()?, cursor.varint()?, cursor.varint()?, cursor.varint()?))
    };
    let mut header = header;
    let Some((sum, kind, length, found, pid)) = header() else { return Ok(Message::Damaged) };
    let offset = WINDOW_BYTES - cursor.0.len();
    let left = SEGMENT_BYTES - at % SEGMENT_BYTES - offset as u64;
    if length > left || kind == 0 || kind > 11 {
        return Ok(Message::Damaged);
    }
    let mut body = vec![0; length as usize];
    if body.len() <= cursor.0.len() {
        body.copy_from_slice(&cursor.0[..length as usize]);
    } else if source.read(&mut body, at + offset as u64)? < body.len() {
        return Ok(Message::Cut);
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&body);
    hasher.update(&window[4..offset]);
    if hasher.finalize() ^ u32::MAX != sum || found != number {
        return Ok(Message::Damaged);
    }
    let bytes = offset as u64 + length;
    let kind = match kind {
        1 => return Ok(Message::Canceled { bytes }),
        2 => return Ok(Message::Cap),
        3 => return Ok(Cursor(&body).lsn().map_or(Message::Damaged, |last| Message::Batch { last, bytes })),
        4 => Kind::Free,
        5 => Kind::Counter,
        6 => Kind::Meta,
        8 => Kind::Node,
        10 => Kind::Link,
        _ => Kind::Blob,
    };
    Ok(Message::Page { kind, pid, body, bytes })
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    Leaf(Vec<(Vec<u8>, Vec<u8>)>),
    Index(Vec<(Vec<u8>, u64)>),
}

/// A page of the tree. Keys are whole here; on disk they lack the node's prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub next: Option<u64>,
    pub merging_child: Option<u64>,
    pub prefix_bytes: usize,
    pub low: Vec<u8>,
    /// Empty: without end.
    pub high: Vec<u8>,
    pub data: Data,
}

impl Node {
    pub fn parse(body: &[u8]) -> Option<Node> {
        let mut cursor = Cursor(body);
        let some = |pid: u64| (pid != 0).then_some(pid);
        let (next, merging_child) = (some(cursor.varint()?), some(cursor.varint()?));
        let (_merging, prefix_bytes) = (cursor.byte()?, usize::from(cursor.byte()?));
        let (low, high) = (cursor.bytes()?.to_vec(), cursor.bytes()?.to_vec());
        let prefix = low.get(..prefix_bytes)?;
        let (kind, count) = (cursor.byte()?, usize::try_from(cursor.varint()?).ok()?);
        let mut keys = Vec::new();
        for _ in 0..count {
            keys.push([prefix, cursor.bytes()?].concat());
        }
        let data = match kind {
            0 => Data::Leaf(keys.into_iter().map(|key| Some((key, cursor.bytes()?.to_vec()))).collect::<Option<_>>()?),
            1 => Data::Index(keys.into_iter().map(|key| Some((key, cursor.varint()?))).collect::<Option<_>>()?),
            _ => return None,
        };
        cursor.0.is_empty().then_some(())?;
        Some(Node { next, merging_child, prefix_bytes, low, high, data })
    }

    pub fn prefix(&self) -> &[u8] {
        &self.low[..self.prefix_bytes]
    }

    /// `None`: the change does not fit the page.
    pub fn apply(&mut self, link: Link) -> Option<()> {
        match (link, &mut self.data) {
            (Link::Set(key, value), Data::Leaf(entries)) => {
                let key = [&self.low[..self.prefix_bytes], &key].concat();
                match entries.binary_search_by(|(other, _)| other.cmp(&key)) {
                    Ok(at) => entries[at].1 = value,
                    Err(at) => entries.insert(at, (key, value)),
                }
            }
            (Link::Delete(key), Data::Leaf(entries)) => {
                let key = [&self.low[..self.prefix_bytes], &key].concat();
                if let Ok(at) = entries.binary_search_by(|(other, _)| other.cmp(&key)) {
                    entries.remove(at);
                }
            }
            (Link::MergeIntention(child), _) => self.merging_child = Some(child),
            (Link::MergeConfirm, Data::Index(children)) => {
                let merged = self.merging_child.take()?;
                children.retain(|(_, child)| *child != merged);
            }
            (Link::MergeCap, _) => {}
            _ => return None,
        }
        Some(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    /// The key without the page's prefix.
    Set(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    MergeIntention(u64),
    MergeConfirm,
    MergeCap,
}

impl Link {
    pub fn parse(body: &[u8]) -> Option<Link> {
        let mut cursor = Cursor(body);
        let link = match cursor.byte()? {
            0 => Link::Set(cursor.bytes()?.to_vec(), cursor.bytes()?.to_vec()),
            1 => Link::Delete(cursor.bytes()?.to_vec()),
            2 => Link::MergeIntention(cursor.varint()?),
            3 => Link::MergeConfirm,
            4 => Link::MergeCap,
            _ => return None,
        };
        cursor.0.is_empty().then_some(link)
    }
}

/// The page that names the root of each tree: the journal's is sled's default one.
pub(crate) fn root_of(meta: &[u8]) -> Option<u64> {
    let mut cursor = Cursor(meta);
    let mut root = None;
    while !cursor.0.is_empty() {
        let (name, pid) = (cursor.bytes()?, cursor.varint()?);
        if name == b"__sled__default" {
            root = Some(pid);
        }
    }
    root
}
/// Parts of pages, and a segment, of any bytes: the first says how many belong to a page, the rest to a change of it.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(input: &[u8]) {
    let Some((count, rest)) = input.split_first() else { return };
    let (page, link) = rest.split_at(usize::from(*count).min(rest.len()));
    let _root = root_of(page);
    if let Some(mut node) = Node::parse(page) {
        let entries = |node: &Node| match &node.data {
            Data::Leaf(entries) => entries.len(),
            Data::Index(children) => children.len(),
        };
        let before = entries(&node);
        assert!(before <= page.len() && node.low.starts_with(node.prefix()));
        assert!(Node::parse(&[page, &[0]].concat()).is_none(), "a page with a byte too many is read");
        if let Some(link) = Link::parse(link) {
            let grows = matches!(link, Link::Set(..));
            let fitted = node.apply(link);
            assert!(entries(&node) <= before + usize::from(grows && fitted.is_some()));
        }
    }
    let segment = Segment { at: 0, bytes: input.to_vec() };
    let _header = input.first_chunk().and_then(segment_header);
    for at in [0, SEGMENT_HEADER_BYTES, input.len() as u64] {
        if let Message::Page { body, bytes, .. } = message(&segment, at, 0).expect("bytes in memory can be read") {
            assert!(body.len() as u64 <= bytes && at + bytes <= input.len() as u64);
        }
    }
}
