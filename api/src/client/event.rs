//! The event stream: resumed by cursor after a broken connection, with nothing lost and nothing twice.
//!
//! ```text
//!   connecting -> reading -> lost -> (pause with jitter) -> connecting …   until RECONNECT_FOR is over
//! ```
//! A stream that never had a cursor (started "now" and broken before the first event) cannot know what it missed and says so.

use super::error::ClientError;
use super::http::Client;
use super::limits::{RECONNECT_FIRST, RECONNECT_FOR, RECONNECT_LONGEST};
use super::socket::{Frame, Socket};
use crate::v1::Event;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Begin behind this cursor; 0 is the oldest kept; absent: now.
    pub after: Option<u64>,
    pub kind: Option<String>,
    pub id: Option<String>,
    pub project: Option<String>,
    /// Connect again when the connection breaks.
    pub reconnect: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum EventItem {
    Event(Box<Event>),
    /// The connection broke; the stream tries to resume.
    Lost {
        reason: String,
    },
    /// It is back. `complete`: nothing was missed.
    Resumed {
        complete: bool,
    },
}

pub struct Events {
    client: Client,
    query: EventQuery,
    socket: Option<Socket>,
    lost_at: Option<Instant>,
    pause: Duration,
}

impl Client {
    /// Opens the stream; a refusal is told here and not by `next`.
    pub async fn events(&self, query: EventQuery) -> Result<Events, ClientError> {
        let mut events = Events { client: self.clone(), query, socket: None, lost_at: None, pause: RECONNECT_FIRST };
        events.socket = Some(events.open().await?);
        Ok(events)
    }
}

impl Events {
    /// `None` when the server ended the stream in order and the stream does not reconnect.
    ///
    /// Errors: what cannot be mended by connecting again. Cancel: nothing is lost.
    pub async fn next(&mut self) -> Result<Option<EventItem>, ClientError> {
        loop {
            let Some(socket) = &mut self.socket else {
                return self.resume().await.map(Some);
            };
            let reason = match socket.next().await {
                Ok(Some(Frame::Text(text))) => {
                    let event: Event = serde_json::from_str(&text).map_err(|error| socket.unexpected(error.to_string()))?;
                    // After a resume the server may repeat what was on its way.
                    if event.event != "resync" && self.query.after.is_some_and(|after| event.cursor <= after) {
                        continue;
                    }
                    self.query.after = Some(event.cursor);
                    return Ok(Some(EventItem::Event(Box::new(event))));
                }
                Ok(Some(Frame::Binary(_))) => continue,
                Ok(None) if !self.query.reconnect => return Ok(None),
                Ok(None) => "the server ended the stream".to_owned(),
                Err(ClientError::Lost { reason, .. }) if self.query.reconnect => reason,
                Err(error) => return Err(error),
            };
            self.socket = None;
            self.lost_at = Some(Instant::now());
            return Ok(Some(EventItem::Lost { reason }));
        }
    }

    async fn resume(&mut self) -> Result<EventItem, ClientError> {
        loop {
            tokio::time::sleep(jittered(self.pause)).await;
            self.pause = (self.pause * 2).min(RECONNECT_LONGEST);
            match self.open().await {
                Ok(socket) => {
                    self.socket = Some(socket);
                    self.lost_at = None;
                    self.pause = RECONNECT_FIRST;
                    return Ok(EventItem::Resumed { complete: self.query.after.is_some() });
                }
                Err(error) if error.is_transient() && self.lost_at.is_none_or(|at| at.elapsed() < RECONNECT_FOR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn open(&self) -> Result<Socket, ClientError> {
        let mut url = self.client.url(&["v1", "events"])?;
        let after = self.query.after.map(|cursor| cursor.to_string());
        let pairs = [("after", &after), ("kind", &self.query.kind), ("id", &self.query.id), ("project", &self.query.project)];
        for (key, value) in pairs {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(key, value);
            }
        }
        Socket::open(&self.client, url).await
    }
}

/// Half to all of `pause`: clients that lost one server together do not come back together.
fn jittered(pause: Duration) -> Duration {
    let random = (ulid::Ulid::new().random() & 0xffff) as f64 / f64::from(u16::MAX);
    pause.mul_f64(0.5 + random / 2.0)
}
