//! sled's iterator over its log: from message to message, from segment to segment, up to where sled would stop.
//!
//! Source: sled 0.34.7, `pagecache/iterator.rs`. Owns the way. What was read of a segment is brought by the caller; where nothing whole
//! was met at the next place, the place is looked at once more, for what is there instead.

use super::{
    codec::{Kind, Lsn, MESSAGE_HEADER_MAX, Message, SEGMENT_BYTES, SEGMENT_HEADER_BYTES, Segment},
    recover::{Place, SEGMENT},
    scan::{Scanned, What},
    unseen::Rest,
};
use std::{collections::BTreeMap, fs::File, io};

pub(super) struct Log<'a> {
    data: &'a File,
    /// Those to come: position in the order of writing -> place in the file.
    segments: BTreeMap<Lsn, u64>,
    segment: Option<Scanned>,
    /// Of the segment's messages, the first to come.
    index: usize,
    /// A segment that was looked at once more.
    again: Segment,
    pub now: Option<Lsn>,
    last: Option<Lsn>,
    /// Damage ends the segment only; else it ends the log.
    goes_on: bool,
    pub skipped: Vec<Place>,
    /// What was not come to.
    pub rest: Rest,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Next {
    Message {
        kind: Kind,
        pid: u64,
        place: Place,
    },
    /// The segment that is to be brought (`enter`) before it goes on.
    Segment(u64),
    End,
}

enum There {
    Whole(What, u64),
    Damaged,
    Cut,
}

impl Log<'_> {
    pub fn new(data: &File, segments: BTreeMap<Lsn, u64>, last: Option<Lsn>, goes_on: bool) -> Log<'_> {
        let (skipped, rest) = (Vec::new(), Rest::default());
        Log { data, segments, segment: None, index: 0, again: Segment::default(), now: None, last, goes_on, skipped, rest }
    }

    pub fn next(&mut self) -> io::Result<Next> {
        loop {
            let within = u64::try_from(self.now.unwrap_or(0)).unwrap_or(0) % SEGMENT_BYTES;
            if !(SEGMENT_HEADER_BYTES..=SEGMENT_BYTES - MESSAGE_HEADER_MAX).contains(&within) {
                self.leave();
            }
            let (Some(segment), Some(lsn)) = (&self.segment, self.now) else {
                return Ok(match self.segments.first_key_value() {
                    Some((lsn, at)) if self.last.is_none_or(|last| *lsn <= last) => Next::Segment(*at),
                    _ => Next::End,
                });
            };
            if self.last.is_some_and(|last| lsn > last) {
                return Ok(Next::End);
            }
            let at = segment.at + u64::try_from(lsn % SEGMENT).unwrap_or(0);
            let (what, bytes) = match self.at(at, u64::try_from(lsn / SEGMENT).unwrap_or(0))? {
                There::Whole(what, bytes) => (what, bytes),
                There::Damaged if self.goes_on => {
                    self.skipped.push(Place { lsn, at, bytes: 0 });
                    self.leave();
                    continue;
                }
                There::Damaged | There::Cut => return Ok(Next::End),
            };
            let advanced = Some(lsn + bytes as Lsn);
            match what {
                What::Page { kind, pid } => {
                    self.now = advanced;
                    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                    return Ok(Next::Message { kind, pid, place: Place { lsn, at, bytes } });
                }
                What::Batch { last } if self.last.is_some_and(|end| last > end) => return Ok(Next::End),
                What::Batch { .. } | What::Canceled => self.now = advanced,
                What::Cap => self.leave(),
            }
        }
    }

    /// Goes on in the segment that was asked for.
    pub fn enter(&mut self, segment: Scanned) {
        if let Some((lsn, _)) = self.segments.pop_first() {
            self.now = Some(lsn + SEGMENT_HEADER_BYTES as Lsn);
        }
        (self.segment, self.index) = (Some(segment), 0);
    }

    /// What of the segment was not come to is kept aside.
    pub fn leave(&mut self) {
        if let Some(segment) = self.segment.take() {
            self.rest.segment(segment, self.index);
        }
    }

    fn at(&mut self, at: u64, number: u64) -> io::Result<There> {
        let Some(segment) = &self.segment else { return Ok(There::Cut) };
        let within = at - segment.at;
        while let Some(passed) = segment.met.get(self.index).filter(|brief| u64::from(brief.within) < within) {
            self.rest.brief(segment, passed);
            self.index += 1;
        }
        if let Some(brief) = segment.met.get(self.index)
            && (u64::from(brief.within), segment.number) == (within, Some(number))
        {
            self.index += 1;
            return Ok(There::Whole(brief.what, u64::from(brief.bytes)));
        }
        if self.again.bytes.is_empty() || self.again.at != segment.at {
            self.again.load(self.data, segment.at)?;
        }
        Ok(match self.again.message(at, number) {
            Message::Page { kind, pid, bytes, .. } => There::Whole(What::Page { kind, pid }, bytes),
            Message::Batch { last, bytes } => There::Whole(What::Batch { last }, bytes),
            Message::Canceled { bytes } => There::Whole(What::Canceled, bytes),
            Message::Cap => There::Whole(What::Cap, 0),
            Message::Damaged => There::Damaged,
            Message::Cut => There::Cut,
        })
    }
}
