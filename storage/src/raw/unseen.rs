//! What sled would not see, of a file of which it says that this is all.
//!
//! Any whole message that is newer than what sled has of its page, and any damage in a segment that holds something of what it has: sled
//! leaves out the rest of such a segment without a word. A segment of which nothing is in use may look like anything: it was free, and
//! a crash may have left it half overwritten.
//!
//! Owns the verdict. Reads nothing: what `recover` came to on sled's way is in its pages, and what it did not come to is kept aside here.

use super::{
    codec::{Kind, Lsn, SEGMENT_BYTES},
    recover::{Page, Place, Recovered},
    scan::{Brief, Scanned, What},
    search::Gap,
};
use std::collections::HashSet;

/// What lies in the file, and not on sled's way through it.
#[derive(Debug, Default)]
pub(super) struct Rest {
    messages: Vec<(Place, Kind, u64)>,
    gaps: Vec<Gap>,
}

impl Rest {
    pub fn message(&mut self, place: Place, kind: Kind, pid: u64) {
        self.messages.push((place, kind, pid));
    }

    pub fn brief(&mut self, segment: &Scanned, brief: &Brief) {
        if let (What::Page { kind, pid }, Some(number)) = (brief.what, segment.number) {
            let lsn = (number * SEGMENT_BYTES) as Lsn + Lsn::from(brief.within);
            self.message(Place { lsn, at: segment.at + u64::from(brief.within), bytes: brief.bytes }, kind, pid);
        }
    }

    /// A segment's gaps, and its messages from one on.
    pub fn segment(&mut self, segment: Scanned, from: usize) {
        segment.met.iter().skip(from).for_each(|brief| self.brief(&segment, brief));
        self.gaps.extend(segment.gaps);
    }
}

/// A sentence about the first thing in the file that sled would not see.
pub(crate) fn unseen(recovered: &Recovered) -> Option<String> {
    let Rest { messages, gaps } = &recovered.rest;
    let message = messages.iter().filter(|(place, kind, pid)| is_newer(recovered, *place, *kind, *pid));
    let message = message.min_by_key(|(place, _, _)| place.at);
    let used = if gaps.is_empty() { HashSet::new() } else { used(recovered) };
    let gap = gaps
        .iter()
        .filter(|gap| gap.from < recovered.end && gap.to > recovered.begin && used.contains(&(gap.at / SEGMENT_BYTES)));
    match (message, gap.min_by_key(|gap| gap.at)) {
        (Some((place, ..)), Some(gap)) if gap.at < place.at => Some(damaged(gap)),
        (Some((place, _, pid)), _) => Some(format!("what was written at byte {} would not be seen (page {pid})", place.at)),
        (None, gap) => gap.map(damaged),
    }
}

fn damaged(gap: &Gap) -> String {
    format!("{} bytes from {} on are damaged", gap.bytes, gap.at)
}

fn is_newer(recovered: &Recovered, place: Place, kind: Kind, pid: u64) -> bool {
    if !(recovered.begin..recovered.end).contains(&place.lsn) {
        return false;
    }
    match recovered.pages.get(pid as usize) {
        // A link to a page that is not there has lost its page to a later place or to a removal.
        None | Some(Page::Absent) => kind.replaces(),
        Some(Page::Free(free)) => kind.replaces() && place.lsn > free.lsn,
        Some(Page::Present { base, links }) => {
            place.lsn > base.lsn && (kind != Kind::Link || !links.iter().any(|link| link.lsn == place.lsn))
        }
        Some(Page::Elsewhere) => false,
    }
}

/// Segments with a message of a page as sled has it.
fn used(recovered: &Recovered) -> HashSet<u64> {
    let mut used = HashSet::new();
    for page in &recovered.pages {
        match page {
            Page::Present { base, links } => used.extend([base].into_iter().chain(links).map(|place| place.at / SEGMENT_BYTES)),
            Page::Free(place) => drop(used.insert(place.at / SEGMENT_BYTES)),
            Page::Absent | Page::Elsewhere => {}
        }
    }
    used
}
