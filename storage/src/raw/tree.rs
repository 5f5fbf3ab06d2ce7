//! The tree in a folder of sled's: every key and value in order, read page by page. Every sum is checked on the way, and that the pages
//! follow each other without a gap, so that a walk to the end says that sled will find all of it.

use super::{
    codec::{Data, Kind, Link, Message, Node, SEGMENT_BYTES, message, root_of},
    recover::{Page, Place, Recovered},
};
use std::fs::File;

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
        let (_, meta) = self.base(META_PAGE)?;
        let mut pid = root_of(&meta).ok_or("the page that names the tree's root does not name it")?;
        let mut node = self.node(pid)?;
        for _ in 0..DEEPEST {
            let Data::Index(children) = &node.data else { break };
            pid = children.first().ok_or_else(|| format!("page {pid} of the index is empty"))?.1;
            node = self.node(pid)?;
        }
        let mut low = Vec::new();
        // Each page once at most: a chain that goes round ends.
        for _ in 0..=self.recovered.pages.len() {
            if node.low != low {
                return Err(format!("page {pid} does not follow its predecessor"));
            }
            let Data::Leaf(entries) = &node.data else { return Err(format!("page {pid} is no leaf")) };
            for (key, value) in entries {
                if *key < node.low || (!node.high.is_empty() && *key >= node.high) {
                    return Err(format!("page {pid} holds a key of another"));
                }
                entry(key, value)?;
            }
            match node.next {
                None if node.high.is_empty() => return Ok(()),
                None => return Err(format!("no page follows page {pid}")),
                Some(next) => pid = next,
            }
            low = node.high;
            node = self.node(pid)?;
        }
        Err("the pages follow each other in a circle".to_owned())
    }

    fn node(&self, pid: u64) -> Result<Node, String> {
        let (links, body) = self.base(pid)?;
        let damaged = || format!("page {pid} does not decode");
        let mut node = Node::parse(&body).ok_or_else(damaged)?;
        for place in links {
            let body = self.read(pid, *place, false)?;
            Link::parse(&body).and_then(|link| node.apply(link)).ok_or_else(damaged)?;
        }
        Ok(node)
    }

    fn base(&self, pid: u64) -> Result<(&[Place], Vec<u8>), String> {
        match self.recovered.pages.get(pid as usize) {
            Some(Page::Present { base, links }) => Ok((links, self.read(pid, *base, true)?)),
            Some(Page::Elsewhere) => Err(format!("page {pid} is in a file of its own")),
            _ => Err(format!("page {pid} is missing")),
        }
    }

    fn read(&self, pid: u64, place: Place, base: bool) -> Result<Vec<u8>, String> {
        let number = u64::try_from(place.lsn).unwrap_or(0) / SEGMENT_BYTES;
        let found = message(self.data, place.at, number).map_err(|error| format!("byte {} cannot be read: {error}", place.at))?;
        match found {
            Message::Page { kind, pid: of, body, .. } if of == pid && kind.replaces() == base && kind != Kind::Blob => Ok(body),
            _ => Err(format!("the bytes from {} on are damaged (page {pid})", place.at)),
        }
    }
}
