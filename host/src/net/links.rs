//! The kernel's network devices over one netlink connection. Owns the connection and the deadlines; decides nothing.
//!
//! Concurrency: any number of calls at once. Cancel: a dropped call may have taken effect; look again with [`Links::find`].

use super::{
    Traffic,
    clash::{Claim, Net},
};
use futures_util::{Stream, StreamExt};
use rtnetlink::{
    Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder,
    packet_route::{
        AddressFamily,
        address::AddressAttribute,
        link::{InfoBridgePort, InfoKind, InfoPortData, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
        neighbour::{NeighbourFlags, NeighbourState},
        route::{RouteAddress, RouteAttribute, RouteHeader},
    },
};
use std::{future::Future, net::IpAddr, net::Ipv4Addr, os::fd::AsRawFd, time::Duration};
use tokio::{task::AbortHandle, time::timeout};

/// A request takes well under a millisecond; this is for a machine whose kernel holds the network lock (thousands of devices removed).
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
/// A dump is cut here rather than fill the memory: no machine has a million devices or routes to itself, a router may have as many routes.
const DUMP_MAX: usize = 1_000_000;

#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("the netlink socket can't be opened: {0}")]
    Open(#[source] std::io::Error),
    #[error("the kernel refused to {what}: {source}")]
    Refused {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("the kernel did not answer within {} s when asked to {what}", REQUEST_DEADLINE.as_secs())]
    Timeout { what: &'static str },
    #[error("the netlink connection broke when asked to {what}: {detail}")]
    Broken { what: &'static str, detail: String },
}

impl LinkError {
    pub fn is(&self, errno: nix::errno::Errno) -> bool {
        matches!(self, LinkError::Refused { source, .. } if source.raw_os_error() == Some(errno as i32))
    }

    pub fn is_permission(&self) -> bool {
        use nix::errno::Errno;
        self.is(Errno::EPERM) || self.is(Errno::EACCES)
    }
}

/// What is known of a device.
#[derive(Debug, Clone, Default)]
pub(super) struct Link {
    pub index: u32,
    pub name: String,
    pub alias: Option<String>,
    pub kind: Option<InfoKind>,
    pub mac: Vec<u8>,
    pub is_up: bool,
    /// Of a TAP device: a program holds its other end.
    pub has_carrier: bool,
    pub controller: Option<u32>,
    /// Absent: not the port of a bridge.
    pub isolated: Option<bool>,
}

/// An IPv4 address on a device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address {
    pub index: u32,
    pub local: Ipv4Addr,
    pub prefix: u8,
}

/// An IPv4 route of the main table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    pub index: u32,
    pub net: Net,
    pub claim: Claim,
}

pub(super) struct Links {
    handle: Handle,
    driver: AbortHandle,
}

impl Drop for Links {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Links {
    /// Needs a tokio runtime: the connection is driven by a task that ends with this value.
    pub fn connect() -> Result<Links, LinkError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(LinkError::Open)?;
        let driver = tokio::spawn(connection).abort_handle();
        Ok(Links { handle, driver })
    }

    pub async fn find(&self, name: &str) -> Result<Option<Link>, LinkError> {
        let what = "find a device";
        let request = self.handle.link().get().match_name(name).execute();
        match collect(what, request).await {
            Ok(found) => Ok(found.into_iter().next().map(read)),
            Err(error) if error.is(nix::errno::Errno::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Of a TAP device; absent when there is none, or the kernel counts in fewer bits.
    pub async fn traffic(&self, name: &str) -> Result<Option<Traffic>, LinkError> {
        let request = self.handle.link().get().match_name(name).execute();
        match collect("count a device's packets", request).await {
            Ok(found) => Ok(found.iter().flat_map(|link| &link.attributes).find_map(traffic)),
            Err(error) if error.is(nix::errno::Errno::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub async fn all(&self) -> Result<Vec<Link>, LinkError> {
        let messages = collect("list the devices", self.handle.link().get().execute()).await?;
        Ok(messages.into_iter().map(read).collect())
    }

    /// Never sets an attribute of VLANs: kernels without VLAN filtering refuse the whole request, even to switch it off.
    pub async fn add_bridge(&self, name: &str, mac: [u8; 6]) -> Result<(), LinkError> {
        let message = LinkMessageBuilder::<LinkBridge>::new(name).address(mac.to_vec()).build();
        bounded("make the bridge", self.handle.link().add(message).execute()).await
    }

    /// Only to see whether the kernel has VLAN filtering; see [`Links::add_bridge`].
    pub async fn add_vlan_bridge(&self, name: &str) -> Result<(), LinkError> {
        let message = LinkMessageBuilder::<LinkBridge>::new(name).vlan_filtering(true).build();
        bounded("make a bridge with VLAN filtering", self.handle.link().add(message).execute()).await
    }

    pub async fn mark(&self, index: u32, alias: &str) -> Result<(), LinkError> {
        let message = LinkUnspec::new_with_index(index).alias(alias).build();
        bounded("mark the device", self.handle.link().set(message).execute()).await
    }

    pub async fn mark_up(&self, index: u32, alias: &str) -> Result<(), LinkError> {
        let message = LinkUnspec::new_with_index(index).alias(alias).up().build();
        bounded("mark the device and set it up", self.handle.link().set(message).execute()).await
    }

    /// Puts a device on the bridge, isolated before it is up: no frame passes between two VMs, not even at first. The port's flag and
    /// the membership can't be set in one request: the kernel looks for the port before it joins the device.
    pub async fn join(&self, index: u32, alias: &str, bridge: u32) -> Result<(), LinkError> {
        let member = LinkUnspec::new_with_index(index).alias(alias).controller(bridge).build();
        bounded("put the device on the bridge", self.handle.link().set(member).execute()).await?;
        let port = LinkBridgePort::new(index).isolated(true).up().build();
        bounded("isolate the port", self.handle.link().set_port(port).execute()).await
    }

    /// Moves the device into another network namespace. It goes down and off its bridge.
    pub async fn move_to(&self, index: u32, space: &impl AsRawFd) -> Result<(), LinkError> {
        let message = LinkUnspec::new_with_index(index).setns_by_fd(space.as_raw_fd()).build();
        bounded("move the device into another network namespace", self.handle.link().set(message).execute()).await
    }

    /// From this port only frames from this MAC pass, and what is for a MAC that no port has is not sent to it either, as to an address whose VM is
    /// gone. Kernels before 5.18 take the request and do not lock.
    pub async fn lock_port(&self, index: u32, mac: [u8; 6]) -> Result<(), LinkError> {
        // NOARP is a static entry of the bridge; PERMANENT would make the MAC the bridge's own.
        let known = self.handle.neighbours().add_bridge(index, &mac);
        let known = known.state(NeighbourState::Noarp).flags(NeighbourFlags::Controller).replace().execute();
        bounded("name the port's MAC", known).await?;
        let port = LinkBridgePort::new(index).locked(true).flood(false).build();
        bounded("lock the port", self.handle.link().set_port(port).execute()).await
    }

    /// Who has this address is settled: what anybody says by ARP changes nothing.
    pub async fn settle_neighbour(&self, index: u32, address: Ipv4Addr, mac: [u8; 6]) -> Result<(), LinkError> {
        let request = self.handle.neighbours().add(index, IpAddr::V4(address)).link_layer_address(&mac).replace();
        bounded("settle the neighbour", request.execute()).await
    }

    pub async fn remove(&self, index: u32) -> Result<(), LinkError> {
        match bounded("remove the device", self.handle.link().del(index).execute()).await {
            Err(error) if error.is(nix::errno::Errno::ENODEV) => Ok(()),
            other => other,
        }
    }

    pub async fn addresses(&self) -> Result<Vec<Address>, LinkError> {
        let mut request = self.handle.address().get();
        request.message_mut().header.family = AddressFamily::Inet;
        let messages = collect("list the addresses", request.execute()).await?;
        let read = |message: rtnetlink::packet_route::address::AddressMessage| {
            let local = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
                _ => None,
            })?;
            Some(Address { index: message.header.index, local, prefix: message.header.prefix_len })
        };
        Ok(messages.into_iter().filter_map(read).collect())
    }

    pub async fn add_address(&self, index: u32, address: Ipv4Addr, prefix: u8) -> Result<(), LinkError> {
        let request = self.handle.address().add(index, IpAddr::V4(address), prefix).execute();
        bounded("set the address", request).await
    }

    pub async fn routes(&self) -> Result<Vec<Route>, LinkError> {
        let request = self.handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
        let messages = collect("list the routes", request).await?;
        Ok(messages.iter().filter(|message| message.header.table == RouteHeader::RT_TABLE_MAIN).filter_map(read_route).collect())
    }
}

fn read(message: LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        is_up: flags.contains(LinkFlags::Up),
        has_carrier: flags.contains(LinkFlags::LowerUp),
        ..Link::default()
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
            LinkAttribute::Address(mac) => link.mac = mac,
            LinkAttribute::Controller(index) if index != 0 => link.controller = Some(index),
            LinkAttribute::LinkInfo(infos) => infos.into_iter().for_each(|info| read_info(&mut link, info)),
            _ => {}
        }
    }
    link
}

fn read_info(link: &mut Link, info: LinkInfo) {
    match info {
        LinkInfo::Kind(kind) => link.kind = Some(kind),
        LinkInfo::PortData(InfoPortData::BridgePort(ports)) => {
            link.isolated = ports.into_iter().find_map(|port| match port {
                InfoBridgePort::Isolated(isolated) => Some(isolated),
                _ => None,
            });
        }
        _ => {}
    }
}

fn read_route(message: &rtnetlink::packet_route::route::RouteMessage) -> Option<Route> {
    let (mut index, mut address, mut claim) = (None, Ipv4Addr::UNSPECIFIED, Claim::Connected);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(oif) => index = Some(*oif),
            RouteAttribute::Destination(RouteAddress::Inet(destination)) => address = *destination,
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => claim = Claim::ThroughGateway,
            _ => {}
        }
    }
    // Without a device (unreachable, blackhole, several next hops) nobody's neighbours can be cut off.
    Some(Route { index: index?, net: Net { address, prefix: message.header.destination_prefix_length }, claim })
}

/// What the host sends into a TAP is what its guest receives.
fn traffic(attribute: &LinkAttribute) -> Option<Traffic> {
    let LinkAttribute::Stats64(host) = attribute else { return None };
    Some(Traffic {
        received_bytes: host.tx_bytes,
        received_packets: host.tx_packets,
        received_dropped: host.tx_dropped,
        sent_bytes: host.rx_bytes,
        sent_packets: host.rx_packets,
        sent_dropped: host.rx_dropped,
    })
}

async fn bounded(what: &'static str, request: impl Future<Output = Result<(), rtnetlink::Error>>) -> Result<(), LinkError> {
    match timeout(REQUEST_DEADLINE, request).await {
        Ok(answer) => answer.map_err(|error| refused(what, error)),
        Err(_) => Err(LinkError::Timeout { what }),
    }
}

async fn collect<T>(what: &'static str, messages: impl Stream<Item = Result<T, rtnetlink::Error>>) -> Result<Vec<T>, LinkError> {
    let gather = async {
        let mut found = Vec::new();
        let mut messages = std::pin::pin!(messages.take(DUMP_MAX));
        while let Some(message) = messages.next().await {
            found.push(message.map_err(|error| refused(what, error))?);
        }
        Ok(found)
    };
    timeout(REQUEST_DEADLINE, gather).await.unwrap_or(Err(LinkError::Timeout { what }))
}

fn refused(what: &'static str, error: rtnetlink::Error) -> LinkError {
    match error {
        rtnetlink::Error::NetlinkError(message) => LinkError::Refused { what, source: message.to_io() },
        other => LinkError::Broken { what, detail: other.to_string() },
    }
}
