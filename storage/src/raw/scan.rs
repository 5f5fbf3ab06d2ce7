//! The segments of the data file, each read once, in the order in which they are asked for and ahead of it: every sum is computed on the
//! way, by as many threads as there are processors, and what is kept of a message is where it lies and what it is.
//!
//! Owns the reading ahead, which is bounded by segments. What the messages mean is `recover`'s.

use super::{
    codec::{Kind, Lsn, Message, Segment},
    search::{Finds, Gap, search_segment},
};
use std::{
    borrow::Cow,
    fs::File,
    io,
    sync::mpsc::{Receiver, sync_channel},
    thread::{self, Scope},
};

/// More readers than this wait for each other's memory, and a small node has no more.
const READERS_MAX: usize = 4;
/// Segments that a reader may be ahead: what is kept of one is some 50 kB.
const AHEAD: usize = 4;

/// Messages of a segment, usually: of 200 bytes and more.
const USUAL: usize = 2500;

/// A whole message without its body. There are millions in a journal, so it is small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Brief {
    /// From the segment's begin.
    pub within: u32,
    pub bytes: u32,
    pub what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Page { kind: Kind, pid: u64 },
    Batch { last: Lsn },
    Canceled,
    Cap,
}

/// What lies in a segment.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub at: u64,
    /// Of which use it is; absent when nothing tells it.
    pub number: Option<u64>,
    /// In the order of the file.
    pub met: Vec<Brief>,
    pub gaps: Vec<Gap>,
}

impl Finds for Scanned {
    fn message(&mut self, _: Lsn, at: u64, message: Message<Cow<'_, [u8]>>) {
        let (what, bytes) = match message {
            Message::Page { kind, pid, bytes, .. } => (What::Page { kind, pid }, bytes),
            Message::Batch { last, bytes } => (What::Batch { last }, bytes),
            Message::Canceled { bytes } => (What::Canceled, bytes),
            Message::Cap => (What::Cap, 0),
            Message::Damaged | Message::Cut => return,
        };
        // Both are less than a segment, which is 512 KiB.
        self.met.push(Brief { within: (at - self.at) as u32, bytes: bytes as u32, what });
    }

    fn gap(&mut self, gap: Gap) {
        self.gaps.push(gap);
    }
}

/// `memory` is used again for each.
pub(super) fn scan(data: &File, at: u64, memory: &mut Segment) -> io::Result<Scanned> {
    memory.load(data, at)?;
    let mut scanned = Scanned { at, met: Vec::with_capacity(USUAL), ..Scanned::default() };
    scanned.number = search_segment(memory, &mut scanned);
    Ok(scanned)
}

/// Gives the segments in order.
pub(super) struct Ahead<'a> {
    data: &'a File,
    order: &'a [u64],
    next: usize,
    lanes: Vec<Option<Receiver<io::Result<Scanned>>>>,
    memory: Segment,
}

impl<'scope> Ahead<'scope> {
    /// Its threads end when it is dropped.
    pub fn begin<'env>(scope: &'scope Scope<'scope, 'env>, data: &'scope File, order: &'scope [u64]) -> Ahead<'scope> {
        let readers = thread::available_parallelism().map_or(1, usize::from).min(READERS_MAX).min(order.len());
        let lane = |first: usize| {
            let (sender, receiver) = sync_channel(AHEAD);
            let read = move || {
                let mut memory = Segment::default();
                for at in order.iter().skip(first).step_by(readers) {
                    let scanned = scan(data, *at, &mut memory);
                    let failed = scanned.is_err();
                    if sender.send(scanned).is_err() || failed {
                        return;
                    }
                }
            };
            // Where no thread can be had, its segments are read by who asks for them.
            thread::Builder::new().name("journal-look".into()).spawn_scoped(scope, read).ok().map(|_| receiver)
        };
        Ahead { data, order, next: 0, lanes: (0..readers).map(lane).collect(), memory: Segment::default() }
    }

    /// `None` after the last.
    pub fn next(&mut self) -> io::Result<Option<Scanned>> {
        let Some(at) = self.order.get(self.next) else { return Ok(None) };
        let lane = self.next % self.lanes.len().max(1);
        self.next += 1;
        match self.lanes.get(lane).and_then(Option::as_ref) {
            Some(lane) => {
                lane.recv().unwrap_or_else(|_| Err(io::Error::other("the reader of the data file has ended"))).map(Some)
            }
            None => scan(self.data, *at, &mut self.memory).map(Some),
        }
    }
}
