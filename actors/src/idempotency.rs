//! What was answered to a POST with an `Idempotency-Key`: kept in the journal, written in the same batch as the effect that it stands for.

use serde::{Deserialize, Serialize};
use storage::envelope::Stored;

pub const TABLE: &str = "idempotency";

/// The key of a request, and what it asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    pub key: String,
    /// Of method, path and body: the same key with another one is refused.
    pub fingerprint: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub fingerprint: [u8; 32],
    pub at_ms: u64,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The command was accepted.
    Accepted { kind: domain::event::Kind, id: String, operation: Option<domain::OperationId> },
    /// It was refused with this status and problem document (JSON).
    Refused { status: u16, problem: String },
    /// It was answered with this status and JSON body.
    Answered { status: u16, body: String },
}

impl Stored for Record {
    const SCHEMA: u16 = 1;
    const NAME: &'static str = "idempotency";
}
