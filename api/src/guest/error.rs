//! What the agent answers when it cannot do what it was asked.
use serde::{Deserialize, Serialize};

/// Why, in a form that programs decide by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// The agent does not know this message.
    Unsupported,
    /// The message is known but its content cannot be.
    InvalidRequest,
    /// No such program, user, folder, stream or device.
    NotFound,
    /// The agent, or the user it was to act as, has no right to.
    PermissionDenied,
    /// The agent has as many streams as it takes; end one first.
    Busy,
    /// Nobody listens at that port of the guest.
    ConnectionRefused,
    /// A message came before hello: the agent has started anew and knows no session.
    NoSession,
    /// The guest's kernel refused.
    Failed,
    /// A code of a later generation.
    #[serde(other)]
    Unknown,
}

/// A refusal or failure, typed for programs and worded for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct GuestError {
    pub code: ErrorCode,
    pub detail: String,
}

impl GuestError {
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}
