//! Faults on purpose at the one place where decisions become durable; only tests are built with it.

use crate::error::CommandError;
use async_trait::async_trait;

/// Stands around every commit. What it refuses was not written (`before`), or was written and is not told (`after`).
#[async_trait]
pub trait CommitGate: Send + Sync + 'static {
    async fn before(&self) -> Result<(), CommandError>;
    async fn after(&self) -> Result<(), CommandError>;
    /// Before it is asked whether the journal has settled.
    async fn settle(&self) {}
}
