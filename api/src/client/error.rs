//! What can go wrong between a caller and the server. The server's own refusals are [`ClientError::Problem`], word by word.

use crate::problem::Problem;
use std::error::Error;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address of the server cannot be used.
    #[error("{url} is not an address of a server: {detail}")]
    Address { url: String, detail: String },
    /// The token holds characters that no token has.
    #[error("the token is not a token: it has characters that cannot be sent")]
    Token,
    /// A name or id that cannot be part of a path.
    #[error("{name:?} is not a name or an id")]
    Name { name: String },
    /// No connection, or it broke before an answer came.
    #[error("cannot reach hearth at {url}: {detail}")]
    Connect {
        url: String,
        detail: String,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("{url} did not answer within {} s", after.as_secs())]
    Timeout { url: String, after: Duration },
    /// The server refused, or an operation failed.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    #[error("operation {operation} was cancelled")]
    Cancelled { operation: String },
    /// The wait is over, the operation is not.
    #[error("operation {operation} is still running after {} s", after.as_secs())]
    StillRunning { operation: String, after: Duration },
    /// A stream ended before it was done.
    #[error("the connection to {url} was lost: {reason}")]
    Lost { url: String, reason: String },
    /// The answer is not one of this API.
    #[error("{url} answered something unexpected: {detail}")]
    Protocol { url: String, detail: String },
}

impl ClientError {
    /// What to do about it; empty when there is nothing to say.
    pub fn hint(&self) -> String {
        match self {
            ClientError::Address { .. } => "give an address such as http://127.0.0.1:18080".to_owned(),
            ClientError::Token => "use the token without quotes or line breaks".to_owned(),
            ClientError::Name { .. } => String::new(),
            ClientError::Connect { .. } => {
                "start the server with `hearth up`, or name another with --url or HEARTH_URL".to_owned()
            }
            ClientError::Timeout { .. } => "the server is busy or not hearth; try again".to_owned(),
            ClientError::Problem(problem) => problem.hint.clone(),
            ClientError::Cancelled { .. } => String::new(),
            ClientError::StillRunning { operation, .. } => format!("go on waiting with `hearth operation wait {operation}`"),
            ClientError::Lost { .. } => "connect again".to_owned(),
            ClientError::Protocol { .. } => "check that the address is that of a hearth server of this version".to_owned(),
        }
    }

    /// The stable code where the server gave one.
    pub fn code(&self) -> Option<&str> {
        match self {
            ClientError::Problem(problem) => Some(&problem.code),
            _ => None,
        }
    }

    /// The HTTP status where the server gave one.
    pub fn status(&self) -> Option<u16> {
        match self {
            ClientError::Problem(problem) => Some(problem.status),
            _ => None,
        }
    }

    /// Whether trying again later may help without a change by anyone.
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Connect { .. } | ClientError::Timeout { .. } | ClientError::Lost { .. } => true,
            ClientError::Problem(problem) => matches!(problem.status, 429 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// The same as a problem document, for those who print JSON.
    pub fn to_problem(&self) -> Problem {
        let code = match self {
            ClientError::Problem(problem) => return (**problem).clone(),
            ClientError::Address { .. } => "bad-address",
            ClientError::Token => "bad-token",
            ClientError::Name { .. } => "bad-name",
            ClientError::Connect { .. } => "unreachable",
            ClientError::Timeout { .. } => "no-answer",
            ClientError::Cancelled { .. } => "cancelled",
            ClientError::StillRunning { .. } => "still-running",
            ClientError::Lost { .. } => "connection-lost",
            ClientError::Protocol { .. } => "unexpected-answer",
        };
        Problem {
            problem_type: "about:blank".to_owned(),
            status: 0,
            title: code.replace('-', " "),
            code: code.to_owned(),
            detail: self.to_string(),
            hint: self.hint(),
            ..Problem::default()
        }
    }
}

/// The innermost cause, which says most ("connection refused"), without what wraps it.
pub(super) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = cause.to_string();
    // The standard library appends the number, which helps nobody.
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}
