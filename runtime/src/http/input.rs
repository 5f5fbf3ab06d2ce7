//! What a request says, read strictly: bodies, queries, path segments and headers, each refusal naming the field. Owns no meaning; whether
//! what was said is possible is decided further in.

mod body;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod precondition;
mod query;
mod strict;

pub use body::{Submission, document};
pub use precondition::{etag, if_match, not_modified, same_tag};
pub use query::{Fields, ListQuery, bad as bad_query, cursor, wait};

use super::problem::Refusal;
use axum::{
    extract::{FromRequestParts, Path, WebSocketUpgrade},
    http::{StatusCode, header, request::Parts},
};

/// The id or name in a path.
pub struct Reference(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Reference {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(reference)) => Ok(Reference(reference)),
            Err(rejection) => Err(Refusal::new(StatusCode::BAD_REQUEST, "bad-path", rejection.body_text())
                .hint("escape an id or a name in a path as UTF-8")),
        }
    }
}

/// How the client wants a live answer.
pub enum Live {
    Socket(Box<WebSocketUpgrade>),
    ServerSentEvents,
    /// One answer.
    Once,
}

/// The subprotocol of every WebSocket of ours. Browsers must be given one of those that they asked for.
pub const PROTOCOL: &str = "hearth.v1";
/// A frame from a client: terminals and exec input come in pieces; the client of ours sends at most 64 KiB.
const MESSAGE_MAX: usize = 256 * 1024;
/// What is read at a time. tungstenite zeroes as much for each look whether something has come, which a live answer has with every event
/// that it sends: with its own 128 KiB that was a third of all processor time with 100 subscribers, and as much memory for each of them.
const READ_BUFFER: usize = 4 * 1024;

impl<S: Send + Sync> FromRequestParts<S> for Live {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        if parts.headers.contains_key(header::UPGRADE) {
            return match WebSocketUpgrade::from_request_parts(parts, state).await {
                Ok(upgrade) => Ok(Live::Socket(Box::new(
                    upgrade
                        .protocols([PROTOCOL])
                        .max_message_size(MESSAGE_MAX)
                        .max_frame_size(MESSAGE_MAX)
                        .read_buffer_size(READ_BUFFER),
                ))),
                Err(rejection) => Err(Refusal::new(StatusCode::BAD_REQUEST, "bad-upgrade", rejection.body_text())
                    .hint("ask for a WebSocket of version 13 by GET on HTTP/1.1")),
            };
        }
        let accepts = |value: &axum::http::HeaderValue| value.to_str().is_ok_and(|value| value.contains("text/event-stream"));
        Ok(if parts.headers.get_all(header::ACCEPT).iter().any(accepts) { Live::ServerSentEvents } else { Live::Once })
    }
}

/// For paths that are nothing but a WebSocket.
pub struct Socket(pub WebSocketUpgrade);

impl<S: Send + Sync> FromRequestParts<S> for Socket {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Live::from_request_parts(parts, state).await? {
            Live::Socket(upgrade) => Ok(Socket(*upgrade)),
            Live::ServerSentEvents | Live::Once => {
                Err(Refusal::new(StatusCode::UPGRADE_REQUIRED, "websocket-required", "this path is a WebSocket")
                    .hint("connect with a WebSocket client, or use the command line: hearth vm shell"))
            }
        }
    }
}
