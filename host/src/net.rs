//! The network port: one NAT network on a bridge, a TAP device per VM, address translation by nftables.
//!
//! Owns the trait, the plan and the errors; [`nat`] is the network of real machines, [`none`] stands in where the right is missing.
//! Which address a VM gets is decided in `domain::ipam`, not here.

mod clash;
pub(crate) mod lend;
mod links;
pub mod nat;
pub mod none;
mod owner;
pub(crate) mod probe;
mod rules;
mod tap;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use tap::give as give_tap;

use async_trait::async_trait;
use domain::VmId;
use std::{net::Ipv4Addr, sync::Arc};

/// The NAT network as the node wants it.
#[derive(Debug, Clone)]
pub struct NetworkPlan {
    /// `hearth0` unless told otherwise.
    pub bridge: String,
    pub gateway: Ipv4Addr,
    pub prefix: u8,
    /// Which hearth this is; stands in the alias of each device, so that a sweep touches only its own.
    pub owner: String,
}

#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error("this machine can't make network devices: {detail}")]
    NotPermitted { detail: String },
    #[error("the bridge {bridge} can't be made: {detail}")]
    Bridge { bridge: String, detail: String },
    #[error("the TAP device {tap} can't be made: {detail}")]
    Tap { tap: String, detail: String },
    #[error("the rules of nftables can't be set: {detail}")]
    Rules { detail: String },
    #[error("the address {address} is in use on another device of this machine: {detail}")]
    AddressTaken { address: Ipv4Addr, detail: String },
}

/// As the kernel counts it at the host's end of a TAP, told as the guest sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    pub received_bytes: u64,
    pub received_packets: u64,
    /// What the guest, or its VMM, did not take in time.
    pub received_dropped: u64,
    pub sent_bytes: u64,
    pub sent_packets: u64,
    pub sent_dropped: u64,
}

/// One of a VM's interfaces, as it is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    pub tap: String,
    pub address: Ipv4Addr,
    pub mac: [u8; 6],
}

#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// Makes the bridge, its address, forwarding and the rules, or repairs what is missing of them. Idempotent.
    async fn ensure(&self) -> Result<(), NetError>;
    /// Makes a TAP device of the VM on the bridge, isolated from its neighbours. One that is there already is put right.
    async fn attach(&self, vm: VmId, tap: &str) -> Result<(), NetError>;
    /// Binds a VM to its interfaces, all of them, so that it can't take a neighbour's place: after [`Network::attach`] of each, and again
    /// after each. Which of its own interfaces a VM uses for which of its addresses is its own affair. Networks that have nothing to bind
    /// do nothing.
    async fn bind(&self, _vm: VmId, _interfaces: &[Interface]) -> Result<(), NetError> {
        Ok(())
    }
    /// What went through an attached TAP since it was made; absent where there is none of that name, or no network counts.
    async fn traffic(&self, _tap: &str) -> Result<Option<Traffic>, NetError> {
        Ok(None)
    }
    /// The MAC that the host itself has on the network, which is no VM's. Absent: it has none.
    fn own_mac(&self) -> Option<[u8; 6]> {
        None
    }
    /// Removes it; absent is no error.
    async fn detach(&self, tap: &str) -> Result<(), NetError>;
    /// Removes TAP devices of this owner that are not in `known` (names of TAP devices). Says what was removed.
    async fn sweep(&self, known: &[String]) -> Result<Vec<String>, NetError>;
    /// Removes the bridge and the rules: `hearth down`.
    async fn tear_down(&self) -> Result<(), NetError>;
}

/// The network of this machine, made for real: what comes back works. On an error no bridge is left that was not there before.
pub async fn detect(plan: NetworkPlan) -> Result<Arc<dyn Network>, NetError> {
    let network = nat::NatNetwork::open(plan)?;
    let had_bridge = network.has_bridge().await?;
    if let Err(error) = network.ensure().await {
        if !had_bridge && let Err(left) = network.undo().await {
            tracing::debug!(error = %left, "what the failed detection made can't be taken back");
        }
        return Err(error);
    }
    Ok(Arc::new(network))
}
