//! Every whole message of a segment, wherever it lies: where damage took the length of one, each following byte is tried.
//!
//! Owns the search. What is made of what it meets is said by its callers: `scan` and `salvage`.

use super::codec::{Lsn, MESSAGE_HEADER_MAX, Message, SEGMENT_BYTES, SEGMENT_HEADER_BYTES, Segment, segment_header};
use std::{borrow::Cow, fs::File, io};

/// Bytes of the file in which something stood that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    pub at: u64,
    pub bytes: u64,
    pub from: Lsn,
    pub to: Lsn,
}

/// What the search meets, in the order of the file.
pub(super) trait Finds {
    /// One that is whole.
    fn message(&mut self, lsn: Lsn, at: u64, message: Message<Cow<'_, [u8]>>);
    fn gap(&mut self, gap: Gap);
}

/// Reads the whole file.
pub(super) fn search(data: &File, finds: &mut impl Finds) -> io::Result<()> {
    let length = data.metadata()?.len();
    let mut segment = Segment::default();
    for at in (0..length.div_ceil(SEGMENT_BYTES)).map(|index| index * SEGMENT_BYTES) {
        segment.load(data, at)?;
        search_segment(&segment, finds);
    }
    Ok(())
}

/// The number of the segment's use; `None` when nothing tells it.
pub(super) fn search_segment(segment: &Segment, finds: &mut impl Finds) -> Option<u64> {
    let header = segment.bytes.first_chunk().and_then(segment_header);
    // A damaged header: the messages say of which use the segment is.
    let number = header.map(|(lsn, _)| (lsn / SEGMENT_BYTES as Lsn) as u64).or_else(|| number_of(segment));
    match number {
        Some(number) => search_use(segment, number, finds),
        None if segment.bytes.iter().any(|byte| *byte != 0) => {
            finds.gap(Gap { at: segment.at, bytes: segment.bytes.len() as u64, from: 0, to: 0 });
        }
        None => {}
    }
    number
}

/// The use of a segment by its first whole message.
fn number_of(segment: &Segment) -> Option<u64> {
    (SEGMENT_HEADER_BYTES..SEGMENT_BYTES - MESSAGE_HEADER_MAX).find_map(|within| {
        let number = segment.claimed(segment.at + within)?;
        match segment.message(segment.at + within, number) {
            Message::Damaged | Message::Cut => None,
            _ => Some(number),
        }
    })
}

fn search_use(segment: &Segment, number: u64, finds: &mut impl Finds) {
    let (first, mut within, mut damage) = ((number * SEGMENT_BYTES) as Lsn, SEGMENT_HEADER_BYTES, None::<u64>);
    let end = (segment.bytes.len() as u64).min(SEGMENT_BYTES - MESSAGE_HEADER_MAX + 1);
    let gap =
        |from: u64, to: u64| Gap { at: segment.at + from, bytes: to - from, from: first + from as Lsn, to: first + to as Lsn };
    while within < end {
        let read = segment.message(segment.at + within, number);
        let bytes = match read {
            Message::Page { bytes, .. } | Message::Batch { bytes, .. } | Message::Canceled { bytes } => Some(bytes),
            Message::Cap => None,
            Message::Damaged | Message::Cut => {
                damage.get_or_insert(within);
                // Byte by byte: the damage may have taken the length. A sum of 32 bits and the number of the use tell a message.
                within += 1;
                continue;
            }
        };
        if let Some(from) = damage.take() {
            finds.gap(gap(from, within));
        }
        finds.message(first + within as Lsn, segment.at + within, read);
        match bytes {
            Some(bytes) => within += bytes,
            None => return,
        }
    }
    if let Some(from) = damage
        // Nothing was written there yet, or an earlier use left it: sled zeroes what it cuts, and a new file is zeros.
        && segment.bytes[from as usize..].iter().any(|byte| *byte != 0)
    {
        finds.gap(gap(from, segment.bytes.len() as u64));
    }
}
