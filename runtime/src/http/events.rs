//! `GET /v1/events`: what changed, as a WebSocket or as server-sent events, resumed by cursor with nothing lost and nothing twice.

mod filter;
mod follow;
mod hub;

pub use follow::Watch;
pub use hub::Hub;

use super::{
    edge::{Edge, Serving},
    input::{Fields, Live},
    problem::{Answer, Refusal},
    stream::{self, FELL_BEHIND, Incoming, Place, SendError, live_body},
};
use axum::{
    body::Body,
    extract::{
        State,
        ws::{Message, WebSocket, close_code},
    },
    http::{HeaderMap, StatusCode},
    response::Response,
};
use bytes::{Bytes, BytesMut};
pub use filter::Filter;
use follow::{Follower, Next};
use futures_util::stream as streams;
use std::convert::Infallible;
use utoipa_axum::{router::OpenApiRouter, routes};

pub fn routes() -> OpenApiRouter<Edge> {
    OpenApiRouter::new().routes(routes!(events))
}

/// Follows what changes: a WebSocket with one JSON object a text frame, or, with `Accept: text/event-stream`, server-sent events.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(
        ("after" = Option<u64>, Query, description = "resume behind this cursor; 0: from the oldest kept; absent: from now"),
        ("kind" = Option<Vec<String>>, Query, description = "only of these kinds: vm, host, image, operation, webhook"),
        ("id" = Option<Vec<String>>, Query, description = "only of the resources with these ids"),
        ("project" = Option<String>, Query, description = "only of this project"),
        ("Last-Event-ID" = Option<u64>, Header, description = "as after, by a browser that reconnects"),
    ),
    responses((status = 200, body = api::v1::Event, content_type = "text/event-stream"), (status = 101, description = "the WebSocket")))]
async fn events(State(edge): State<Edge>, serving: Serving, mut fields: Fields, headers: HeaderMap, live: Live) -> Answer {
    let after = fields.number("after", 0, u64::MAX)?;
    let filter = Filter::parse(&mut fields)?;
    fields.end(&["after", "kind", "id", "project"])?;
    // A browser repeats its first address with this header; what it saw last is newer than what it began with.
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).and_then(|text| text.trim().parse().ok());
    let place = stream::place(&edge)?;
    match live {
        Live::Socket(upgrade) => {
            let follower = serving.hub.follow(after, filter);
            Ok(upgrade.on_upgrade(move |socket| web_socket(socket, follower, place)))
        }
        Live::ServerSentEvents => Ok(server_sent(serving.hub.follow(last.or(after), filter), place)),
        Live::Once => Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, "stream-only", "events are a stream")
            .hint("connect a WebSocket, or send Accept: text/event-stream")),
    }
}

async fn web_socket(socket: WebSocket, mut follower: Follower, place: Place) {
    let (mut sender, mut receiver) = stream::halves(socket);
    loop {
        let sent = tokio::select! {
            // The hub ends with the server too; its end must not be taken for a failure of the log.
            biased;
            () = place.ending.cancelled() => return sender.going_away(&mut receiver).await,
            incoming = receiver.next() => match incoming {
                // A subscriber has nothing to say; what it says is let pass.
                Incoming::Text(_) | Incoming::Binary(_) => Ok(()),
                Incoming::PingDue => sender.ping().await,
                Incoming::Gone => return,
            },
            next = follower.next() => match next {
                Next::Events(events) => sender.send_all(events.iter().map(|event| Message::Text(event.json.clone()))).await,
                Next::Behind => {
                    follower.dropped();
                    return sender.close(&mut receiver, FELL_BEHIND, &behind(&follower)).await;
                }
                Next::Ended => return sender.close(&mut receiver, close_code::ERROR, "the event log can't be read").await,
            },
        };
        match sent {
            Ok(()) => {}
            Err(SendError::Gone) => return,
            Err(SendError::Slow) => {
                follower.dropped();
                return sender.close(&mut receiver, FELL_BEHIND, &behind(&follower)).await;
            }
        }
    }
}

fn behind(follower: &Follower) -> String {
    format!("fell behind; connect again with after={}", follower.sent())
}

/// Where a stream of server-sent events is.
struct SentEvents {
    follower: Follower,
    place: Place,
    ended: bool,
}

fn server_sent(follower: Follower, place: Place) -> Response {
    let hello = streams::iter([Ok::<_, Infallible>(Bytes::from_static(stream::SSE_HELLO.as_bytes()))]);
    let state = SentEvents { follower, place, ended: false };
    let rest = streams::unfold(state, |mut state| async move {
        if state.ended {
            return None;
        }
        let chunk = state.next().await;
        Some((Ok(chunk), state))
    });
    use futures_util::StreamExt;
    live_body("text/event-stream", Body::from_stream(hello.chain(rest)))
}

impl SentEvents {
    async fn next(&mut self) -> Bytes {
        let next = tokio::select! {
            // As above.
            biased;
            () = self.place.ending.cancelled() => {
                self.ended = true;
                return stream::sse_disconnect("stopping", "the server is shutting down");
            }
            next = self.follower.next() => next,
            () = tokio::time::sleep(stream::SSE_KEEP_ALIVE) => return Bytes::from_static(b": still here\n\n"),
        };
        match next {
            Next::Events(events) => {
                let mut chunk = BytesMut::with_capacity(events.iter().map(|event| event.sse().len()).sum());
                for event in events {
                    chunk.extend_from_slice(event.sse());
                }
                // What is handed to the connection is as good as sent: it blocks the next poll until it is taken.
                chunk.freeze()
            }
            Next::Behind => {
                self.ended = true;
                self.follower.dropped();
                stream::sse_disconnect("fell-behind", &behind(&self.follower))
            }
            Next::Ended => {
                self.ended = true;
                stream::sse_disconnect("log-failed", "the event log can't be read")
            }
        }
    }
}
