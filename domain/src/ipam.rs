//! Address management of one IPv4 network: which address a VM gets, and the MAC that goes with it.

use std::{collections::BTreeSet, net::Ipv4Addr};

/// A network whose first address is the host's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    network: u32,
    prefix: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    #[error("must look like 10.77.0.0/16")]
    Malformed,
    #[error("the prefix must be 8 to 29")]
    BadPrefix,
    #[error("must be the network's own address: no bits behind the prefix")]
    HostBits,
}

impl Subnet {
    pub fn parse(text: &str) -> Result<Subnet, SubnetError> {
        let (address, prefix) = text.split_once('/').ok_or(SubnetError::Malformed)?;
        let address: Ipv4Addr = address.parse().map_err(|_| SubnetError::Malformed)?;
        let prefix: u8 = prefix.parse().map_err(|_| SubnetError::Malformed)?;
        if !(8..=29).contains(&prefix) {
            return Err(SubnetError::BadPrefix);
        }
        let network = u32::from(address);
        if network & (u32::MAX >> prefix) != 0 {
            return Err(SubnetError::HostBits);
        }
        Ok(Subnet { network, prefix })
    }

    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The host's own address on the bridge.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(self.network + 1)
    }

    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from(self.network)
    }

    /// How many VMs find place: all but the network, the gateway and the broadcast address.
    pub fn room(self) -> u32 {
        (1 << (32 - self.prefix)) - 3
    }

    fn nth(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.network + 2 + offset)
    }
}

/// Which addresses are given. Rebuilt from the VMs' records at start.
#[derive(Debug)]
pub struct Pool {
    subnet: Subnet,
    given: BTreeSet<Ipv4Addr>,
    /// Where the search goes on: a freed address is given again as late as possible, so that caches elsewhere forget it.
    next: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all {0} addresses of the network are given")]
pub struct Exhausted(pub u32);

impl Pool {
    pub fn new(subnet: Subnet) -> Pool {
        Pool { subnet, given: BTreeSet::new(), next: 0 }
    }

    pub fn subnet(&self) -> Subnet {
        self.subnet
    }

    /// Enters an address that a record says is given.
    pub fn hold(&mut self, address: Ipv4Addr) {
        self.given.insert(address);
        let offset = u32::from(address).wrapping_sub(self.subnet.network + 2);
        if offset < self.subnet.room() {
            self.next = self.next.max(offset + 1) % self.subnet.room();
        }
    }

    pub fn give(&mut self) -> Result<Ipv4Addr, Exhausted> {
        let room = self.subnet.room();
        if self.given.len() as u64 >= u64::from(room) {
            return Err(Exhausted(room));
        }
        for step in 0..room {
            let offset = (self.next + step) % room;
            let address = self.subnet.nth(offset);
            if self.given.insert(address) {
                self.next = (offset + 1) % room;
                return Ok(address);
            }
        }
        Err(Exhausted(room))
    }

    pub fn take_back(&mut self, address: Ipv4Addr) {
        self.given.remove(&address);
    }
}

/// A locally administered unicast MAC that is unique as long as the address is: 02:68 ("h") and the address.
pub fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x68, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_are_checked() {
        assert_eq!(Subnet::parse("10.77.0.0/16").map(Subnet::gateway), Ok(Ipv4Addr::new(10, 77, 0, 1)));
        assert_eq!(Subnet::parse("10.77.0.1/16"), Err(SubnetError::HostBits));
        assert_eq!(Subnet::parse("10.77.0.0/30"), Err(SubnetError::BadPrefix));
        assert_eq!(Subnet::parse("ten"), Err(SubnetError::Malformed));
    }

    #[test]
    fn no_address_is_given_twice_and_all_are_given() -> Result<(), Exhausted> {
        let mut pool = Pool::new(Subnet::parse("10.0.0.0/29").map_err(|_| Exhausted(0))?);
        pool.hold(Ipv4Addr::new(10, 0, 0, 3));
        let mut seen = BTreeSet::new();
        for _ in 0..4 {
            assert!(seen.insert(pool.give()?));
        }
        assert!(!seen.contains(&Ipv4Addr::new(10, 0, 0, 3)));
        assert_eq!(pool.give(), Err(Exhausted(5)));
        pool.take_back(Ipv4Addr::new(10, 0, 0, 4));
        assert_eq!(pool.give(), Ok(Ipv4Addr::new(10, 0, 0, 4)));
        Ok(())
    }

    #[test]
    fn a_mac_is_local_and_unicast() {
        assert_eq!(mac_of(Ipv4Addr::new(10, 77, 0, 2))[0] & 3, 2);
    }
}
