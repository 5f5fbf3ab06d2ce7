//! What can be had from damaged files of sled's: every message that is still whole is found, wherever it lies, and the history that
//! they tell is replayed over the keys. A page tells all keys of its range as of its moment; a link changes one key.
//!
//! Owns the search and the replay. What a key means, and what of it is lost, is said by `journal::rescue`.

use super::{
    codec::{
        Cursor, Data, Kind, Link, Lsn, MESSAGE_HEADER_MAX, Message, Node, SEGMENT_BYTES, SEGMENT_HEADER_BYTES, Segment, Source,
        message, segment_header,
    },
    recover::{Page, Recovered},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io,
};

/// Bytes of the file in which something stood that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    pub at: u64,
    pub bytes: u64,
    pub from: Lsn,
    pub to: Lsn,
}

/// A change of one key as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    pub lsn: Lsn,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct Salvaged {
    pub entries: BTreeMap<Vec<u8>, Value>,
    pub gaps: Vec<Gap>,
    /// The values that a key of interest had, in order of writing.
    pub history: Vec<Value>,
    /// Ranges of keys whose page is gone and was never seen: low, high (empty: without end).
    pub lost_ranges: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the newest batch ends.
    pub batch_end: Lsn,
    /// Changes whose page is gone, so that their key is not known.
    pub unattributed: u64,
}

/// A message that is whole.
struct Found {
    lsn: Lsn,
    kind: Kind,
    pid: u64,
    body: Vec<u8>,
}

/// What to do with the newest batch when its end is not there: a crash cut it off before it was answered, or damage took its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Torn {
    Drop,
    Keep,
}

/// Reads the whole data file. `watched` is the key whose values are all kept, in order.
pub(crate) fn salvage(data: &File, watched: &[u8], torn: Torn) -> io::Result<Salvaged> {
    let mut all = All::default();
    search(data, &mut all)?;
    let All { mut found, mut gaps, batches } = all;
    found.sort_by_key(|message| message.lsn);
    gaps.sort_by_key(|gap| gap.from);
    let end = found.last().map_or(0, |message| message.lsn);
    let batch_end = batches.iter().map(|(_, last)| *last).max().unwrap_or(0);
    if let Some((begun, _)) = batches.iter().filter(|(_, last)| *last > end).min().filter(|_| torn == Torn::Drop) {
        found.retain(|message| message.lsn < *begun);
    }
    let index = Index::of(&found);
    let mut replay = Replay { out: Salvaged { gaps, batch_end, ..Salvaged::default() }, pages: HashMap::new(), watched };
    for message in found {
        replay.apply(message, &index);
    }
    let seen: HashSet<u64> = replay.pages.keys().copied().collect();
    replay.out.lost_ranges = index.children.into_iter().filter(|(pid, _)| !seen.contains(pid)).map(|(_, range)| range).collect();
    replay.out.lost_ranges.sort();
    Ok(replay.out)
}

/// What the search meets.
trait Finds {
    fn message(&mut self, found: Found, at: u64);
    fn gap(&mut self, gap: Gap);
    fn batch(&mut self, begun: Lsn, last: Lsn);
}

#[derive(Default)]
struct All {
    found: Vec<Found>,
    gaps: Vec<Gap>,
    batches: Vec<(Lsn, Lsn)>,
}

impl Finds for All {
    fn message(&mut self, found: Found, _: u64) {
        self.found.push(found);
    }

    fn gap(&mut self, gap: Gap) {
        self.gaps.push(gap);
    }

    fn batch(&mut self, begun: Lsn, last: Lsn) {
        self.batches.push((begun, last));
    }
}

fn search(data: &File, finds: &mut impl Finds) -> io::Result<()> {
    let length = data.metadata()?.len();
    for at in (0..length.div_ceil(SEGMENT_BYTES)).map(|index| index * SEGMENT_BYTES) {
        let mut bytes = vec![0; SEGMENT_BYTES as usize];
        let count = data.read(&mut bytes, at)?;
        bytes.truncate(count);
        let segment = Segment { at, bytes };
        let header = segment.bytes.first_chunk().and_then(segment_header);
        // A damaged header: the messages say of which use the segment is.
        let number = header.map(|(lsn, _)| (lsn / SEGMENT_BYTES as Lsn) as u64).or_else(|| number_of(&segment));
        let Some(number) = number else {
            if segment.bytes.iter().any(|byte| *byte != 0) {
                finds.gap(Gap { at, bytes: count as u64, from: 0, to: 0 });
            }
            continue;
        };
        search_segment(&segment, number, finds)?;
    }
    Ok(())
}

/// What sled would not see, of a file of which it says that this is all.
///
/// Any whole message that is newer than what sled has of its page, and any damage in a segment that holds something of what it has: sled
/// leaves out the rest of such a segment without a word. A segment of which nothing is in use may look like anything: it was free, and
/// a crash may have left it half overwritten.
pub(crate) fn unseen(data: &File, recovered: &Recovered) -> io::Result<Option<String>> {
    let mut used = HashSet::new();
    for page in &recovered.pages {
        match page {
            Page::Present { base, links } => used.extend([base].into_iter().chain(links).map(|place| place.at / SEGMENT_BYTES)),
            Page::Free(place) => drop(used.insert(place.at / SEGMENT_BYTES)),
            Page::Absent | Page::Elsewhere => {}
        }
    }
    let mut unseen = Unseen { recovered, used, why: None };
    search(data, &mut unseen)?;
    Ok(unseen.why)
}

struct Unseen<'a> {
    recovered: &'a Recovered,
    /// Segments with a message of a page as sled has it.
    used: HashSet<u64>,
    why: Option<String>,
}

impl Finds for Unseen<'_> {
    fn message(&mut self, found: Found, at: u64) {
        let range = self.recovered.begin..self.recovered.end;
        if self.why.is_some() || !range.contains(&found.lsn) {
            return;
        }
        let newer = match self.recovered.pages.get(found.pid as usize) {
            // A link to a page that is not there has lost its page to a later place or to a removal.
            None | Some(Page::Absent) => found.kind.replaces(),
            Some(Page::Free(place)) => found.kind.replaces() && found.lsn > place.lsn,
            Some(Page::Present { base, links }) => {
                found.lsn > base.lsn && (found.kind != Kind::Link || !links.iter().any(|link| link.lsn == found.lsn))
            }
            Some(Page::Elsewhere) => false,
        };
        if newer {
            self.why = Some(format!("what was written at byte {at} would not be seen (page {})", found.pid));
        }
    }

    fn gap(&mut self, gap: Gap) {
        let within = gap.from < self.recovered.end && gap.to > self.recovered.begin;
        if self.why.is_none() && within && self.used.contains(&(gap.at / SEGMENT_BYTES)) {
            self.why = Some(format!("{} bytes from {} on are damaged", gap.bytes, gap.at));
        }
    }

    fn batch(&mut self, _: Lsn, _: Lsn) {}
}

/// What the bytes at a place would be of, if a message began there: sums are only computed where this fits.
fn claims(segment: &Segment, within: u64) -> Option<u64> {
    let mut cursor = Cursor(segment.bytes.get(within as usize..)?);
    let (_, kind) = (cursor.take(4)?, cursor.byte()?);
    let (_, number) = (cursor.varint()?, cursor.varint()?);
    (1..=11).contains(&kind).then_some(number)
}

/// The use of a segment by its first whole message.
fn number_of(segment: &Segment) -> Option<u64> {
    (SEGMENT_HEADER_BYTES..SEGMENT_BYTES - MESSAGE_HEADER_MAX).find_map(|within| {
        let number = claims(segment, within)?;
        let found = message(segment, segment.at + within, number).ok()?;
        (found != Message::Damaged && found != Message::Cut).then_some(number)
    })
}

fn search_segment(segment: &Segment, number: u64, finds: &mut impl Finds) -> io::Result<()> {
    let (first, mut within, mut damage) = ((number * SEGMENT_BYTES) as Lsn, SEGMENT_HEADER_BYTES, None::<u64>);
    let end = (segment.bytes.len() as u64).min(SEGMENT_BYTES - MESSAGE_HEADER_MAX + 1);
    let gap =
        |from: u64, to: u64| Gap { at: segment.at + from, bytes: to - from, from: first + from as Lsn, to: first + to as Lsn };
    while within < end {
        let lsn = first + within as Lsn;
        let read = match claims(segment, within) {
            Some(claimed) if claimed == number => message(segment, segment.at + within, number)?,
            _ => Message::Damaged,
        };
        if read != Message::Damaged
            && read != Message::Cut
            && let Some(from) = damage.take()
        {
            finds.gap(gap(from, within));
        }
        match read {
            Message::Page { kind, pid, body, bytes } => {
                finds.message(Found { lsn, kind, pid, body }, segment.at + within);
                within += bytes;
            }
            Message::Batch { last, bytes } => {
                finds.batch(lsn, last);
                within += bytes;
            }
            Message::Canceled { bytes } => within += bytes,
            Message::Cap => return Ok(()),
            Message::Damaged | Message::Cut => {
                damage.get_or_insert(within);
                // Byte by byte: the damage may have taken the length. A sum of 32 bits and the number of the use tell a message.
                within += 1;
            }
        }
    }
    if let Some(from) = damage
        // Nothing was written there yet, or an earlier use left it: sled zeroes what it cuts, and a new file is zeros.
        && segment.bytes[from as usize..].iter().any(|byte| *byte != 0)
    {
        finds.gap(gap(from, segment.bytes.len() as u64));
    }
    Ok(())
}

/// What the newest index pages say of their children: the range of each.
#[derive(Default)]
struct Index {
    children: HashMap<u64, (Vec<u8>, Vec<u8>)>,
    /// Where each page was last told whole, or freed.
    newest: HashMap<u64, Lsn>,
}

impl Index {
    fn of(found: &[Found]) -> Index {
        let (mut pages, mut index) = (HashMap::<u64, Node>::new(), Index::default());
        for message in found {
            if message.kind != Kind::Link {
                index.newest.insert(message.pid, message.lsn);
            }
            match message.kind {
                Kind::Node => {
                    pages.remove(&message.pid);
                    if let Some(node) = Node::parse(&message.body).filter(|node| matches!(node.data, Data::Index(_))) {
                        pages.insert(message.pid, node);
                    }
                }
                Kind::Link => {
                    if let (Some(node), Some(link)) = (pages.get_mut(&message.pid), Link::parse(&message.body)) {
                        let _ = node.apply(link);
                    }
                }
                Kind::Free | Kind::Counter | Kind::Meta | Kind::Blob => {
                    pages.remove(&message.pid);
                }
            }
        }
        for node in pages.into_values() {
            let Data::Index(children) = node.data else { continue };
            let highs = children.iter().skip(1).map(|(low, _)| low.clone()).chain([node.high]).collect::<Vec<_>>();
            for ((low, pid), high) in children.into_iter().zip(highs) {
                index.children.insert(pid, (low, high));
            }
        }
        index
    }

    /// The prefix that the keys of a child lack: what its bounds have in common, as sled computes it.
    fn prefix(&self, pid: u64) -> Option<Vec<u8>> {
        let (low, high) = self.children.get(&pid)?;
        Some(low.iter().zip(high).take_while(|(a, b)| a == b).take(usize::from(u8::MAX)).map(|(byte, _)| *byte).collect())
    }
}

/// A leaf as it was last seen whole.
struct Leaf {
    lsn: Lsn,
    prefix: Vec<u8>,
    low: Vec<u8>,
    high: Vec<u8>,
}

struct Replay<'a> {
    out: Salvaged,
    /// `None`: an index page, or a page that was freed.
    pages: HashMap<u64, Option<Leaf>>,
    watched: &'a [u8],
}

impl Replay<'_> {
    fn apply(&mut self, message: Found, index: &Index) {
        match message.kind {
            Kind::Node => self.replace(&message),
            Kind::Link => self.change(&message, index),
            Kind::Free | Kind::Counter | Kind::Meta | Kind::Blob => {
                self.pages.insert(message.pid, None);
            }
        }
    }

    fn replace(&mut self, message: &Found) {
        let Some(node) = Node::parse(&message.body) else { return };
        let prefix = node.prefix().to_vec();
        let Data::Leaf(entries) = node.data else {
            self.pages.insert(message.pid, None);
            return;
        };
        let gone: Vec<Vec<u8>> = self
            .out
            .entries
            .range(node.low.clone()..)
            .map(|(key, _)| key)
            .take_while(|key| node.high.is_empty() || **key < node.high)
            .filter(|key| entries.binary_search_by(|(other, _)| other.cmp(key)).is_err())
            .cloned()
            .collect();
        for key in gone {
            self.out.entries.remove(&key);
        }
        for (key, bytes) in entries {
            let before = self.out.entries.get(&key).map(|value| value.lsn);
            // The page repeats what was there: its own moment says nothing of when the value was written.
            let same = self.out.entries.get(&key).is_some_and(|value| value.bytes == bytes);
            let lsn = if same { before.unwrap_or(message.lsn) } else { message.lsn };
            self.set(key, Value { lsn, bytes });
        }
        self.pages.insert(message.pid, Some(Leaf { lsn: message.lsn, prefix, low: node.low, high: node.high }));
    }

    fn change(&mut self, message: &Found, index: &Index) {
        let (key, value) = match Link::parse(&message.body) {
            Some(Link::Set(key, value)) => (key, Some(value)),
            Some(Link::Delete(key)) => (key, None),
            Some(Link::MergeIntention(_) | Link::MergeConfirm | Link::MergeCap) | None => return,
        };
        let prefix = match self.pages.get(&message.pid) {
            Some(Some(leaf)) if !self.split_unseen(leaf, message, index) => Some(leaf.prefix.clone()),
            // The page was moved since, with all its changes; this is what is left of the place where it was.
            _ if index.newest.get(&message.pid).is_some_and(|newest| *newest > message.lsn) => return,
            _ => index.prefix(message.pid),
        };
        let Some(prefix) = prefix else {
            self.out.unattributed += 1;
            return;
        };
        let key = [prefix, key].concat();
        match value {
            Some(bytes) => self.set(key, Value { lsn: message.lsn, bytes }),
            None => {
                self.out.entries.remove(&key);
            }
        }
    }

    /// Whether damage between the page and this change may hide that the page was split, which changes its prefix.
    fn split_unseen(&self, leaf: &Leaf, message: &Found, index: &Index) -> bool {
        let damaged = self.out.gaps.iter().any(|gap| gap.from > leaf.lsn && gap.from < message.lsn);
        damaged && index.children.get(&message.pid).is_some_and(|(low, high)| *low != leaf.low || *high != leaf.high)
    }

    fn set(&mut self, key: Vec<u8>, value: Value) {
        if key == self.watched && self.out.history.last().is_none_or(|last| last.bytes != value.bytes) {
            self.out.history.push(value.clone());
        }
        self.out.entries.insert(key, value);
    }
}
