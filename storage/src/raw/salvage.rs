//! What can be had from damaged files of sled's: every message that is still whole is found, wherever it lies, and the history that
//! they tell is replayed over the keys. A page tells all keys of its range as of its moment; a link changes one key.
//!
//! Owns the replay; the search is `search`'s. What a key means, and what of it is lost, is said by `journal::rescue`.

use super::{
    codec::{Kind, Lsn, Message},
    page::{Data, Link, Node},
    search::{Finds, Gap, search},
};
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io,
};

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

#[derive(Default)]
struct All {
    found: Vec<Found>,
    gaps: Vec<Gap>,
    batches: Vec<(Lsn, Lsn)>,
}

impl Finds for All {
    fn message(&mut self, lsn: Lsn, _: u64, message: Message<Cow<'_, [u8]>>) {
        match message {
            Message::Page { kind, pid, body, .. } => self.found.push(Found { lsn, kind, pid, body: body.into_owned() }),
            Message::Batch { last, .. } => self.batches.push((lsn, last)),
            Message::Canceled { .. } | Message::Cap | Message::Damaged | Message::Cut => {}
        }
    }

    fn gap(&mut self, gap: Gap) {
        self.gaps.push(gap);
    }
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
        let (mut pages, mut index) = (HashMap::<u64, Node<'_>>::new(), Index::default());
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
            let (prefix, Data::Index(children)) = (node.prefix(), &node.data) else { continue };
            let whole = |(low, _): &(&[u8], u64)| [prefix, low].concat();
            let highs = children.iter().skip(1).map(whole).chain([node.high.to_vec()]);
            for (child, high) in children.iter().zip(highs) {
                index.children.insert(child.1, (whole(child), high));
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
        let Data::Leaf(entries) = &node.data else {
            self.pages.insert(message.pid, None);
            return;
        };
        let entries: Vec<(Vec<u8>, Vec<u8>)> =
            entries.iter().map(|(key, value)| ([&prefix, *key].concat(), value.to_vec())).collect();
        let gone: Vec<Vec<u8>> = self
            .out
            .entries
            .range(node.low.to_vec()..)
            .map(|(key, _)| key)
            .take_while(|key| node.high.is_empty() || key.as_slice() < node.high)
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
        self.pages.insert(message.pid, Some(Leaf { lsn: message.lsn, prefix, low: node.low.to_vec(), high: node.high.to_vec() }));
    }

    fn change(&mut self, message: &Found, index: &Index) {
        let (key, value) = match Link::parse(&message.body) {
            Some(Link::Set(key, value)) => (key, Some(value.to_vec())),
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
        let key = [&prefix, key].concat();
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
