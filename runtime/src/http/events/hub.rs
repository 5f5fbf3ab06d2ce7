//! One reader of the journal's events for all subscribers: each event is decoded and put into words once, and kept in a ring for those who
//! follow closely. Who is further behind reads the journal itself.
//!
//! ```text
//!  journal --watch, read--> hub task --ring, head--> followers (one a subscriber)
//! ```

use super::{
    filter::Filter,
    follow::{Follower, Watch},
};
use crate::http::convert;
use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use std::{
    collections::VecDeque,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use storage::{Journal, ReadError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Events kept in words: eight seconds at 1,000 a second, some 4 MiB.
pub const RING: usize = 8192;
/// Read from the journal at once: bounds how long the ring is locked.
const READ: usize = 512;
/// Above so many subscribers the head moves in steps: waking everybody for each event would cost more than the events.
const CROWD: usize = 100;
/// A step's length grows by so much a subscriber, up to [`STEP_MAX`]: 20 ms for 500, which is 25,000 wakes a second on two cores.
const STEP_PER_SUBSCRIBER: Duration = Duration::from_micros(40);
const STEP_MAX: Duration = Duration::from_millis(25);

/// An event in words.
#[derive(Debug)]
pub struct Rendered {
    pub cursor: u64,
    pub kind: &'static str,
    pub id: String,
    pub project: String,
    pub json: Utf8Bytes,
    sse: OnceLock<Bytes>,
}

impl Rendered {
    pub fn of(event: &api::v1::Event) -> Rendered {
        let json = serde_json::to_string(event).unwrap_or_default();
        Rendered {
            cursor: event.cursor,
            kind: match event.kind {
                api::v1::EventKind::Vm => "vm",
                api::v1::EventKind::Host => "host",
                api::v1::EventKind::Image => "image",
                api::v1::EventKind::Operation => "operation",
                api::v1::EventKind::Webhook => "webhook",
                api::v1::EventKind::Stream | api::v1::EventKind::Unknown => "stream",
            },
            id: event.id.clone(),
            project: event.project.clone(),
            json: json.into(),
            sse: OnceLock::new(),
        }
    }

    pub fn sse(&self) -> &Bytes {
        self.sse.get_or_init(|| Bytes::from(format!("id: {}\ndata: {}\n\n", self.cursor, self.json)))
    }
}

#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    journal: Journal,
    ring: RwLock<VecDeque<Arc<Rendered>>>,
    head: watch::Receiver<u64>,
    subscribers: AtomicUsize,
    dropped: AtomicU64,
}

impl Hub {
    /// Starts the reader; it ends with `ending` or with the journal.
    pub fn start(journal: Journal, ending: CancellationToken) -> Hub {
        let first = journal.latest();
        let (sender, head) = watch::channel(first);
        let hub = Hub(Arc::new(Inner {
            journal,
            ring: RwLock::default(),
            head,
            subscribers: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
        }));
        tokio::spawn(read_on(hub.clone(), sender, first, ending));
        hub
    }

    /// From now on when `after` is absent.
    pub fn follow(&self, after: Option<u64>, filter: Filter) -> Follower {
        Follower::new(self.clone(), after, filter)
    }

    /// Wakes at each event of the resource from now on.
    pub fn watch(&self, id: String) -> Watch {
        Watch::new(Follower::new(self.clone(), None, Filter::of(id)))
    }

    pub fn subscribers(&self) -> usize {
        self.0.subscribers.load(Ordering::Relaxed)
    }

    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.0.journal
    }

    pub(super) fn head(&self) -> watch::Receiver<u64> {
        self.0.head.clone()
    }

    pub(super) fn joined(&self) {
        self.0.subscribers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn left(&self) {
        self.0.subscribers.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn count_dropped(&self) {
        self.0.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Events behind `after` from the ring; `None` when it does not reach back so far.
    pub(super) fn recent(&self, after: u64, most: usize) -> Option<Vec<Arc<Rendered>>> {
        let ring = self.0.ring.read().unwrap_or_else(PoisonError::into_inner);
        let first = ring.front()?.cursor;
        let skip = usize::try_from((after + 1).checked_sub(first)?).ok()?;
        Some(ring.iter().skip(skip).take(most).cloned().collect())
    }

    /// Events behind `after` from the journal, which may be on the disk.
    pub(super) async fn older(&self, after: u64, most: usize) -> Result<Vec<Arc<Rendered>>, ReadError> {
        let journal = self.0.journal.clone();
        let read = tokio::task::spawn_blocking(move || {
            let events = journal.read(after, most)?;
            Ok(events.into_iter().map(|(cursor, bytes)| Arc::new(render(cursor, &bytes))).collect())
        });
        read.await.unwrap_or(Err(ReadError::Closed))
    }

    fn newest(&self, after: u64) -> Result<Vec<Arc<Rendered>>, ReadError> {
        let events = self.0.journal.read(after, READ)?;
        Ok(events.into_iter().map(|(cursor, bytes)| Arc::new(render(cursor, &bytes))).collect())
    }

    fn publish(&self, events: Vec<Arc<Rendered>>) {
        let mut ring = self.0.ring.write().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            if ring.len() == RING {
                ring.pop_front();
            }
            ring.push_back(event);
        }
    }
}

async fn read_on(hub: Hub, head: watch::Sender<u64>, mut cursor: u64, ending: CancellationToken) {
    let mut latest = hub.0.journal.watch();
    loop {
        // Near the head the journal answers from memory; only what is further back may have to wait for the disk.
        let behind = hub.0.journal.latest().saturating_sub(cursor);
        let read = if behind <= READ as u64 { hub.newest(cursor) } else { hub.older(cursor, READ).await };
        match read {
            Ok(events) => {
                if let Some(last) = events.last() {
                    cursor = last.cursor;
                    hub.publish(events);
                    head.send_replace(cursor);
                    if cursor < hub.0.journal.latest() {
                        continue;
                    }
                }
            }
            // So far behind that it was pruned: followers find out by themselves and resync.
            Err(ReadError::Expired { oldest }) => {
                cursor = oldest.saturating_sub(1);
                hub.0.ring.write().unwrap_or_else(PoisonError::into_inner).clear();
                continue;
            }
            Err(error) => {
                tracing::error!(%error, "the event stream ends");
                return;
            }
        }
        let crowd = hub.subscribers();
        if crowd > CROWD {
            let step = STEP_PER_SUBSCRIBER * u32::try_from(crowd).unwrap_or(u32::MAX);
            tokio::time::sleep(step.min(STEP_MAX)).await;
        }
        tokio::select! {
            () = ending.cancelled() => return,
            // It marks what it saw: what came while we read wakes us at once.
            changed = latest.changed() => if changed.is_err() { return },
        }
    }
}

/// An event that can't be read is shown as such: a gap in the numbers would look like a loss.
fn render(cursor: u64, bytes: &[u8]) -> Rendered {
    match actors::decode_event(bytes) {
        Ok(event) => Rendered::of(&convert::event(cursor, event)),
        Err(error) => {
            tracing::error!(cursor, %error, "an event can't be read");
            let mut event = convert::resync(cursor, domain::Timestamp(0), "an event that this version can't read");
            event.event = "unreadable".to_owned();
            Rendered::of(&event)
        }
    }
}
