//! The guest's network: what the host sets and what the agent reports.
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What one interface is to be. Addresses that it has and that are not named here are taken away, so that a clone sheds its origin's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkConfig {
    /// Its present MAC (`52:54:00:…`) or name; the first Ethernet interface if absent.
    pub interface: Option<String>,
    /// Given to the interface before its addresses: a restored guest has its origin's.
    pub mac: Option<String>,
    pub mtu: Option<u32>,
    pub addresses: Vec<InterfaceAddress>,
    /// Default routes, at most one a family.
    pub gateways: Vec<IpAddr>,
    /// Replaces `/etc/resolv.conf` if not empty.
    pub dns: Vec<IpAddr>,
    pub hostname: Option<String>,
}

/// An address with the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceAddress {
    pub address: IpAddr,
    pub prefix: u8,
}

/// What an interface has now. Loopback is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InterfaceAddresses {
    pub interface: String,
    pub mac: String,
    pub addresses: Vec<InterfaceAddress>,
}

impl InterfaceAddress {
    /// Reads `10.77.0.5/16`. `None` when the address or the prefix cannot be.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let prefix: u8 = prefix.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= most).then_some(Self { address, prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::InterfaceAddress;

    #[test]
    fn reads_addresses_with_prefix() {
        assert_eq!(InterfaceAddress::parse("10.77.0.5/16").unwrap().prefix, 16);
        assert!(InterfaceAddress::parse("fd00::5/64").unwrap().address.is_ipv6());
        for wrong in ["10.77.0.5", "10.77.0.5/33", "10.77.0/16", "fd00::/129", "/8", ""] {
            assert_eq!(InterfaceAddress::parse(wrong), None, "{wrong}");
        }
    }
}
