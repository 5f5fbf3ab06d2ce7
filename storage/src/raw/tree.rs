//! The tree in a folder of sled's: every key and value in order, read page by page. Every sum is checked on the way, and that the pages
//! follow each other without a gap, so that a walk to the end says that sled will find all of it.

use super::{
    codec::{Kind, Message, SEGMENT_BYTES, message},
    page::{Data, Link, Node, root_of},
    recover::{Page, Recovered},
};
use std::{fs::File, ops::Range};

const META_PAGE: u64 = 0;
/// Levels of a tree: 16 entries a page make 16 levels enough for any file.
const DEEPEST: usize = 32;

pub(crate) struct Tree<'a> {
    pub data: &'a File,
    pub recovered: &'a Recovered,
}

impl Tree<'_> {
    /// All entries, in order of their keys.
    ///
    /// # Errors
    /// A sentence about the first thing that is not as it must be.
    pub fn walk(&self, mut entry: impl FnMut(&[u8], &[u8]) -> Result<(), String>) -> Result<(), String> {
        let mut held = Held::default();
        self.read(META_PAGE, &mut held)?;
        let root = held.bodies.first().and_then(|meta| root_of(&held.bytes[meta.clone()]));
        let mut pid = root.ok_or("the page that names the tree's root does not name it")?;
        self.read(pid, &mut held)?;
        let mut node = held.node(pid)?;
        for _ in 0..DEEPEST {
            let Data::Index(children) = &node.data else { break };
            pid = children.first().ok_or_else(|| format!("page {pid} of the index is empty"))?.1;
            self.read(pid, &mut held)?;
            node = held.node(pid)?;
        }
        let (mut low, mut key) = (Vec::new(), Vec::new());
        // Each page once at most: a chain that goes round ends.
        for _ in 0..=self.recovered.pages.len() {
            if node.low != low {
                return Err(format!("page {pid} does not follow its predecessor"));
            }
            let Data::Leaf(entries) = &node.data else { return Err(format!("page {pid} is no leaf")) };
            for (rest, value) in entries {
                key.clear();
                key.extend_from_slice(node.prefix());
                key.extend_from_slice(rest);
                if key.as_slice() < node.low || (!node.high.is_empty() && key.as_slice() >= node.high) {
                    return Err(format!("page {pid} holds a key of another"));
                }
                entry(&key, value)?;
            }
            match node.next {
                None if node.high.is_empty() => return Ok(()),
                None => return Err(format!("no page follows page {pid}")),
                Some(next) => pid = next,
            }
            low.clear();
            low.extend_from_slice(node.high);
            self.read(pid, &mut held)?;
            node = held.node(pid)?;
        }
        Err("the pages follow each other in a circle".to_owned())
    }

    /// A page and what changes it, in place of what was held.
    fn read(&self, pid: u64, held: &mut Held) -> Result<(), String> {
        held.bytes.clear();
        held.bodies.clear();
        let (base, links) = match self.recovered.pages.get(pid as usize) {
            Some(Page::Present { base, links }) => (base, links),
            Some(Page::Elsewhere) => return Err(format!("page {pid} is in a file of its own")),
            _ => return Err(format!("page {pid} is missing")),
        };
        for (place, base) in [(base, true)].into_iter().chain(links.iter().map(|link| (link, false))) {
            let number = u64::try_from(place.lsn).unwrap_or(0) / SEGMENT_BYTES;
            let found = message(self.data, place.at, number, place.bytes as usize, &mut held.bytes)
                .map_err(|error| format!("byte {} cannot be read: {error}", place.at))?;
            match found {
                Message::Page { kind, pid: of, body, .. } if of == pid && kind.replaces() == base && kind != Kind::Blob => {
                    held.bodies.push(body);
                }
                _ => return Err(format!("the bytes from {} on are damaged (page {pid})", place.at)),
            }
        }
        Ok(())
    }
}

/// A page's messages: the page itself, then its changes. The memory is used again for each.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    bodies: Vec<Range<usize>>,
}

impl Held {
    fn node(&self, pid: u64) -> Result<Node<'_>, String> {
        let whole = || -> Option<Node<'_>> {
            let mut bodies = self.bodies.iter().map(|body| &self.bytes[body.clone()]);
            let mut node = Node::parse(bodies.next()?)?;
            for body in bodies {
                node.apply(Link::parse(body)?)?;
            }
            Some(node)
        };
        whole().ok_or_else(|| format!("page {pid} does not decode"))
    }
}
