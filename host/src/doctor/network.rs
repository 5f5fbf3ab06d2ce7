//! Checks of what the guests' network needs; each thing is really made, see [`crate::net::probe`].

use super::{
    Check, Status,
    programs::{ask, find, version},
};
use crate::net::probe::{self, Probe};
use std::{fs, fs::OpenOptions};

const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
const AS_ROOT: &str = "run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN";

pub(super) async fn checks() -> Vec<Check> {
    let (probe, nft, others) = tokio::join!(probe::run(), nft_version(), blocking_chains());
    let mut checks = match probe {
        Ok(probe) => tried(probe, nft),
        Err(reason) => untried(&reason),
    };
    checks.extend([forwarding(), other_rules(others)]);
    checks
}

const TUN: (&str, &str) = ("tun", "TUN/TAP");
const BRIDGE: (&str, &str) = ("bridge", "Bridge");
const ISOLATION: (&str, &str) = ("port-isolation", "Port isolation");
const VLAN: (&str, &str) = ("vlan-filtering", "VLAN filtering");
const NFTABLES: (&str, &str) = ("nftables", "nftables");

fn tried(probe: Probe, nft: Result<String, String>) -> Vec<Check> {
    let check = |(id, title), result: Result<(), String>, works: &str, remedy: &str| match result {
        Ok(()) => Check::ok(id, title, works),
        Err(detail) => Check::new(id, title, Status::Failed, detail).remedy(remedy),
    };
    let vlan = match probe.vlan_filtering {
        Ok(()) => Check::ok(VLAN.0, VLAN.1, "the kernel has it"),
        Err(detail) => {
            Check::new(VLAN.0, VLAN.1, Status::Missing, format!("{detail}; not needed, each network has its own bridge"))
        }
    };
    let rules = probe.rules.and(nft);
    let nftables = match rules {
        Ok(version) => Check::ok(NFTABLES.0, NFTABLES.1, format!("{version}: hearth's rules were set and removed")),
        Err(detail) => Check::new(NFTABLES.0, NFTABLES.1, Status::Failed, detail)
            .remedy("apt-get install nftables, and a kernel with nf_tables, nf_nat and nf_conntrack (modprobe nf_tables)"),
    };
    vec![
        check(
            TUN,
            probe.tun,
            "/dev/net/tun: a TAP device was made and removed",
            "load the module: modprobe tun; in a container pass /dev/net/tun in",
        ),
        check(BRIDGE, probe.bridge, "a bridge was made and removed", "load the module: modprobe bridge"),
        check(ISOLATION, probe.isolation, "guests can be kept apart", "use a kernel of 4.18 or newer"),
        vlan,
        nftables,
    ]
}

fn untried(reason: &str) -> Vec<Check> {
    let failed = |(id, title)| Check::new(id, title, Status::Failed, format!("could not be tried: {reason}")).remedy(AS_ROOT);
    let vlan = Check::new(VLAN.0, VLAN.1, Status::Missing, "could not be tried; not needed, each network has its own bridge");
    vec![failed(TUN), failed(BRIDGE), failed(ISOLATION), vlan, failed(NFTABLES)]
}

async fn nft_version() -> Result<String, String> {
    match find("nft") {
        Some(program) => version(&program, &["--version"]).await,
        None => Err("nft is not installed".to_owned()),
    }
}

fn forwarding() -> Check {
    let (id, title) = ("ip-forwarding", "IPv4 forwarding");
    let value = fs::read_to_string(IP_FORWARD).unwrap_or_default();
    if value.trim() == "1" {
        return Check::ok(id, title, "on");
    }
    // Opening for writing changes nothing.
    match OpenOptions::new().write(true).open(IP_FORWARD) {
        Ok(_) => Check::ok(id, title, "off; hearth switches it on when it makes the guests' network"),
        Err(error) => Check::new(id, title, Status::Failed, format!("off, and {IP_FORWARD} can't be written: {error}"))
            .remedy("sysctl -w net.ipv4.ip_forward=1"),
    }
}

/// Chains on the forwarding path that drop what they do not know. `accept` in our table does not overrule them.
async fn blocking_chains() -> Result<Vec<String>, String> {
    let program = find("nft").ok_or("nft is not installed")?;
    let output = ask(&program, &["-j", "list", "chains"]).await?;
    parse_chains(&output.stdout)
}

pub(super) fn parse_chains(listing: &[u8]) -> Result<Vec<String>, String> {
    let listing: serde_json::Value = serde_json::from_slice(listing).map_err(|error| error.to_string())?;
    let chains = listing["nftables"].as_array().into_iter().flatten().filter_map(|object| object.get("chain"));
    let blocking = chains.filter(|chain| chain["hook"] == "forward" && chain["policy"] == "drop");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("?").to_owned();
    Ok(blocking.map(|chain| format!("{} {} {}", text(&chain["family"]), text(&chain["table"]), text(&chain["name"]))).collect())
}

fn other_rules(chains: Result<Vec<String>, String>) -> Check {
    let (id, title) = ("other-rules", "Other firewall rules");
    match chains {
        Ok(chains) if chains.is_empty() => Check::ok(id, title, "none that drops forwarded packets by default"),
        Ok(chains) => {
            let detail = format!("drop forwarded packets by default: {}; guests may not reach the outside", chains.join(", "));
            Check::new(id, title, Status::Warn, detail)
                .remedy("let the bridge through there; for Docker: iptables -I DOCKER-USER -i hearth0 -j ACCEPT; iptables -I DOCKER-USER -o hearth0 -j ACCEPT")
        }
        Err(error) => Check::new(id, title, Status::Warn, format!("can't be listed: {error}")).remedy(AS_ROOT),
    }
}
