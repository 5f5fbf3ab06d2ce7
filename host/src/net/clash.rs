//! Whether the subnet is free on this machine: addresses and routes of other devices that overlap it. Pure.
//!
//! A wider route **through a gateway** (a company's 10.0.0.0/8) is no clash: ours is more specific, and clouds have such routes
//! everywhere. A wider **connected** network is one, and so is every route into a part of ours: those neighbours would be cut off.

use std::net::Ipv4Addr;

/// An IPv4 network; the bits behind the prefix do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Net {
    pub address: Ipv4Addr,
    pub prefix: u8,
}

impl Net {
    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0)
    }

    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) & self.mask())
    }

    fn contains(self, other: Net) -> bool {
        self.prefix <= other.prefix && self.network() == Net { prefix: self.prefix, ..other }.network()
    }
}

impl std::fmt::Display for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network(), self.prefix)
    }
}

/// How another device comes by a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// An address on the device, or a route without a gateway.
    Connected,
    ThroughGateway,
}

/// Whether what another device has stands in the way of `ours`.
pub(super) fn clashes(ours: Net, theirs: Net, claim: Claim) -> bool {
    if theirs.prefix == 0 {
        return false;
    }
    match claim {
        Claim::Connected => ours.contains(theirs) || theirs.contains(ours),
        Claim::ThroughGateway => ours.contains(theirs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Net {
        Net { address: Ipv4Addr::new(a, b, c, d), prefix }
    }

    #[test]
    fn overlap_is_seen_both_ways_and_gateways_are_told_apart() {
        let ours = net(10, 77, 0, 1, 16);
        let cases = [
            (net(10, 77, 3, 0, 24), Claim::Connected, true),
            (net(10, 77, 3, 0, 24), Claim::ThroughGateway, true),
            (net(10, 0, 0, 5, 8), Claim::Connected, true),
            (net(10, 0, 0, 0, 8), Claim::ThroughGateway, false),
            (net(10, 78, 0, 0, 16), Claim::Connected, false),
            (net(10, 77, 0, 1, 32), Claim::Connected, true),
            (net(0, 0, 0, 0, 0), Claim::ThroughGateway, false),
            (net(0, 0, 0, 0, 0), Claim::Connected, false),
        ];
        for (theirs, claim, expected) in cases {
            assert_eq!(clashes(ours, theirs, claim), expected, "{theirs} {claim:?}");
        }
        assert_eq!(ours.to_string(), "10.77.0.0/16");
    }
}
