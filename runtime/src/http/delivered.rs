//! Events as deliveries of webhooks carry them: what the event stream tells, word for word.

use super::convert;
use api::v1;
use domain::{Timestamp, event::Event};

/// One that can't be read is told as such, under its number: a gap would look like a loss.
pub fn event(cursor: u64, event: Option<Event>) -> v1::Event {
    match event {
        Some(event) => convert::event(cursor, event),
        None => v1::Event {
            event: "unreadable".to_owned(),
            ..convert::resync(cursor, Timestamp(0), "an event that this version can't read")
        },
    }
}

pub fn resync(cursor: u64, at: Timestamp) -> v1::Event {
    convert::resync(cursor, at, "events were removed before they could be delivered")
}

pub fn test(cursor: u64, at: Timestamp) -> v1::Event {
    v1::Event { event: "test".to_owned(), ..convert::resync(cursor, at, "somebody wants to see whether this arrives") }
}
