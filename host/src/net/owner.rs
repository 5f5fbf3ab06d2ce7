//! Whose a device is: the alias that names the hearth, the bridge's own MAC, and the names that the kernel takes. Pure.
//!
//! A TAP's alias also says what it was bound to last, for what the kernel knows of that goes with the bridge, and hearth may be another by then.
//!
//! A bridge's alias can't be set in the request that makes the bridge, its MAC can. So a bridge that hearth made and could not mark
//! any more (it died in between) is known by its MAC. A MAC of its own is wanted anyway: else the bridge takes the lowest of its
//! ports', which changes as VMs come and go, and the guests' neighbour caches go stale.

use sha2::{Digest, Sha256};
use std::net::Ipv4Addr;

/// IFNAMSIZ of the kernel is 16 with the closing zero.
const NAME_MAX: usize = 15;
/// IFALIASZ is 256 with the closing zero; the VM's id, what it is bound to, and the words around them take 66.
const OWNER_MAX: usize = 180;
const BRIDGE_MARK: &str = "bridge";

/// What an alias of hearth says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mark<'a> {
    pub owner: &'a str,
    /// `bridge`, or the VM's id.
    pub what: &'a str,
    /// Of a TAP that was bound.
    pub bound: Option<Bound>,
}

/// What a TAP is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    pub mac: [u8; 6],
    pub address: Ipv4Addr,
}

impl Bound {
    /// Of `02680a4d000b@10.77.0.11`: without a colon, for an earlier hearth takes the owner to end at the alias's last.
    fn parse(text: &str) -> Option<Bound> {
        let (mac, address) = text.split_once('@')?;
        let mac = u64::from_str_radix(mac, 16).ok().filter(|_| mac.len() == 12)?;
        let [_, _, mac @ ..] = mac.to_be_bytes();
        Some(Bound { mac, address: address.parse().ok()? })
    }
}

impl<'a> Mark<'a> {
    /// Absent: not a device of any hearth.
    pub fn parse(alias: &'a str) -> Option<Mark<'a>> {
        let (owner, what) = alias.strip_prefix("hearth:")?.rsplit_once(':')?;
        let (what, bound) = what.split_once(' ').map_or((what, None), |(what, bound)| (what, Bound::parse(bound)));
        Some(Mark { owner, what, bound })
    }
}

pub(super) fn tap_alias(owner: &str, vm: domain::VmId) -> String {
    format!("hearth:{owner}:{vm}")
}

pub(super) fn bound_alias(owner: &str, vm: domain::VmId, bound: Bound) -> String {
    let mac = bound.mac.map(|byte| format!("{byte:02x}")).concat();
    format!("{} {mac}@{}", tap_alias(owner, vm), bound.address)
}

pub(super) fn bridge_alias(owner: &str) -> String {
    format!("hearth:{owner}:{BRIDGE_MARK}")
}

/// Locally administered, unicast, the same at each start. VMs' MACs begin with 02:68, so none is equal.
pub(super) fn bridge_mac(owner: &str, bridge: &str) -> [u8; 6] {
    let digest = Sha256::digest(format!("{owner}\n{bridge}").as_bytes());
    [0x06, 0x68, digest[0], digest[1], digest[2], digest[3]]
}

/// Whether this is a device name that the kernel, nftables and every program here take without quoting.
pub(super) fn is_device_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=NAME_MAX).contains(&name.len()) && name.as_bytes()[0].is_ascii_alphanumeric() && name.bytes().all(plain)
}

pub(super) fn is_owner(owner: &str) -> bool {
    (1..=OWNER_MAX).contains(&owner.len()) && owner.bytes().all(|byte| (0x21..0x7f).contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_its_alias() {
        let vm = domain::VmId::from_bits(7);
        let alias = tap_alias("a:b", vm);
        assert_eq!(Mark::parse(&alias), Some(Mark { owner: "a:b", what: &vm.to_string(), bound: None }));
        assert_eq!(Mark::parse(&bridge_alias("a")), Some(Mark { owner: "a", what: "bridge", bound: None }));
        let bound = Bound { mac: [2, 0x68, 0, 0xff, 0, 1], address: [10, 77, 0, 1].into() };
        let told = bound_alias("a:b", vm, bound);
        assert_eq!(told, format!("{alias} 026800ff0001@10.77.0.1"));
        assert_eq!(Mark::parse(&told), Some(Mark { owner: "a:b", what: &vm.to_string(), bound: Some(bound) }));
        for not in
            ["026800ff000@10.77.0.1", "026800ff00011@10.77.0.1", "0268 00ff0001@10.77.0.1", "026800ff0001@x", "026800ff0001"]
        {
            assert_eq!(
                Mark::parse(&format!("{alias} {not}")),
                Some(Mark { owner: "a:b", what: &vm.to_string(), bound: None }),
                "{not}"
            );
        }
        let longest = Bound { mac: [0xff; 6], address: [255; 4].into() };
        assert!(bound_alias(&"o".repeat(OWNER_MAX), vm, longest).len() < 256);
        assert_eq!(Mark::parse("uplink"), None);
        assert_eq!(Mark::parse("hearth:"), None);
    }

    #[test]
    fn names_that_the_kernel_or_nft_would_take_amiss_are_refused() {
        for good in ["hearth0", "h-0.x_y", "abcdefghijklmno"] {
            assert!(is_device_name(good), "{good}");
        }
        for bad in ["", "-x", ".", "abcdefghijklmnop", "a b", "a/b", "a\"", "a%d", "é"] {
            assert!(!is_device_name(bad), "{bad}");
        }
        assert!(is_owner("host_01jd") && !is_owner("") && !is_owner("a b") && !is_owner(&"x".repeat(201)));
    }

    #[test]
    fn the_bridge_has_its_own_mac() {
        assert_eq!(bridge_mac("a", "hearth0"), bridge_mac("a", "hearth0"));
        assert_ne!(bridge_mac("a", "hearth0"), bridge_mac("b", "hearth0"));
        assert_eq!(bridge_mac("a", "hearth0")[0] & 3, 2, "local and unicast");
    }
}
