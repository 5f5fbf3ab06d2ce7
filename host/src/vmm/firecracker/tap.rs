//! The VM's TAP devices at a start. Firecracker opens them in its own network namespace, so that they are lent to the process and come back to their
//! places before any guest runs, all or none: one that can't come back ends the start, and with the process what is still there. Owns when that is; how it is done is `net::lend`'s.

use super::super::{MachinePlan, VmmError, shared::run::Run};
use super::api::{Configuring, Microvm, model::NetworkInterface};
use super::config::{Config, Port};
use super::start::start_error;
use crate::net::{NetError, lend};
use std::time::Duration;

/// Between the end of a process and the news of it.
const ENDING: Duration = Duration::from_millis(100);

/// Where the TAP devices of a VM are now: what was attached. In the interfaces' order.
pub async fn ports(plan: &MachinePlan) -> Result<Vec<Port>, VmmError> {
    let mut ports = Vec::new();
    for nic in &plan.nics {
        let bridge = lend::bridge_of(&nic.tap).await.map_err(|error| network_error(&error))?;
        ports.push(Port { bridge, mac: nic.mac, address: Some(nic.address) });
    }
    Ok(ports)
}

fn network_error(error: &NetError) -> VmmError {
    VmmError::Network { detail: error.to_string() }
}

/// Of a machine that was loaded: as it is when a guest runs. One that is on its bridge already may be open to any MAC still.
pub async fn bring_home(config: &Config, run: &Run) -> Result<(), VmmError> {
    for (tap, port) in config.lent() {
        take_back(tap, port, run).await.map_err(|error| network_error(&error))?;
    }
    Ok(())
}

async fn take_back(tap: &str, port: &Port, run: &Run) -> Result<(), NetError> {
    lend::take_back(tap, run.pidfd(), port.bridge.as_deref(), Some(port.mac)).await
}

/// To the first error, which is told when all are lent again, or is over by then. What was lent stays with the process.
pub async fn lend_all(config: &Config, run: &Run) -> Result<(), NetError> {
    for (tap, _port) in config.lent() {
        lend::lend(tap, run.pidfd()).await?;
    }
    Ok(())
}

/// Firecracker opens the TAPs in its own network namespace. No guest runs before they are back and bound, so that one that runs has its network,
/// whenever hearth dies.
pub async fn add_network_interfaces(machine: &Microvm<Configuring>, config: &Config, run: &Run) -> Result<(), VmmError> {
    let add = async {
        // One that is said again goes behind the others, and the guest would have them in another order.
        let known = match config.further.is_empty() {
            true => Vec::new(),
            false => machine.full_config().await.map_err(start_error)?.network_interfaces,
        };
        let is_known = |nic: &NetworkInterface| known.iter().any(|known| known.iface_id == nic.iface_id);
        for nic in config.nics().filter(|nic| !is_known(nic)) {
            machine.add_network_interface(nic).await.map_err(start_error)?;
        }
        Ok(())
    };
    with_taps(config, run, add).await
}

/// Has the process do what opens the TAPs, once they are where the process sees them.
pub async fn with_taps<T>(config: &Config, run: &Run, open: impl Future<Output = Result<T, VmmError>>) -> Result<T, VmmError> {
    if config.lent().next().is_none() {
        return open.await;
    }
    let lent = async {
        let opened = match lend_all(config, run).await {
            Ok(()) => open.await,
            Err(error) => Err(network_error(&error)),
        };
        // Each, also after a refusal: the devices outlive the process.
        let mut back = Ok(());
        for (tap, port) in config.lent() {
            let taken = take_back(tap, port, run).await;
            back = back.and(taken);
        }
        opened.and_then(|opened| back.map(|()| opened).map_err(|error| network_error(&error)))
    };
    match lent.await {
        // A namespace that can't be entered is that of a process that is ending.
        Err(VmmError::Network { .. }) if tokio::time::timeout(ENDING, run.exited()).await.is_ok() => Err(VmmError::Gone),
        result => result,
    }
}

#[cfg(test)]
mod tests;
