//! Address management of one IPv4 network: which addresses a VM's interfaces get, the MACs that go with them, and that no MAC is there twice.

use crate::{
    VmId,
    vm::{Interface, Mac, Nic, nic},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

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

/// Which addresses and MACs are given, to whom. Rebuilt from the VMs' records at start.
#[derive(Debug)]
pub struct Pool {
    subnet: Subnet,
    given: BTreeSet<Ipv4Addr>,
    /// Chosen ones and those that were made from addresses.
    macs: BTreeMap<[u8; 6], VmId>,
    /// The host's own on the network, where it has one.
    host_mac: Option<[u8; 6]>,
    /// Where the search goes on: a freed address is given again as late as possible, so that caches elsewhere forget it.
    next: u32,
}

/// Why interfaces were not given; then none was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotGiven {
    #[error("too few of the network's {0} addresses are free: delete VMs, take interfaces away from some, or ask for fewer")]
    Exhausted(u32),
    #[error("{mac} is the MAC of {holder} already: choose another one, or none to have one made")]
    MacTaken { mac: Mac, holder: VmId },
    #[error("{mac} is the MAC of the host's bridge: choose another one, or none to have one made")]
    MacOfHost { mac: Mac },
}

impl Pool {
    pub fn new(subnet: Subnet) -> Pool {
        Pool { subnet, given: BTreeSet::new(), macs: BTreeMap::new(), host_mac: None, next: 0 }
    }

    /// The host has this MAC itself: what is for it would go to a VM that had it, too.
    pub fn hold_for_host(&mut self, mac: [u8; 6]) {
        self.host_mac = Some(mac);
    }

    pub fn subnet(&self) -> Subnet {
        self.subnet
    }

    /// Enters what a record says is given.
    pub fn hold(&mut self, vm: VmId, address: Ipv4Addr, mac: [u8; 6]) {
        self.given.insert(address);
        self.macs.insert(mac, vm);
        let offset = u32::from(address).wrapping_sub(self.subnet.network + 2);
        if offset < self.subnet.room() {
            self.next = self.next.max(offset + 1) % self.subnet.room();
        }
    }

    /// The interfaces that a VM with `nics` is to have, in the guest's order: those that it has already stay as they are ([`nic::kept`]), the
    /// others are given. What goes stays held until it is taken back, for the change may yet fail.
    ///
    /// Errors: no address is left for one of them, or another VM or the host has one of the MACs; then nothing was given.
    pub fn equip(&mut self, vm: VmId, nics: &[Nic], wanted: &[Interface]) -> Result<Vec<Nic>, NotGiven> {
        let kept = nic::kept(nics, wanted);
        for mac in wanted.iter().filter_map(|one| one.mac) {
            if self.host_mac == Some(mac.bytes()) {
                return Err(NotGiven::MacOfHost { mac });
            }
            if let Some(&holder) = self.macs.get(&mac.bytes()).filter(|holder| **holder != vm) {
                return Err(NotGiven::MacTaken { mac, holder });
            }
        }
        // Before any address is looked for: none whose own MAC is one of these.
        let chosen: BTreeSet<[u8; 6]> = wanted.iter().filter_map(|one| Some(one.mac?.bytes())).collect();
        let (next, mut fresh, mut all) = (self.next, Vec::new(), Vec::new());
        for (place, (one, is)) in wanted.iter().zip(kept).enumerate() {
            let tap = nic::tap_of(vm, place);
            if let Some(nic) = is.and_then(|is| nics.get(is)) {
                all.push(Nic { tap, ..nic.clone() });
                continue;
            }
            let Some(address) = self.free(one.mac.is_none().then_some(&chosen)) else {
                for address in &fresh {
                    self.given.remove(address);
                }
                self.next = next;
                return Err(NotGiven::Exhausted(self.subnet.room()));
            };
            fresh.push(address);
            let mac = one.mac.map_or(mac_of(address), Mac::bytes);
            all.push(Nic { address, prefix: self.subnet.prefix, gateway: self.subnet.gateway(), mac, tap });
        }
        self.macs.extend(all.iter().map(|nic| (nic.mac, vm)));
        Ok(all)
    }

    /// The next address that nobody has, entered as given; with `chosen`: whose own MAC nobody has either, nor is to get.
    fn free(&mut self, chosen: Option<&BTreeSet<[u8; 6]>>) -> Option<Ipv4Addr> {
        let room = self.subnet.room();
        if self.given.len() as u64 >= u64::from(room) {
            return None;
        }
        for step in 0..room {
            let offset = (self.next + step) % room;
            let address = self.subnet.nth(offset);
            let mac = mac_of(address);
            let is_taken =
                |chosen: &BTreeSet<_>| chosen.contains(&mac) || self.macs.contains_key(&mac) || self.host_mac == Some(mac);
            if chosen.is_some_and(is_taken) {
                continue;
            }
            if self.given.insert(address) {
                self.next = (offset + 1) % room;
                return Some(address);
            }
        }
        None
    }

    /// What a VM had and has no longer.
    pub fn take_back(&mut self, vm: VmId, address: Option<Ipv4Addr>, mac: Option<[u8; 6]>) {
        if let Some(address) = address {
            self.given.remove(&address);
        }
        if let Some(mac) = mac.filter(|mac| self.macs.get(mac) == Some(&vm)) {
            self.macs.remove(&mac);
        }
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

    fn pool() -> Pool {
        Pool::new(Subnet::parse("10.0.0.0/29").unwrap())
    }

    fn vm(bits: u128) -> VmId {
        VmId::from_bits(bits)
    }

    fn plain() -> Interface {
        nic::DEFAULT_NETWORK.into()
    }

    fn with(mac: [u8; 6]) -> Interface {
        Interface { mac: Mac::new(mac).ok(), ..plain() }
    }

    fn last(nics: &[Nic]) -> Vec<u8> {
        nics.iter().map(|nic| nic.address.octets()[3]).collect()
    }

    fn drop_all(pool: &mut Pool, of: VmId, nics: &[Nic]) {
        nics.iter().for_each(|nic| pool.take_back(of, Some(nic.address), Some(nic.mac)));
    }

    #[test]
    fn no_address_is_given_twice_and_all_are_given() {
        let mut pool = pool();
        let three = Ipv4Addr::new(10, 0, 0, 3);
        pool.hold(vm(9), three, mac_of(three));
        let mut seen = BTreeSet::new();
        for bits in 0..4 {
            assert!(seen.insert(pool.equip(vm(bits), &[], &[plain()]).unwrap()[0].address));
        }
        assert!(!seen.contains(&three));
        assert_eq!(pool.equip(vm(5), &[], &[plain()]), Err(NotGiven::Exhausted(5)));
        let four = Ipv4Addr::new(10, 0, 0, 4);
        pool.take_back(vm(0), Some(four), Some(mac_of(four)));
        let given = pool.equip(vm(5), &[], &[plain()]).unwrap();
        assert_eq!(given[0].address, four);
    }

    #[test]
    fn each_interface_has_its_own_and_all_or_none_are_given() {
        let mut pool = pool();
        let two = pool.equip(vm(1), &[], &[plain(), plain()]).unwrap();
        assert_eq!(last(&two), [2, 3]);
        assert_eq!(two[0].tap, nic::tap_of(vm(1), 0));
        assert_eq!(two[1].tap, nic::tap_of(vm(1), 1));
        assert_eq!(two[1].mac, mac_of(two[1].address));
        // Three are left.
        assert_eq!(pool.equip(vm(2), &[], &vec![plain(); 4]), Err(NotGiven::Exhausted(5)));
        assert_eq!(last(&pool.equip(vm(2), &[], &vec![plain(); 3]).unwrap()), [4, 5, 6]);
    }

    #[test]
    fn a_mac_is_given_once_chosen_or_made() {
        let mut pool = pool();
        let mine = [2, 0, 0, 0, 0, 1];
        let one = pool.equip(vm(1), &[], &[with(mine), plain()]).unwrap();
        assert_eq!((one[0].mac, one[1].mac), (mine, mac_of(one[1].address)));
        for mac in [mine, one[1].mac] {
            let taken = NotGiven::MacTaken { mac: Mac::new(mac).unwrap(), holder: vm(1) };
            assert_eq!(pool.equip(vm(2), &[], &[plain(), with(mac)]), Err(taken));
        }
        // Nothing was given by what was refused: three are left, and the MAC of one of them is chosen for another.
        let next = mac_of(Ipv4Addr::new(10, 0, 0, 4));
        let two = pool.equip(vm(2), &[], &[plain(), with(next)]).unwrap();
        assert_eq!(last(&two), [5, 6]);
        assert_eq!((two[0].mac, two[1].mac), (mac_of(two[0].address), next));
        // That address has no MAC of its own to give, but takes a chosen one.
        assert_eq!(pool.equip(vm(3), &[], &[plain()]), Err(NotGiven::Exhausted(5)));
        assert_eq!(last(&pool.equip(vm(3), &[], &[with([2, 0, 0, 0, 0, 3])]).unwrap()), [4]);
        drop_all(&mut pool, vm(1), &one);
        assert_eq!(last(&pool.equip(vm(4), &[], &[with(mine)]).unwrap()), [2]);
    }

    /// Neither chosen nor made from an address.
    #[test]
    fn the_hosts_own_mac_is_no_vms() {
        let mut pool = pool();
        let (chosen, made) = ([6, 0x68, 0, 0, 0, 1], mac_of(Ipv4Addr::new(10, 0, 0, 3)));
        for host in [chosen, made] {
            pool.hold_for_host(host);
            let refused = NotGiven::MacOfHost { mac: Mac::new(host).unwrap() };
            assert_eq!(pool.equip(vm(1), &[], &[plain(), with(host)]), Err(refused));
        }
        assert_eq!(last(&pool.equip(vm(1), &[], &[plain(), plain()]).unwrap()), [2, 4]);
        assert_eq!(last(&pool.equip(vm(2), &[], &[with([2, 0, 0, 0, 0, 1])]).unwrap()), [5]);
    }

    #[test]
    fn what_is_not_given_says_what_to_do() {
        let mac = Mac::new([2, 0, 0, 0, 0, 1]).unwrap();
        for (why, remedy) in [
            (
                NotGiven::Exhausted(5),
                "too few of the network's 5 addresses are free: delete VMs, take interfaces away from some, or ask for fewer",
            ),
            (
                NotGiven::MacOfHost { mac },
                "02:00:00:00:00:01 is the MAC of the host's bridge: choose another one, or none to have one made",
            ),
        ] {
            assert_eq!(why.to_string(), remedy);
        }
    }

    /// The address of one that stays is its own for life, wherever it stands; what goes is held until it is taken back.
    #[test]
    fn what_stays_keeps_address_and_mac_and_moves_its_tap() {
        let mut pool = pool();
        let mine = [2, 0, 0, 0, 0, 1];
        let before = pool.equip(vm(1), &[], &[plain(), with(mine)]).unwrap();
        let after = pool.equip(vm(1), &before, &[with(mine), with([2, 0, 0, 0, 0, 2])]).unwrap();
        assert_eq!(after[0], Nic { tap: nic::tap_of(vm(1), 0), ..before[1].clone() });
        assert_eq!(last(&after), [3, 4]);
        assert_eq!(last(&pool.equip(vm(2), &[], &[plain(), plain()]).unwrap()), [5, 6]);
        assert_eq!(pool.equip(vm(3), &[], &[plain()]), Err(NotGiven::Exhausted(5)));
        pool.take_back(vm(1), Some(before[0].address), Some(before[0].mac));
        assert_eq!(last(&pool.equip(vm(3), &[], &[plain()]).unwrap()), [2]);
    }

    #[test]
    fn a_mac_is_local_and_unicast() {
        assert_eq!(mac_of(Ipv4Addr::new(10, 77, 0, 2))[0] & 3, 2);
    }
}
