//! Waiting for operations: by the server (`?wait=`) or here, step by step, for those who show progress.

use super::error::ClientError;
use super::http::Client;
use super::limits::{POLL_FIRST, POLL_LONGEST, POLL_OUTAGE};
use crate::problem::Problem;
use crate::v1::{Operation, OperationStatus};
use std::time::{Duration, Instant};

/// What may be said with a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Let the server wait for the end of the operation; at most 300.
    pub wait_s: Option<u32>,
    /// Only if the resource is of this generation.
    pub if_match: Option<u64>,
    /// Of a POST; made for each call when absent.
    pub idempotency_key: Option<String>,
}

/// The answer to a change.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted<T> {
    /// The resource as it was when the answer was given; absent when it is gone.
    pub resource: Option<T>,
    /// The operation that goes on; absent when all is done.
    pub operation: Option<String>,
}

impl Client {
    /// Follows the operation to its end, calling `seen` with each version of it. A failed one is an error with the problem it met.
    ///
    /// Errors: [`ClientError::StillRunning`] after `timeout`; a server that is away is awaited for a bounded time.
    /// Cancel: the operation goes on.
    pub async fn follow(&self, id: &str, timeout: Duration, mut seen: impl FnMut(&Operation)) -> Result<Operation, ClientError> {
        let start = Instant::now();
        let mut away_since: Option<Instant> = None;
        let mut pause = POLL_FIRST;
        loop {
            match self.operations().get(id).await {
                Ok(operation) => {
                    away_since = None;
                    seen(&operation);
                    match operation.status {
                        OperationStatus::Running => {}
                        OperationStatus::Unknown => {
                            let detail = format!("operation {id} has a status that this client does not know");
                            return Err(ClientError::Protocol { url: self.base_url().to_owned(), detail });
                        }
                        _ => return ended(operation),
                    }
                }
                Err(error) if error.is_transient() && away_since.get_or_insert_with(Instant::now).elapsed() < POLL_OUTAGE => {}
                Err(error) => return Err(error),
            }
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(ClientError::StillRunning { operation: id.to_owned(), after: timeout });
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 3 / 2).min(POLL_LONGEST);
        }
    }
}

fn ended(operation: Operation) -> Result<Operation, ClientError> {
    match operation.status {
        OperationStatus::Failed => {
            let problem = operation.error.unwrap_or_else(|| Problem {
                title: "operation failed".to_owned(),
                code: "operation-failed".to_owned(),
                detail: format!("operation {} failed without a reason", operation.id),
                ..Problem::default()
            });
            Err(ClientError::Problem(Box::new(problem)))
        }
        OperationStatus::Cancelled => Err(ClientError::Cancelled { operation: operation.id }),
        _ => Ok(operation),
    }
}
