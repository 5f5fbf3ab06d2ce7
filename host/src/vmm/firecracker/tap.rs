//! The VM's TAP device at a start. Firecracker opens it in its own network namespace, so that it is lent to the process and comes back to its place
//! before any guest runs. Owns when that is; how it is done is `net::lend`'s.

use super::super::{MachinePlan, VmmError, shared::run::Run};
use super::api::{Configuring, Microvm};
use super::config::{Config, Port};
use super::start::start_error;
use crate::net::{NetError, lend};
use std::time::Duration;

/// Between the end of a process and the news of it.
const ENDING: Duration = Duration::from_millis(100);

/// Where the TAP device of a VM is now: what was attached.
pub async fn port(plan: &MachinePlan) -> Result<Option<Port>, VmmError> {
    let Some(nic) = plan.nics.first() else { return Ok(None) };
    let bridge = lend::bridge_of(&nic.tap).await.map_err(|error| network_error(&error))?;
    Ok(Some(Port { bridge, mac: nic.mac }))
}

fn network_error(error: &NetError) -> VmmError {
    VmmError::Network { detail: error.to_string() }
}

/// Of a machine that was loaded: as it is when a guest runs. A TAP that is there stays.
pub async fn bring_home(config: &Config, run: &Run) -> Result<(), VmmError> {
    let Some((tap, port)) = config.lent() else { return Ok(()) };
    if lend::bridge_of(tap).await.is_ok_and(|bridge| bridge == port.bridge) {
        return Ok(());
    }
    let back = lend::take_back(tap, run.pidfd(), port.bridge.as_deref(), Some(port.mac)).await;
    back.map_err(|error| network_error(&error))
}

/// Firecracker opens the TAP in its own network namespace. No guest runs before it is back and bound, so that one that runs has its network,
/// whenever hearth dies.
pub async fn add_network_interface(machine: &Microvm<Configuring>, config: &Config, run: &Run) -> Result<(), VmmError> {
    let Some(nic) = &config.nic else { return Ok(()) };
    with_tap(config, run, async { machine.add_network_interface(nic).await.map_err(start_error) }).await
}

/// Has the process do what opens the TAP, once the TAP is where the process sees it.
pub async fn with_tap<T>(config: &Config, run: &Run, open: impl Future<Output = Result<T, VmmError>>) -> Result<T, VmmError> {
    let Some((tap, port)) = config.lent() else { return open.await };
    let lent = async {
        lend::lend(tap, run.pidfd()).await.map_err(|error| network_error(&error))?;
        let opened = open.await;
        // Also after a refusal: the device outlives the process.
        let back = lend::take_back(tap, run.pidfd(), port.bridge.as_deref(), Some(port.mac)).await;
        opened.and_then(|opened| back.map(|()| opened).map_err(|error| network_error(&error)))
    };
    match lent.await {
        // A namespace that can't be entered is that of a process that is ending.
        Err(VmmError::Network { .. }) if tokio::time::timeout(ENDING, run.exited()).await.is_ok() => Err(VmmError::Gone),
        result => result,
    }
}
