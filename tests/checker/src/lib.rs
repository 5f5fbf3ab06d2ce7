//! An independent look at a machine on which hearth runs: does everything that is there belong to something that hearth knows, is
//! everything there that hearth has promised? Reads `/proc`, the kernel's devices and rules (by `ip -j` and `nft -j`), the cgroups, the
//! disk and the REST API; uses no code of hearth's, changes nothing.
//!
//! What users were told is in a ledger ([`ledger`]), which whoever asks things of hearth writes.

mod disk;
mod finding;
mod groups;
pub mod ledger;
mod mounts;
mod network;
mod processes;
mod seen;

pub use finding::{Finding, Kind};
pub use groups::hierarchy;
pub use seen::{Seen, SeenVm, Target};

use anyhow::Result;
use std::time::{Duration, Instant};

/// Between two looks at a machine on which something is still going on.
const LOOK: Duration = Duration::from_millis(200);

/// One look. Everything that is wrong at this moment.
pub async fn look(target: &Target) -> Result<Vec<Finding>> {
    // The API is asked before and after: what changed meanwhile is no finding but a reason to look again.
    let seen = Seen::by_api(target).await?;
    let mut found = Vec::new();
    found.extend(processes::check(target, &seen)?);
    found.extend(network::check(target, &seen)?);
    found.extend(mounts::check(target)?);
    found.extend(groups::check(target, &seen)?);
    found.extend(disk::check(target, &seen)?);
    found.extend(seen.unfinished());
    if let Some(path) = &target.ledger {
        found.extend(ledger::Ledger::read(path)?.check(&seen));
    }
    Ok(found)
}

/// Looks until nothing is wrong, or until the time is up; gives what the last look found.
pub async fn settle(target: &Target, within: Duration) -> Result<Vec<Finding>> {
    let begun = Instant::now();
    loop {
        let found = look(target).await;
        if matches!(&found, Ok(found) if found.is_empty()) || begun.elapsed() > within {
            return found;
        }
        tokio::time::sleep(LOOK).await;
    }
}
