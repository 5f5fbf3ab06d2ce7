//! One subscriber's way through the events: where it is, what it wants, and whether it keeps up.

use super::{
    filter::Filter,
    hub::{Hub, RING, Rendered},
};
use crate::http::{convert, idempotency::now_ms};
use domain::Timestamp;
use std::sync::Arc;
use storage::ReadError;
use tokio::sync::watch;

/// Events in one write.
const BATCH: usize = 256;
/// Who was at the head once and is further back than the ring reaches is cut off.
const LAG_MAX: u64 = RING as u64;

pub enum Next {
    Events(Vec<Arc<Rendered>>),
    /// It was at the head and could not keep up.
    Behind,
    /// The log can't be read any more.
    Ended,
}

pub struct Follower {
    hub: Hub,
    head: watch::Receiver<u64>,
    filter: Filter,
    cursor: u64,
    /// Where the batch before the newest ended: what was certainly sent.
    sent: u64,
    /// It has been at the head; before, being behind is its right.
    live: bool,
    resync: Option<&'static str>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.hub.left();
    }
}

impl Follower {
    pub(super) fn new(hub: Hub, after: Option<u64>, filter: Filter) -> Follower {
        hub.joined();
        let journal = hub.journal();
        // The oldest first: it may only rise.
        let (oldest, latest) = (journal.oldest(), journal.latest());
        let kept = oldest.saturating_sub(1);
        let (cursor, resync) = match after {
            None => (latest, None),
            Some(0) => (kept, None),
            Some(after) if after < kept => (kept, Some("events behind this cursor are no longer kept")),
            // The journal was replaced by an older or a new one.
            Some(after) if after > latest => (latest, Some("this cursor is ahead of the log")),
            Some(after) => (after, None),
        };
        let head = hub.head();
        Follower { hub, head, filter, cursor, sent: cursor, live: false, resync }
    }

    /// Behind this cursor a subscriber that is cut off must resume.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    pub fn dropped(&self) {
        self.hub.count_dropped();
    }

    /// Goes to the head, past everything between.
    fn catch_up(&mut self) {
        self.cursor = *self.head.borrow_and_update();
    }

    /// The next events that are wanted. Calling it again means that the ones before were sent. Cancel: nothing is lost.
    pub async fn next(&mut self) -> Next {
        self.sent = self.cursor;
        if let Some(reason) = self.resync.take() {
            return Next::Events(vec![Arc::new(Rendered::of(&convert::resync(self.cursor, Timestamp(now_ms()), reason)))]);
        }
        loop {
            let head = *self.head.borrow_and_update();
            if self.cursor >= head {
                self.live = true;
                if self.head.changed().await.is_err() {
                    return Next::Ended;
                }
                continue;
            }
            if self.live && head - self.cursor > LAG_MAX {
                return Next::Behind;
            }
            let events = match self.hub.recent(self.cursor, BATCH) {
                Some(events) => events,
                None => match self.hub.older(self.cursor, BATCH).await {
                    Ok(events) => events,
                    Err(ReadError::Expired { oldest }) => {
                        self.cursor = oldest.saturating_sub(1);
                        let reason = "events were removed before they could be sent";
                        return Next::Events(vec![Arc::new(Rendered::of(&convert::resync(
                            self.cursor,
                            Timestamp(now_ms()),
                            reason,
                        )))]);
                    }
                    Err(_) => return Next::Ended,
                },
            };
            let Some(last) = events.last() else { continue };
            self.cursor = last.cursor;
            let wanted: Vec<_> = events.into_iter().filter(|event| self.filter.wants(event)).collect();
            if !wanted.is_empty() {
                return Next::Events(wanted);
            }
        }
    }
}

/// Wakes at each event of one resource.
pub struct Watch(Follower);

impl Watch {
    pub(super) fn new(follower: Follower) -> Watch {
        Watch(follower)
    }

    /// False: nothing comes any more. Who did not ask for a while missed nothing that matters: one wake is as good as many.
    pub async fn changed(&mut self) -> bool {
        loop {
            match self.0.next().await {
                Next::Events(_) => return true,
                Next::Behind => self.0.catch_up(),
                Next::Ended => return false,
            }
        }
    }
}
