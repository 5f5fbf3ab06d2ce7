//! The bridge of the NAT network: whose it is, its address, whether the subnet is free, and forwarding.

use super::NatNetwork;
use crate::net::{
    NetError, NetworkPlan,
    clash::{self, Claim, Net},
    links::{Address, Link},
    owner::{self, Mark},
};
use rtnetlink::packet_route::link::InfoKind;
use std::{fs, io};

const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

impl NatNetwork {
    /// Ours by its alias, or by its MAC when hearth died before it could set the alias.
    fn owns_bridge(&self, link: &Link) -> bool {
        match link.alias.as_deref().filter(|alias| !alias.is_empty()) {
            Some(alias) => Mark::parse(alias).is_some_and(|mark| mark.owner == self.plan.owner),
            None => link.mac == owner::bridge_mac(&self.plan.owner, &self.plan.bridge),
        }
    }

    pub(super) fn check_bridge(&self, link: &Link) -> Result<(), NetError> {
        if link.kind != Some(InfoKind::Bridge) {
            return Err(self
                .bridge_refused("a device of this name exists and is no bridge: start with another name (--bridge)".to_owned()));
        }
        if self.owns_bridge(link) {
            return Ok(());
        }
        Err(self.bridge_refused(match link.alias.as_deref().and_then(Mark::parse) {
            Some(mark) => format!(
                "it belongs to another hearth on this machine ({}): start this one with its own --bridge and --subnet, or end the other with hearth down",
                mark.owner
            ),
            None => "a bridge of this name exists and is not hearth's: start with another name (--bridge) or remove it".to_owned(),
        }))
    }

    pub(super) async fn ensure_bridge(&self) -> Result<Link, NetError> {
        let name = &self.plan.bridge;
        let found = self.links.find(name).await.map_err(|error| self.bridge_error(error))?;
        let link = match found {
            Some(link) => link,
            None => {
                self.check_free(None).await?;
                let mac = owner::bridge_mac(&self.plan.owner, name);
                self.links.add_bridge(name, mac).await.map_err(|error| self.bridge_error(error))?;
                let made = self.links.find(name).await.map_err(|error| self.bridge_error(error))?;
                made.ok_or_else(|| self.bridge_refused("it vanished right after it was made".to_owned()))?
            }
        };
        self.check_bridge(&link)?;
        let alias = owner::bridge_alias(&self.plan.owner);
        if !link.is_up || link.alias.as_deref() != Some(&alias) {
            self.links.mark_up(link.index, &alias).await.map_err(|error| self.bridge_error(error))?;
        }
        Ok(link)
    }

    pub(super) async fn ensure_address(&self, bridge: u32) -> Result<(), NetError> {
        let NetworkPlan { gateway, prefix, .. } = self.plan;
        let addresses = self.links.addresses().await.map_err(|error| self.bridge_error(error))?;
        let on_bridge: Vec<Address> = addresses.into_iter().filter(|address| address.index == bridge).collect();
        if on_bridge.iter().any(|address| address.local == gateway && address.prefix == prefix) {
            return Ok(());
        }
        if let Some(other) = on_bridge.first() {
            return Err(self.bridge_refused(format!(
                "it has the address {}/{} and not {gateway}/{prefix}: start with the --subnet it was made with, or run hearth down first",
                other.local, other.prefix
            )));
        }
        self.check_free(Some(bridge)).await?;
        match self.links.add_address(bridge, gateway, prefix).await {
            Err(error) if error.is(nix::errno::Errno::EEXIST) => Ok(()),
            other => other.map_err(|error| self.bridge_error(error)),
        }
    }

    /// Whether no other device has our subnet or a part of it.
    async fn check_free(&self, bridge: Option<u32>) -> Result<(), NetError> {
        let ours = Net { address: self.plan.gateway, prefix: self.plan.prefix };
        let addresses = self.links.addresses().await.map_err(|error| self.bridge_error(error))?;
        let routes = self.links.routes().await.map_err(|error| self.bridge_error(error))?;
        let connected = addresses
            .iter()
            .map(|address| (address.index, Net { address: address.local, prefix: address.prefix }, Claim::Connected));
        let routed = routes.iter().map(|route| (route.index, route.net, route.claim));
        let clash =
            connected.chain(routed).find(|(index, net, claim)| Some(*index) != bridge && clash::clashes(ours, *net, *claim));
        let Some((index, net, _)) = clash else { return Ok(()) };
        let links = self.links.all().await.map_err(|error| self.bridge_error(error))?;
        let device = links.into_iter().find(|link| link.index == index).map_or_else(|| index.to_string(), |link| link.name);
        Err(NetError::AddressTaken {
            address: self.plan.gateway,
            detail: format!("{device} has {net}: choose a free one with --subnet"),
        })
    }
}

/// Written only when it is off: writing resets the settings of every device.
pub(super) fn switch_forwarding_on() -> Result<(), NetError> {
    let refused = |error: io::Error| NetError::NotPermitted {
        detail: format!("{IP_FORWARD}: {error}: switch it on with sysctl -w net.ipv4.ip_forward=1"),
    };
    if fs::read_to_string(IP_FORWARD).map_err(refused)?.trim() == "1" {
        return Ok(());
    }
    tracing::info!("net.ipv4.ip_forward is off; switching it on for the guests' network");
    fs::write(IP_FORWARD, "1").map_err(refused)
}
