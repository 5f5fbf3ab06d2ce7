//! What a webhook is, and what is kept of a delivery that failed for good.

use super::spec::WebhookSpec;
use crate::{Attempt, Generation, Labels, Name, Timestamp, WebhookId};
use serde::{Deserialize, Serialize};

/// Deliveries that are set aside for one webhook; with one more the oldest goes. 50 of [`super::step::EVENTS_MAX`] events: what an hour of
/// a busy node fills, and few enough that a webhook is deleted with all of them in one batch of the journal.
pub const DEAD_LETTERS_MAX: usize = 50;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    pub id: WebhookId,
    pub name: Name,
    pub project: Name,
    pub labels: Labels,
    /// Of what people change, and of being disabled. Progress does not move it, or no `If-Match` would ever match.
    pub generation: Generation,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub spec: WebhookSpec,
    /// Everything wanted up to here is delivered or set aside.
    pub cursor: u64,
    pub state: State,
    /// Of the newest effect; answers to older ones are ignored.
    pub attempt: Attempt,
    /// Of the newest delivery: 1, 2, 3 …
    pub deliveries: u64,
    /// Oldest first.
    pub dead: Vec<DeadRef>,
    /// Dead letters that went because newer ones came.
    pub dead_dropped: u64,
    /// Numbers of dead letters that are to be sent again, in this order.
    pub redeliver: Vec<u64>,
    /// Events that the receiver took, over the webhook's life.
    pub delivered: u64,
    pub last_success: Option<Success>,
    pub last_failure: Option<Failure>,
    /// Which secret deliveries are signed with: 0 for the one that it was made with, another number for each later one.
    pub secret: u64,
}

impl Webhook {
    /// The name that its secret is kept under. A new secret has a name of its own, so that storing it changes nothing: only the record that
    /// names it does, whole or not at all.
    pub fn secret_name(&self) -> String {
        match self.secret {
            0 => self.id.to_string(),
            number => format!("{}_{number:016x}", self.id),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Looks for the next event that is wanted.
    Following,
    /// An attempt is on its way.
    Sending(Delivery),
    /// Between two attempts.
    Waiting {
        delivery: Delivery,
        until: Timestamp,
    },
    Disabled(BecauseOf),
}

impl State {
    pub fn name(&self) -> &'static str {
        match self {
            State::Following => "active",
            State::Sending(delivery) if delivery.attempts == 0 => "active",
            State::Sending(_) | State::Waiting { .. } => "retrying",
            State::Disabled(_) => "disabled",
        }
    }

    pub fn delivery(&self) -> Option<&Delivery> {
        match self {
            State::Sending(delivery) | State::Waiting { delivery, .. } => Some(delivery),
            State::Following | State::Disabled(_) => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BecauseOf {
    /// A person wants it so.
    Person,
    /// The receiver answered 410 Gone.
    Receiver,
    /// Its secret is not there, as after a restore without it: what is sent could not be signed.
    Secret,
}

/// One POST, however often it is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The receiver is told it and may leave out what it has taken before.
    pub number: u64,
    pub what: What,
    /// When it was first tried; the budget counts from here.
    pub since: Timestamp,
    /// Attempts that failed.
    pub attempts: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// The wanted ones of the events above `after`, up to and with `upto`; there are `count` of them.
    Events { after: u64, upto: u64, count: u32 },
    /// That events up to and with this cursor are no longer kept.
    Resync { upto: u64 },
    /// A dead letter, once more; its `count` events are kept with it.
    Dead { count: u32 },
}

/// What the webhook's record knows of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadRef {
    pub number: u64,
    pub count: u32,
}

/// A delivery that failed for good, as people see it. Its events lie beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub webhook: WebhookId,
    pub number: u64,
    /// The part of the log that it stands for: above `after`, up to and with `upto`.
    pub after: u64,
    pub upto: u64,
    /// Of its events, in order. None: it was to tell that events are no longer kept.
    pub cursors: Vec<u64>,
    pub since: Timestamp,
    pub set_aside_at: Timestamp,
    pub attempts: u32,
    /// Of the last attempt.
    pub code: String,
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Success {
    pub at: Timestamp,
    pub number: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub at: Timestamp,
    pub number: u64,
    /// Attempts at this delivery so far.
    pub attempts: u32,
    /// Stable: `http-status`, `timeout`, `connect`, …
    pub code: String,
    pub detail: String,
}
