//! The network interfaces of a VM: what may be asked of them, what a MAC is, and which of them a change leaves as they are. Which addresses
//! the others get is [`crate::ipam`]'s.

use super::{drives::DRIVES_MAX, spec::SpecProblem, state::Nic};
use crate::{VmId, ipam::mac_of};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The NAT network on the bridge `hearth0`.
pub const DEFAULT_NETWORK: &str = "default";
/// As many as there may be data drives; more than any guest that we know asks for.
pub const NETWORKS_MAX: usize = 8;
/// Interfaces, data drives, the seed of cloud-init and the device of memory that is given while the VM runs together: for more a machine of Firecracker's has no interrupts (docs/FIRECRACKER.md). QEMU's
/// has; but what a VM may be is the same on both.
pub const SLOTS_MAX: usize = 13;

const FIELD: &str = "spec.networks";

/// An Ethernet address of one station: neither a group's nor all zero. As a text `02:68:0a:4d:00:02`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mac([u8; 6]);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadMac {
    #[error("a MAC looks like 02:68:0a:4d:00:02")]
    Malformed,
    #[error("this MAC is that of a group: the first byte must be even, and 02, 06, 0a or 0e where it is your own choice")]
    Group,
    #[error("all zero is no MAC")]
    Zero,
}

impl Mac {
    pub fn new(bytes: [u8; 6]) -> Result<Mac, BadMac> {
        match bytes {
            [0, 0, 0, 0, 0, 0] => Err(BadMac::Zero),
            [first, ..] if first & 1 == 1 => Err(BadMac::Group),
            bytes => Ok(Mac(bytes)),
        }
    }

    /// That of an interface, which was given one.
    pub fn of(nic: &Nic) -> Mac {
        Mac(nic.mac)
    }

    pub fn bytes(self) -> [u8; 6] {
        self.0
    }
}

/// Six bytes of two hexadecimal digits each, in either case.
impl FromStr for Mac {
    type Err = BadMac;

    fn from_str(text: &str) -> Result<Mac, BadMac> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit()));
            *byte = part.and_then(|part| u8::from_str_radix(part, 16).ok()).ok_or(BadMac::Malformed)?;
        }
        if parts.next().is_some() { Err(BadMac::Malformed) } else { Mac::new(bytes) }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// One interface as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The network's name. The same may be named more than once.
    pub network: String,
    /// Absent: made from the address.
    pub mac: Option<Mac>,
}

impl From<&str> for Interface {
    fn from(network: &str) -> Interface {
        network.to_owned().into()
    }
}

impl From<String> for Interface {
    fn from(network: String) -> Interface {
        Interface { network, mac: None }
    }
}

/// What becomes of a VM's interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworksChange {
    /// All of them from now on, in the guest's order.
    pub wanted: Vec<Interface>,
    /// One for each, by who gives addresses; none where the machine has no network, and then `note` says why.
    pub nics: Vec<Nic>,
    pub note: Option<String>,
}

impl NetworksChange {
    /// What is asked; what is given is entered by who gives it.
    pub fn to(wanted: Vec<Interface>) -> NetworksChange {
        NetworksChange { wanted, nics: Vec::new(), note: None }
    }
}

/// For each that is wanted the place, among those that are, of the one that it is; absent: it is a new one. One with a MAC is the one that
/// has it, chosen or not; those without are, in order, those whose MAC was made from the address and that nobody names. All others go.
pub fn kept(nics: &[Nic], wanted: &[Interface]) -> Vec<Option<usize>> {
    let mut places: Vec<Option<usize>> =
        wanted.iter().map(|one| one.mac.and_then(|mac| nics.iter().position(|nic| nic.mac == mac.bytes()))).collect();
    let named = places.clone();
    let plain = nics.iter().enumerate().filter(|(place, nic)| nic.mac == mac_of(nic.address) && !named.contains(&Some(*place)));
    let unnamed = places.iter_mut().zip(wanted).filter(|(_, one)| one.mac.is_none());
    for ((place, _), (is, _)) in unnamed.zip(plain) {
        *place = Some(is);
    }
    places
}

/// The name of the TAP of a VM's interface on the host, by its place: at most 15 characters. The first is called as the only one was before
/// there could be several.
pub fn tap_of(vm: VmId, place: usize) -> String {
    match place {
        0 => format!("hrt{}", vm.short()),
        place => format!("hrt{}{place}", vm.short()),
    }
}

/// All that a VM's TAPs may be called, whatever interfaces it has.
pub fn taps_of(vm: VmId) -> impl Iterator<Item = String> {
    (0..NETWORKS_MAX).map(move |place| tap_of(vm, place))
}

/// All that is impossible whatever is given already; `others`: how many data drives, seeds and devices for memory the VM has.
pub(super) fn check(wanted: &[Interface], others: usize) -> Vec<SpecProblem> {
    let mut problems = Vec::new();
    let mut add = |detail: String| problems.push(SpecProblem { field: FIELD, detail });
    // More drives than there may be are told by themselves.
    let most = NETWORKS_MAX.min(SLOTS_MAX.saturating_sub(others.min(DRIVES_MAX + 2)));
    if wanted.len() > most {
        let with = if most < NETWORKS_MAX {
            format!(" beside {others} data drives, seeds and devices for memory")
        } else {
            String::new()
        };
        add(format!("must not be more than {most}{with}, not {}", wanted.len()));
        return problems;
    }
    if wanted.iter().any(|one| one.network != DEFAULT_NETWORK) {
        add(format!("the only network so far is \"{DEFAULT_NETWORK}\""));
    }
    for (place, mac) in wanted.iter().enumerate().filter_map(|(place, one)| Some((place, one.mac?))) {
        if wanted.iter().take(place).any(|before| before.mac == Some(mac)) {
            add(format!("two have the MAC {mac}"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn mac(text: &str) -> Mac {
        text.parse().unwrap()
    }

    fn plain() -> Interface {
        DEFAULT_NETWORK.into()
    }

    fn with(text: &str) -> Interface {
        Interface { mac: Some(mac(text)), ..plain() }
    }

    /// The last byte of its address, which its MAC is made from where none is chosen.
    fn nic(last: u8, chosen: Option<&str>) -> Nic {
        let address = Ipv4Addr::new(10, 0, 0, last);
        let mac = chosen.map_or(mac_of(address), |text| mac(text).bytes());
        Nic { address, prefix: 24, gateway: Ipv4Addr::new(10, 0, 0, 1), mac, tap: format!("tap{last}") }
    }

    #[test]
    fn a_mac_is_one_stations_in_either_case() {
        assert_eq!(mac("02:AB:0c:00:00:ff").to_string(), "02:ab:0c:00:00:ff");
        assert_eq!(mac("00:00:00:00:00:01").bytes(), [0, 0, 0, 0, 0, 1]);
        for (text, why) in [
            ("", BadMac::Malformed),
            ("02:00:00:00:00", BadMac::Malformed),
            ("02:00:00:00:00:00:00", BadMac::Malformed),
            ("2:0:0:0:0:0", BadMac::Malformed),
            ("02-00-00-00-00-01", BadMac::Malformed),
            ("+2:00:00:00:00:01", BadMac::Malformed),
            ("02:00:00:00:00:0g", BadMac::Malformed),
            ("01:00:5e:00:00:01", BadMac::Group),
            ("ff:ff:ff:ff:ff:ff", BadMac::Group),
            ("00:00:00:00:00:00", BadMac::Zero),
        ] {
            assert_eq!(text.parse::<Mac>(), Err(why), "{text}");
        }
    }

    #[test]
    fn what_stays_is_the_one_with_the_mac_or_the_next_without() {
        let (a, b) = ("02:00:00:00:00:0a", "02:00:00:00:00:0b");
        let nics = [nic(2, None), nic(3, Some(a)), nic(4, None)];
        assert_eq!(kept(&nics, &[plain(), with(a), plain()]), [Some(0), Some(1), Some(2)]);
        // Taken away from the end, and moved.
        assert_eq!(kept(&nics, &[plain()]), [Some(0)]);
        assert_eq!(kept(&nics, &[with(a), plain()]), [Some(1), Some(0)]);
        // Another MAC is another interface, and so is one whose MAC nobody chooses any more.
        assert_eq!(kept(&nics, &[plain(), with(b), plain(), plain()]), [Some(0), None, Some(2), None]);
        // One that is named by the MAC that was made for it is that one.
        assert_eq!(kept(&nics, &[plain(), with("02:68:0a:00:00:02")]), [Some(2), Some(0)]);
        assert_eq!(kept(&[], &[plain(), with(a)]), [None, None]);
        assert_eq!(kept(&nics, &[]), []);
    }

    #[test]
    fn taps_have_names_of_their_own_that_the_kernel_takes() {
        let vm = VmId::from_bits(u128::MAX);
        let taps: std::collections::BTreeSet<String> = taps_of(vm).collect();
        assert_eq!(taps.len(), NETWORKS_MAX);
        assert!(taps.iter().all(|tap| tap.len() <= 15), "{taps:?}");
        // What runs under an earlier hearth is found by it.
        assert_eq!(tap_of(vm, 0), format!("hrt{}", vm.short()));
    }

    #[test]
    fn bounds_are_told() {
        let told = |wanted: &[Interface], drives| -> Vec<String> {
            check(wanted, drives).into_iter().map(|problem| problem.detail).collect()
        };
        let many = |count| vec![plain(); count];
        assert_eq!(told(&many(8), 5), [""; 0]);
        assert_eq!(told(&many(9), 0), ["must not be more than 8, not 9"]);
        assert_eq!(told(&many(8), 6), ["must not be more than 7 beside 6 data drives, seeds and devices for memory, not 8"]);
        assert_eq!((told(&many(4), 9).len(), told(&many(4), 10).len(), told(&many(3), 10).len()), (0, 1, 0));
        assert_eq!(told(&["lan".into(), plain()], 0), ["the only network so far is \"default\""]);
        assert_eq!(told(&[with("02:00:00:00:00:01"), with("02:00:00:00:00:01")], 0), ["two have the MAC 02:00:00:00:00:01"]);
    }
}
