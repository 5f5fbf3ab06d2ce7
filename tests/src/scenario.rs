//! One test's frame: what the machine must have, an end to every hang, and what the servers said when it fails.

use crate::{Machine, Need, server::Log};
use anyhow::{Context, Result};
use std::{cell::RefCell, time::Duration};

/// The longest takes a quarter of this on two busy cores.
const LONGEST: Duration = Duration::from_secs(300);

thread_local! {
    /// Of the servers that this test made: a test's own future is polled on the test's thread only.
    static LOGS: RefCell<Vec<Log>> = const { RefCell::new(Vec::new()) };
}

/// Runs the test, unless the machine lacks what it needs: then SKIPPED is said and counted.
pub async fn scenario<F>(name: &str, needs: &[Need], body: F) -> Result<()>
where
    F: AsyncFnOnce(Machine) -> Result<()>,
{
    scenario_within(name, needs, LONGEST, body).await
}

/// The same for what takes as long as it is told to.
pub async fn scenario_within<F>(name: &str, needs: &[Need], longest: Duration, body: F) -> Result<()>
where
    F: AsyncFnOnce(Machine) -> Result<()>,
{
    let Some(machine) = Machine::with(name, needs) else { return Ok(()) };
    LOGS.take();
    // A dropped body takes its servers and browsers along.
    let outcome = match tokio::time::timeout(longest, body(machine)).await {
        Ok(outcome) => outcome,
        Err(elapsed) => Err(elapsed).with_context(|| format!("{name} hangs: no end after {longest:?}")),
    };
    let logs = LOGS.take();
    if outcome.is_err() || std::env::var_os("HEARTH_SHOW_LOG").is_some() {
        for (number, log) in logs.iter().enumerate() {
            eprintln!("--- what server {} of {name} said ---\n{}--- end ---", number + 1, log.text());
        }
    }
    outcome
}

pub(crate) fn remember(log: Log) {
    LOGS.with_borrow_mut(|logs| logs.push(log));
}
