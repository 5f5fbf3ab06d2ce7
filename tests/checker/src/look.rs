//! One look at everything, and looks until all is well.

use crate::{Failures, Finding, Kind, Seen, Target, disk, groups, ledger::Ledger, mounts, network, processes, seen::Api};
use anyhow::Result;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Between two looks at a machine on which something is still going on.
const LOOK: Duration = Duration::from_millis(200);

/// One look. Everything that is wrong at this moment.
pub async fn look(target: &Target) -> Result<Vec<Finding>> {
    let seen = Seen::by_api(target).await?;
    let mut found = Vec::new();
    found.extend(processes::check(target, &seen)?);
    found.extend(network::check(target, &seen)?);
    found.extend(mounts::check(target)?);
    found.extend(groups::check(target, &seen)?);
    found.extend(disk::check(target, &seen)?);
    found.extend(seen.unfinished());
    if target.failures == Failures::Found {
        found.extend(seen.failures());
    }
    if let Some(path) = &target.ledger {
        let ledger = Ledger::read(path)?;
        let (api, mut ended) = (Api::of(target)?, BTreeMap::new());
        for id in ledger.operations() {
            if let Some(status) = api.operation(&id).await? {
                ended.insert(id, status);
            }
        }
        found.extend(ledger.check(&seen, &ended, target.failures));
    }
    // What changed while it was looked at can't be judged.
    if Seen::by_api(target).await? != seen {
        found.push(Finding::new(Kind::Unfinished, "something changed during the look"));
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
