//! What a webhook's step wants done.

use super::state::{DeadLetter, DeadRef, Delivery, Webhook};
use crate::{Timestamp, event::Draft as EventDraft};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Absent: the webhook is no more, nor are its dead letters and its secret.
    pub next: Option<Webhook>,
    pub events: Vec<EventDraft>,
    /// In the same batch as the record.
    pub letters: Vec<LetterChange>,
    /// At most one, which replaces what is under way.
    pub effect: Option<Effect>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LetterChange {
    /// With the events that the failed attempt had in hand.
    Keep(DeadLetter),
    Drop(DeadRef),
}

/// Each carries the attempt of the record that it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Wait for events above `after`, and look which are wanted. `Found`, `Skipped` or `Expired`, whenever there are any.
    Find { after: u64 },
    /// POST it. `Delivered`, `Gone`, `Failed`, within the timeout of the specification; `Expired` when its events are no longer kept.
    Send(Delivery),
    /// `Elapsed` at that time.
    StartTimer { until: Timestamp },
    /// Nothing may be under way any more.
    Cease,
}
