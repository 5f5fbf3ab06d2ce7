//! What a receiver is sent: the same JSON objects as the event stream's, in one document.

use crate::http::delivered;
use actors::webhook::{Content, Post};
use api::v1;
use bytes::Bytes;

/// Receivers leave out what they have taken before by it: the same for every attempt at a delivery, another for every other delivery.
pub fn message_id(post: &Post) -> String {
    match post.number {
        // A test is never a repetition.
        0 => format!("{}_test_{}", post.webhook, post.at.0),
        number => format!("{}_{number}", post.webhook),
    }
}

pub fn of(post: &Post) -> Result<Bytes, serde_json::Error> {
    let events = match &post.content {
        Content::Events(events) => events.iter().map(|(cursor, event)| delivered::event(*cursor, event.clone())).collect(),
        Content::Resync { cursor } => vec![delivered::resync(*cursor, post.at)],
        Content::Test { cursor } => vec![delivered::test(*cursor, post.at)],
    };
    let body = v1::Delivery { webhook: post.webhook.to_string(), delivery: post.number, events };
    serde_json::to_vec(&body).map(Bytes::from)
}
