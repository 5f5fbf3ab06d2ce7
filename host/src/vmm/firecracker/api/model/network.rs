//! How the guest talks to others: network interfaces on TAP devices, and vsock to the host.

use super::{super::Invalid, Check, DeviceId, RateLimiter, all};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Seen from the guest: `rx` is what it receives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInterface {
    pub iface_id: DeviceId,
    /// The TAP device.
    pub host_dev_name: String,
    /// `aa:bb:cc:dd:ee:ff`. Absent: Firecracker makes one up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_mac: Option<String>,
    /// 68 to 65535; the guest's driver takes it over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rx_rate_limiter: Option<RateLimiter>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tx_rate_limiter: Option<RateLimiter>,
}

impl Check for NetworkInterface {
    fn check(&self) -> Result<(), Invalid> {
        if let Some(mtu) = self.mtu.filter(|mtu| !(68..=65_535).contains(mtu)) {
            return Err(Invalid::Mtu { mtu });
        }
        all(self.rx_rate_limiter.iter().chain(&self.tx_rate_limiter))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInterfaceUpdate {
    pub iface_id: DeviceId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rx_rate_limiter: Option<RateLimiter>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tx_rate_limiter: Option<RateLimiter>,
}

impl Check for NetworkInterfaceUpdate {
    fn check(&self) -> Result<(), Invalid> {
        all(self.rx_rate_limiter.iter().chain(&self.tx_rate_limiter))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vsock {
    /// 3 or more. Unique only within its machine: each Firecracker has a vsock of its own.
    pub guest_cid: u32,
    /// Made by Firecracker at start; must not be there before.
    pub uds_path: PathBuf,
}

impl Check for Vsock {
    fn check(&self) -> Result<(), Invalid> {
        if self.guest_cid < 3 { Err(Invalid::Cid { cid: self.guest_cid }) } else { Ok(()) }
    }
}
