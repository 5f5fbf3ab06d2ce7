//! Waiting: on a condition, with a deadline, and with words for what did not come. Nothing here waits for time to pass.

use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};

/// The slowest thing that a healthy hearth does on a machine with two busy cores and emulated guests: a boot that took 8 s, times seven.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that announces nothing.
const LOOK: Duration = Duration::from_millis(25);

/// Looks again and again until `look` gives something.
pub async fn until<T, F>(what: &str, deadline: Duration, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await.with_context(|| format!("while waiting for {what}"))? {
            return Ok(found);
        }
        if begun.elapsed() > deadline {
            bail!("{what} did not come within {deadline:?}");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The same for what needs no await.
pub fn until_now(what: &str, deadline: Duration, mut look: impl FnMut() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !look() {
        if begun.elapsed() > deadline {
            bail!("{what} did not come within {deadline:?}");
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// A deadline for one thing.
pub async fn within<T>(what: &str, deadline: Duration, work: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(deadline, work).await.with_context(|| format!("{what} did not end within {deadline:?}"))
}
