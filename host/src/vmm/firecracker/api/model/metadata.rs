//! MMDS: what a guest learns of itself from a link-local address that only its Firecracker answers.

use super::{super::Invalid, Check, DeviceId};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MmdsConfig {
    #[serde(default)]
    pub version: MmdsVersion,
    /// Interfaces through which it is heard, configured before this is said.
    pub network_interfaces: Vec<DeviceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4_address: Option<Ipv4Addr>,
    /// Answers as EC2's does, in plain text whatever was asked for: what cloud-init wants.
    /// Not said where it is off: releases before it refuse the word.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imds_compat: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MmdsVersion {
    /// Anyone who can send a GET reads it: also what a service in the guest is tricked into.
    #[default]
    V1,
    /// By session, whose token is asked for by PUT.
    V2,
}

impl Check for MmdsConfig {
    fn check(&self) -> Result<(), Invalid> {
        let allowed = |address: &Ipv4Addr| matches!(address.octets(), [169, 254, 1..=254, _]);
        match self.ipv4_address.filter(|address| !allowed(address)) {
            Some(address) => Err(Invalid::MetadataAddress { address }),
            None => Ok(()),
        }
    }
}
