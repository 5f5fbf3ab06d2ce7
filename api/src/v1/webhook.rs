//! Webhooks: receivers outside that are sent events. What a receiver gets is a [`Delivery`]; how it is signed is in docs/WEBHOOKS.md.

use super::{
    common::{Labels, Reason},
    event::{Event, EventKind},
};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Webhook {
    /// Opaque, stable, begins with `wh_`.
    pub id: String,
    pub name: String,
    pub project: String,
    pub labels: Labels,
    /// Of what people change; progress does not move it.
    pub generation: u64,
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub updated_at: Timestamp,
    pub spec: WebhookSpec,
    pub status: WebhookStatus,
    /// What deliveries are signed with: `whsec_` and base64. Told once, in the answer to the request that made the webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WebhookSpec {
    /// `http://` or `https://`, without a user, a password or a fragment. Redirects are not followed.
    pub url: String,
    #[serde(default)]
    pub filter: WebhookFilter,
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Of one attempt, from connecting to the answer's end.
    #[serde(default = "timeout_s")]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 30))]
    pub timeout_s: u32,
    /// How long a delivery is tried before it becomes a dead letter; 0: once.
    #[serde(default = "retry_for_s")]
    #[cfg_attr(feature = "schema", schema(maximum = 604_800))]
    pub retry_for_s: u32,
}

fn yes() -> bool {
    true
}

/// Ten seconds: what a receiver may take that only notes the events.
fn timeout_s() -> u32 {
    10
}

/// An hour: a deployment of the receiver that goes wrong and is mended.
fn retry_for_s() -> u32 {
    3_600
}

impl WebhookSpec {
    /// All events, with the defaults.
    pub fn to(url: &str) -> WebhookSpec {
        WebhookSpec {
            url: url.to_owned(),
            filter: WebhookFilter::default(),
            enabled: true,
            timeout_s: timeout_s(),
            retry_for_s: retry_for_s(),
        }
    }
}

/// Which events; an empty list wants all, and all that are given must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WebhookFilter {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<EventKind>,
    /// `vm-started`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Of resources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum WebhookState {
    Active,
    /// The newest attempt failed; the delivery is tried again.
    Retrying,
    Disabled,
    /// A state of a newer server.
    #[serde(other)]
    Unknown,
}

impl WebhookState {
    pub fn as_str(self) -> &'static str {
        match self {
            WebhookState::Active => "active",
            WebhookState::Retrying => "retrying",
            WebhookState::Disabled => "disabled",
            WebhookState::Unknown => "unknown",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WebhookStatus {
    pub state: WebhookState,
    /// Why it is disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Everything wanted up to here is delivered or a dead letter.
    pub cursor: u64,
    /// Events of the log behind `cursor`, wanted or not.
    pub behind: u64,
    /// Events that the receiver took, over the webhook's life.
    pub delivered: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<DeliverySuccess>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<DeliveryFailure>,
    /// When the delivery that failed is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = DateTime))]
    pub next_attempt_at: Option<Timestamp>,
    /// That are kept; at most 50.
    pub dead_letters: u64,
    /// That went because newer ones came.
    pub dead_letters_dropped: u64,
    /// Dead letters that wait to be sent again.
    pub redelivering: u64,
    pub actions: Vec<String>,
    pub refused: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DeliverySuccess {
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    pub delivery: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DeliveryFailure {
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    pub delivery: u64,
    /// At this delivery so far.
    pub attempts: u32,
    /// Stable: `http-status`, `redirect`, `timeout`, `connect`, `tls`, `broken`, `receiver-gone`, …
    pub code: String,
    pub detail: String,
}

/// `POST /v1/webhooks`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CreateWebhook {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    pub spec: WebhookSpec,
    /// `whsec_` and the base64 of 24 to 64 bytes; absent: one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Events above this cursor are delivered; 0: from the oldest kept; absent: from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

/// `PATCH /v1/webhooks/ID`; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PatchWebhook {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<PatchWebhookSpec>,
    /// A new one; deliveries are signed with it from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PatchWebhookSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<WebhookFilter>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_for_s: Option<u32>,
}

/// `POST /v1/webhooks/ID/redeliver`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Redeliver {
    /// Of dead letters; none: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deliveries: Vec<u64>,
}

/// A delivery that failed for good, with its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DeadLetter {
    pub delivery: u64,
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub first_attempt_at: Timestamp,
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub set_aside_at: Timestamp,
    pub attempts: u32,
    /// Of the last attempt.
    pub code: String,
    pub detail: String,
    pub events: Vec<Event>,
}

/// How a test ended: `POST /v1/webhooks/ID/test`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WebhookTest {
    /// The receiver answered 2xx.
    pub ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    pub took_ms: u64,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The body of the POST that a receiver gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Delivery {
    /// The webhook's id.
    pub webhook: String,
    /// 1, 2, 3 …; the same for every attempt at it. 0: a test.
    pub delivery: u64,
    /// In order, each as the event stream tells it.
    pub events: Vec<Event>,
}
