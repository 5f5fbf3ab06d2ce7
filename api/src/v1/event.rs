//! Events: what changed, numbered without gaps.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// One event, over WebSocket a text frame, over server-sent events a `data:` line with the cursor as its `id:`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Event {
    /// Resume with `after=` this number.
    pub cursor: u64,
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub time: Timestamp,
    pub kind: EventKind,
    pub id: String,
    pub name: String,
    pub project: String,
    pub generation: u64,
    /// Kebab-case, past: `vm-started`. `resync` tells the client to list again: events before `cursor` are no longer kept.
    #[serde(rename = "type")]
    pub event: String,
    pub actor: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// `state` is always there for VMs and images; the rest depends on the type.
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub data: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum EventKind {
    Vm,
    Host,
    Image,
    Operation,
    Webhook,
    /// About the stream itself: `resync`, and of a webhook `test`.
    Stream,
    /// A kind of a newer server.
    #[serde(other)]
    Unknown,
}
