//! Everything that can happen to a webhook.

use super::{filter::Filter, spec::WebhookSpec};
use crate::{Attempt, Labels, Name};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    Command {
        command: Command,
        actor: String,
    },
    /// An effect ended. `jitter`: drawn by whoever reports it, 0 to 1000 thousandths.
    Finished {
        attempt: Attempt,
        result: Finished,
        jitter: u16,
    },
    /// The time to wait is over.
    Elapsed {
        attempt: Attempt,
    },
    /// The record was loaded.
    Recovered,
    /// The record was loaded, and the secret that it names is not there.
    SecretMissing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Update(Change),
    Delete,
    /// Sends dead letters again, all of them when no number is given. Each is tried once.
    Redeliver {
        numbers: Vec<u64>,
    },
}

/// What is absent stays. A new secret is a change, too: the record names it, the bytes are kept elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    pub name: Option<Name>,
    pub labels: Option<Labels>,
    pub url: Option<String>,
    pub filter: Option<Filter>,
    pub timeout_s: Option<u32>,
    pub retry_for_s: Option<u32>,
    pub enabled: Option<bool>,
    /// The number of a secret that was never used before, not 0; drawn by whoever stores its bytes, and they are stored already.
    pub secret: Option<u64>,
}

impl Change {
    /// The specification after it.
    pub fn applied(&self, spec: &WebhookSpec) -> WebhookSpec {
        WebhookSpec {
            url: self.url.clone().unwrap_or_else(|| spec.url.clone()),
            filter: self.filter.clone().unwrap_or_else(|| spec.filter.clone()),
            timeout_s: self.timeout_s.unwrap_or(spec.timeout_s),
            retry_for_s: self.retry_for_s.unwrap_or(spec.retry_for_s),
        }
    }

    /// Whether the receiver may answer otherwise after it.
    pub(super) fn concerns_delivery(&self) -> bool {
        self.url.is_some() || self.timeout_s.is_some() || self.retry_for_s.is_some() || self.secret.is_some()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    /// Of the events above the cursor and up to `upto`, `count` are wanted; at least one.
    Found {
        upto: u64,
        count: u32,
    },
    /// None up to `upto` is.
    Skipped {
        upto: u64,
    },
    /// Those above the cursor are no longer kept.
    Expired {
        oldest: u64,
    },
    Delivered,
    /// 410: do not come again.
    Gone,
    /// Nothing was sent: the secret that the record names is not there.
    SecretMissing,
    Failed {
        code: String,
        detail: String,
        retry_after_s: Option<u32>,
        /// Of the events that it held, in order; they are kept with a dead letter.
        cursors: Vec<u64>,
    },
}
