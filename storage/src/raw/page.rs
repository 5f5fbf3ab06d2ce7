//! What pages of sled 0.34's tree are made of: nodes, and the changes of them that follow. Borrowed from the messages that they lie in.
//!
//! Source: sled 0.34.7, `node.rs`, `pagecache/mod.rs`. Owns no message and no meaning of a key.

use super::codec::Cursor;

/// Keys lack the node's prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data<'a> {
    Leaf(Vec<(&'a [u8], &'a [u8])>),
    Index(Vec<(&'a [u8], u64)>),
}

/// A page of the tree, as it lies in its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node<'a> {
    pub next: Option<u64>,
    pub merging_child: Option<u64>,
    pub prefix_bytes: usize,
    pub low: &'a [u8],
    /// Empty: without end.
    pub high: &'a [u8],
    pub data: Data<'a>,
}

impl<'a> Node<'a> {
    pub fn parse(body: &'a [u8]) -> Option<Node<'a>> {
        let mut cursor = Cursor(body);
        let some = |pid: u64| (pid != 0).then_some(pid);
        let (next, merging_child) = (some(cursor.varint()?), some(cursor.varint()?));
        let (_merging, prefix_bytes) = (cursor.byte()?, usize::from(cursor.byte()?));
        let (low, high) = (cursor.bytes()?, cursor.bytes()?);
        low.get(..prefix_bytes)?;
        let (kind, count) = (cursor.byte()?, usize::try_from(cursor.varint()?).ok()?);
        let mut keys = Vec::new();
        for _ in 0..count {
            keys.push(cursor.bytes()?);
        }
        let data = match kind {
            0 => Data::Leaf(keys.into_iter().map(|key| Some((key, cursor.bytes()?))).collect::<Option<_>>()?),
            1 => Data::Index(keys.into_iter().map(|key| Some((key, cursor.varint()?))).collect::<Option<_>>()?),
            _ => return None,
        };
        cursor.0.is_empty().then_some(())?;
        Some(Node { next, merging_child, prefix_bytes, low, high, data })
    }

    pub fn prefix(&self) -> &'a [u8] {
        &self.low[..self.prefix_bytes]
    }

    /// `None`: the change does not fit the page.
    pub fn apply(&mut self, link: Link<'a>) -> Option<()> {
        match (link, &mut self.data) {
            (Link::Set(key, value), Data::Leaf(entries)) => match entries.binary_search_by(|(other, _)| other.cmp(&key)) {
                Ok(at) => entries[at].1 = value,
                Err(at) => entries.insert(at, (key, value)),
            },
            (Link::Delete(key), Data::Leaf(entries)) => {
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
pub(crate) enum Link<'a> {
    /// The key without the page's prefix.
    Set(&'a [u8], &'a [u8]),
    Delete(&'a [u8]),
    MergeIntention(u64),
    MergeConfirm,
    MergeCap,
}

impl<'a> Link<'a> {
    pub fn parse(body: &'a [u8]) -> Option<Link<'a>> {
        let mut cursor = Cursor(body);
        let link = match cursor.byte()? {
            0 => Link::Set(cursor.bytes()?, cursor.bytes()?),
            1 => Link::Delete(cursor.bytes()?),
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

/// Parts of pages of any bytes: the first says how many belong to a page, the rest to a change of it.
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
}
