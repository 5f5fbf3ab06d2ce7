//! What the independent checker is told of a server, and that it finds nothing.

use crate::{PATIENCE, Server};
use anyhow::{Result, ensure};
use checker::{Failures, Target};

/// All that is the server's, with its bridge where it has a network; no failure is expected.
pub fn target(server: &Server, network: bool) -> Result<Target> {
    Ok(Target {
        data_dir: server.data_dir().to_owned(),
        url: server.url(),
        token: server.token()?,
        server: server.pid(),
        environment: None,
        bridge: network.then(|| server.bridge()),
        ledger: None,
        failures: Failures::Found,
    })
}

/// Nothing is there, and nothing of it, that nobody knows of.
pub async fn clean(target: &Target, after: &str) -> Result<()> {
    let found = checker::settle(target, PATIENCE).await?;
    ensure!(found.is_empty(), "after {after}: {found:?}");
    Ok(())
}
