//! What all live answers have in common: a place, a heartbeat, an end with a reason. Dead peers are found by pings, slow ones by a bound on
//! each send, where others do not wait for them.

use super::{
    edge::Edge,
    layer::AsItComes,
    problem::{Answer, RETRY_AFTER_S, Refusal},
};
use axum::{
    body::Body,
    extract::ws::{CloseFrame, Message, WebSocket, close_code},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream::SplitSink, stream::SplitStream};
use std::{pin::pin, time::Duration};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Interval, MissedTickBehavior, timeout},
};
use tokio_util::sync::CancellationToken;

/// Between pings: below the minute after which common proxies close a silent connection.
const PING_EVERY: Duration = Duration::from_secs(20);
/// Two pings and a half without any frame back: the peer is gone.
const DEAD_AFTER: Duration = Duration::from_secs(50);
/// One send into the peer's window. Who takes nothing for so long has fallen behind.
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// The reason is worth waiting for, so that a peer that reads again learns it.
const CLOSE_WITHIN: Duration = Duration::from_secs(20);

/// Close codes of ours, beside those of RFC 6455; after HTTP's 408.
pub const FELL_BEHIND: u16 = 4408;
pub const REFUSED: u16 = 4400;

/// Holds a place among the streams for as long as it lives.
pub struct Place {
    pub ending: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

pub fn place(edge: &Edge) -> Answer<Place> {
    match edge.streams.clone().try_acquire_owned() {
        Ok(permit) => Ok(Place { ending: edge.ending.clone(), _permit: permit }),
        Err(_full) => {
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-streams", "the server holds as many streams as it can")
                .hint("close one, or try again")
                .retry_after(RETRY_AFTER_S))
        }
    }
}

/// A WebSocket's sending half: every send is bounded, but for [`Sender::push`].
pub struct Sender(SplitSink<WebSocket, Message>);

/// Its receiving half, with the heartbeat.
pub struct Receiver {
    stream: SplitStream<WebSocket>,
    pings: Interval,
    heard: Instant,
}

/// What came, as far as a handler cares.
pub enum Incoming {
    Text(axum::extract::ws::Utf8Bytes),
    Binary(Bytes),
    /// Time to send a ping.
    PingDue,
    /// Closed, broken or silent for too long.
    Gone,
}

/// The peer took nothing in time, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    Slow,
    Gone,
}

pub fn halves(socket: WebSocket) -> (Sender, Receiver) {
    let (sink, stream) = socket.split();
    (Sender(sink), Receiver { stream, pings: pings(), heard: Instant::now() })
}

/// When pings are due.
pub fn pings() -> Interval {
    let mut pings = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings
}

impl Sender {
    pub async fn send(&mut self, message: Message) -> Result<(), SendError> {
        bounded(self.0.send(message)).await
    }

    /// Waits for as long as the peer takes nothing. For who finds out by [`Receiver::next`] whether there still is one.
    pub async fn push(&mut self, message: Message) -> Result<(), SendError> {
        self.0.send(message).await.map_err(|_| SendError::Gone)
    }

    /// Several in one write.
    pub async fn send_all(&mut self, messages: impl Iterator<Item = Message>) -> Result<(), SendError> {
        let sink = &mut self.0;
        bounded(async move {
            for message in messages {
                sink.feed(message).await?;
            }
            sink.flush().await
        })
        .await
    }

    pub async fn ping(&mut self) -> Result<(), SendError> {
        self.send(Message::Ping(Bytes::new())).await
    }

    /// Says why, and ends. A peer that does not take even this is cut off. What the peer says meanwhile is taken, until it has ended as well: said to a
    /// socket that is gone it would reset the connection, and what lies unread on its way, the reason too, would be lost.
    pub async fn close(mut self, receiver: &mut Receiver, code: u16, reason: &str) {
        // 123 bytes are what a close frame has room for (RFC 6455, 5.5).
        let mut end = reason.len().min(123);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let frame = CloseFrame { code, reason: reason[..end].into() };
        let mut rest = pin!(receiver.rest());
        let sent = tokio::select! {
            sent = timeout(CLOSE_WITHIN, self.0.send(Message::Close(Some(frame)))) => matches!(sent, Ok(Ok(()))),
            () = &mut rest => false,
        };
        if sent {
            let _ = timeout(CLOSE_WITHIN, rest).await;
        }
    }

    pub async fn going_away(self, receiver: &mut Receiver) {
        self.close(receiver, close_code::AWAY, "the server is shutting down").await;
    }
}

async fn bounded<F: Future<Output = Result<(), axum::Error>>>(send: F) -> Result<(), SendError> {
    match timeout(SEND_WITHIN, send).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(SendError::Gone),
        Err(_elapsed) => Err(SendError::Slow),
    }
}

impl Receiver {
    /// We did not listen for a while; the peer's silence starts now.
    pub fn listening(&mut self) {
        self.heard = Instant::now();
    }

    /// Until the peer has ended.
    async fn rest(&mut self) {
        while let Some(Ok(message)) = self.stream.next().await {
            if matches!(message, Message::Close(_)) {
                return;
            }
        }
    }

    /// Cancel: nothing is lost.
    pub async fn next(&mut self) -> Incoming {
        loop {
            let message = tokio::select! {
                message = self.stream.next() => message,
                _ = self.pings.tick() => {
                    return if self.heard.elapsed() > DEAD_AFTER { Incoming::Gone } else { Incoming::PingDue };
                }
            };
            self.heard = Instant::now();
            match message {
                Some(Ok(Message::Text(text))) => return Incoming::Text(text),
                Some(Ok(Message::Binary(bytes))) => return Incoming::Binary(bytes),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Incoming::Gone,
            }
        }
    }
}

/// A body that goes out as it comes, uncompressed and unbuffered by proxies that listen.
pub fn live_body(content_type: &'static str, body: Body) -> Response {
    let mut response = (
        [
            (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        ],
        body,
    )
        .into_response();
    response.extensions_mut().insert(AsItComes);
    response
}

/// Between comments on a silent event stream, for the same reason as pings.
pub const SSE_KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How soon a browser comes back, then the first bytes, so that it knows at once that the stream is open.
pub const SSE_HELLO: &str = "retry: 2000\n\n: open\n\n";

/// The last words of an event stream.
pub fn sse_disconnect(code: &str, reason: &str) -> Bytes {
    let data = serde_json::json!({ "code": code, "reason": reason });
    Bytes::from(format!("event: disconnect\ndata: {data}\n\n"))
}
