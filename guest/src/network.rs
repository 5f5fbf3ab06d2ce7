//! The guest's interfaces: setting one up as the host wants it, and reporting them all. Talks to the kernel by netlink, to programs by
//! `/etc/resolv.conf` and the hostname. An init of the image may set things up differently later; the host can then say it again.
mod files;
mod netlink;
pub mod uevent;

pub use files::write_files;
pub use netlink::Changes;

use api::guest::{ErrorCode, GuestError, InterfaceAddress, InterfaceAddresses, NetworkConfig};
use netlink::{Link, LinkChange, Netlink};
use std::{
    io,
    time::{Duration, Instant},
};

/// As for the root's device: an interface that is not there by then won't come. Boots without one wait for nothing.
const INTERFACE_DEADLINE: Duration = Duration::from_secs(5);

/// In the initramfs: waits for the interfaces; files are written later, when there is a root. One that can't be had takes nothing from the others.
/// Gives why, for each.
pub fn configure_at_boot<'a>(configs: impl Iterator<Item = &'a NetworkConfig>) -> Vec<io::Error> {
    let mut configs = configs.peekable();
    if configs.peek().is_none() {
        return Vec::new();
    }
    let mut netlink = match Netlink::open().and_then(|mut netlink| loopback_up(&mut netlink).map(|()| netlink)) {
        Ok(netlink) => netlink,
        Err(error) => return vec![error],
    };
    let deadline = Instant::now() + INTERFACE_DEADLINE;
    let configs = configs.filter(|config| !config.addresses.is_empty() || config.mtu.is_some());
    configs.filter_map(|config| configure_when_there(&mut netlink, config, deadline).err()).collect()
}

fn configure_when_there(netlink: &mut Netlink, config: &NetworkConfig, deadline: Instant) -> io::Result<()> {
    // Before the look, so that none is missed in between.
    let uevents = uevent::Uevents::open()?;
    let asked = config.interface.as_deref();
    let link = loop {
        if let Some(link) = choose(netlink.links()?, asked) {
            break link;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let absent =
                asked.map_or_else(|| "no Ethernet interface".to_owned(), |mac| format!("no interface with the MAC {mac}"));
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{absent} appeared")));
        }
        uevents.wait(left)?;
    };
    apply(netlink, &link, config)
}

/// At the host's request.
pub fn configure(config: &NetworkConfig) -> Result<(), GuestError> {
    let failed = |error: io::Error| {
        let code = if error.kind() == io::ErrorKind::PermissionDenied { ErrorCode::PermissionDenied } else { ErrorCode::Failed };
        GuestError::new(code, format!("the network can't be set up: {error}"))
    };
    if config.mac.as_deref().is_some_and(|mac| parse_mac(mac).is_none()) {
        return Err(GuestError::new(ErrorCode::InvalidRequest, "the MAC is not six bytes in hex with colons"));
    }
    let mut netlink = Netlink::open().map_err(failed)?;
    let touches_link =
        !config.addresses.is_empty() || !config.gateways.is_empty() || config.mac.is_some() || config.mtu.is_some();
    if touches_link {
        let link = choose(netlink.links().map_err(failed)?, config.interface.as_deref())
            .ok_or_else(|| GuestError::new(ErrorCode::NotFound, "no such network interface"))?;
        loopback_up(&mut netlink).map_err(failed)?;
        apply(&mut netlink, &link, config).map_err(failed)?;
    }
    write_files(config);
    Ok(())
}

/// All interfaces but loopback.
pub fn report() -> io::Result<Vec<InterfaceAddresses>> {
    let mut netlink = Netlink::open()?;
    let links = netlink.links()?;
    let addresses = netlink.addresses()?;
    Ok(links
        .into_iter()
        .filter(|link| !link.loopback)
        .map(|link| InterfaceAddresses {
            mac: format_mac(&link.mac),
            addresses: addresses.iter().filter(|(index, _)| *index == link.index).map(|(_, address)| *address).collect(),
            interface: link.name,
        })
        .collect())
}

fn loopback_up(netlink: &mut Netlink) -> io::Result<()> {
    match netlink.links()?.into_iter().find(|link| link.loopback) {
        Some(link) => netlink.change_link(link.index, &LinkChange { up: Some(true), ..LinkChange::default() }),
        None => Ok(()),
    }
}

fn choose(links: Vec<Link>, asked: Option<&str>) -> Option<Link> {
    links.into_iter().filter(|link| link.ethernet).find(|link| match asked {
        Some(asked) => link.name == asked || format_mac(&link.mac).eq_ignore_ascii_case(asked),
        None => true,
    })
}

fn apply(netlink: &mut Netlink, link: &Link, config: &NetworkConfig) -> io::Result<()> {
    let mac = config.mac.as_deref().and_then(parse_mac).filter(|mac| link.mac != mac);
    if mac.is_some() {
        // Not every driver changes it while the interface is up; and down, it forgets its routes, which is as well.
        netlink.change_link(link.index, &LinkChange { up: Some(false), mac, ..LinkChange::default() })?;
    }
    netlink.change_link(link.index, &LinkChange { up: Some(true), mtu: config.mtu, ..LinkChange::default() })?;
    if !config.addresses.is_empty() {
        let had = netlink.addresses()?.into_iter().filter(|(index, _)| *index == link.index);
        for (_, address) in had.filter(|(_, address)| !config.addresses.contains(address) && !link_local(address)) {
            netlink.remove_address(link.index, &address)?;
        }
        for address in &config.addresses {
            netlink.add_address(link.index, address)?;
        }
    }
    config.gateways.iter().try_for_each(|gateway| netlink.default_route(link.index, *gateway))
}

/// The kernel's own IPv6 address of an interface follows its MAC; it is not ours to remove.
fn link_local(address: &InterfaceAddress) -> bool {
    matches!(address.address, std::net::IpAddr::V6(address) if address.segments()[0] & 0xFFC0 == 0xFE80)
}

fn format_mac(mac: &[u8]) -> String {
    mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    // `from_str_radix` alone would take a sign for a digit.
    let byte = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        if digits { u8::from_str_radix(text, 16).ok() } else { None }
    };
    let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
pub use netlink::fuzz_example;
#[cfg(any(test, fuzzing))]
pub use netlink::{fuzz, fuzz_written};

/// A MAC that is read is written as it was, but for the case of its letters.
#[cfg(any(test, fuzzing))]
pub fn fuzz_mac(text: &str) {
    if let Some(mac) = parse_mac(text) {
        assert_eq!(format_mac(&mac), text.to_ascii_lowercase());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_are_read_and_written() {
        let mac = parse_mac("52:54:00:ab:CD:01").unwrap();
        assert_eq!(format_mac(&mac), "52:54:00:ab:cd:01");
        for wrong in ["", "52:54:00:ab:cd", "52:54:00:ab:cd:01:02", "52:54:00:ab:cd:1", "gg:54:00:ab:cd:01", "+2:54:00:ab:cd:01"]
        {
            assert_eq!(parse_mac(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_report_leaves_loopback_out() {
        assert!(report().unwrap().iter().all(|interface| interface.interface != "lo"));
    }
}
