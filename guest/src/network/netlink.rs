//! As much of rtnetlink as the agent needs: links, addresses, default routes, and hearing of changes. Requests are few and answered at
//! once by the kernel, so they block, with a timeout.
mod message;

use crate::watched::watch;
use api::guest::InterfaceAddress;
use message::{Message, attributes, messages, u32_at};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket, sockopt,
};
use std::{
    io,
    net::IpAddr,
    os::fd::{AsRawFd, OwnedFd},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Larger than any single datagram that the kernel makes in a dump (netlink(7): it uses up to 32 KiB).
const BUFFER: usize = 32 * 1024;
/// The kernel answers in the same call; without this a lost answer would hang the agent.
const ANSWER_TIMEOUT_S: i64 = 5;
/// linux/rtnetlink.h: the gateway is reachable on the link, whatever the addresses say.
const RTNH_F_ONLINK: u32 = 4;

pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

pub struct Link {
    pub index: u32,
    pub name: String,
    pub mac: Vec<u8>,
    pub ethernet: bool,
    pub loopback: bool,
}

/// What is to be different; absent stays.
#[derive(Default)]
pub struct LinkChange {
    pub up: Option<bool>,
    pub mac: Option<[u8; 6]>,
    pub mtu: Option<u32>,
}

impl Netlink {
    pub fn open() -> io::Result<Self> {
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
            .map_err(io::Error::from)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &nix::sys::time::TimeVal::new(ANSWER_TIMEOUT_S, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        let mut links = Vec::new();
        self.dump(Message::new(libc::RTM_GETLINK).bytes(&[0; 16]), |body| links.extend(link(body)))?;
        Ok(links)
    }

    /// With the index of their link.
    pub fn addresses(&mut self) -> io::Result<Vec<(u32, InterfaceAddress)>> {
        let mut addresses = Vec::new();
        self.dump(Message::new(libc::RTM_GETADDR).bytes(&[0; 8]), |body| addresses.extend(address(body)))?;
        Ok(addresses)
    }

    pub fn change_link(&mut self, index: u32, change: &LinkChange) -> io::Result<()> {
        let up = libc::IFF_UP as u32;
        let (flags, mask) = match change.up {
            Some(true) => (up, up),
            Some(false) => (0, up),
            None => (0, 0),
        };
        // struct ifinfomsg: family, pad, type u16, index, flags, change
        let mut message = Message::new(libc::RTM_NEWLINK).bytes(&[0; 4]).u32(index).u32(flags).u32(mask);
        if let Some(mac) = &change.mac {
            message = message.attribute(libc::IFLA_ADDRESS, mac);
        }
        if let Some(mtu) = change.mtu {
            message = message.attribute(libc::IFLA_MTU, &mtu.to_ne_bytes());
        }
        self.order(message, 0)
    }

    /// One that is there already stays.
    pub fn add_address(&mut self, index: u32, address: &InterfaceAddress) -> io::Result<()> {
        let mut message = address_message(libc::RTM_NEWADDR, index, address);
        if let IpAddr::V4(v4) = address.address
            && address.prefix < 31
        {
            let broadcast = v4.to_bits() | (u32::MAX >> address.prefix);
            message = message.attribute(libc::IFA_BROADCAST, &broadcast.to_be_bytes());
        }
        self.order(message, libc::NLM_F_CREATE | libc::NLM_F_REPLACE)
    }

    pub fn remove_address(&mut self, index: u32, address: &InterfaceAddress) -> io::Result<()> {
        match self.order(address_message(libc::RTM_DELADDR, index, address), 0) {
            // The kernel removed it with the one that it was secondary to.
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => Ok(()),
            done => done,
        }
    }

    /// Replaces the family's default route. The gateway need not be in the interface's network.
    pub fn default_route(&mut self, index: u32, gateway: IpAddr) -> io::Result<()> {
        // struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags u32
        let head = [family(gateway), 0, 0, 0, libc::RT_TABLE_MAIN, libc::RTPROT_BOOT, libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST];
        let message = Message::new(libc::RTM_NEWROUTE)
            .bytes(&head)
            .u32(RTNH_F_ONLINK)
            .attribute(libc::RTA_GATEWAY, &octets(gateway))
            .attribute(libc::RTA_OIF, &index.to_ne_bytes());
        self.order(message, libc::NLM_F_CREATE | libc::NLM_F_REPLACE)
    }

    fn order(&mut self, message: Message, flags: i32) -> io::Result<()> {
        self.send(message, flags | libc::NLM_F_ACK)?;
        self.answers(|_| ())
    }

    fn dump(&mut self, message: Message, each: impl FnMut(&[u8])) -> io::Result<()> {
        self.send(message, libc::NLM_F_DUMP)?;
        self.answers(each)
    }

    fn send(&mut self, message: Message, flags: i32) -> io::Result<()> {
        self.sequence += 1;
        let bytes = message.finish(flags | libc::NLM_F_REQUEST, self.sequence);
        send(self.socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
        Ok(())
    }

    /// Reads to the acknowledgement or to the end of the dump.
    fn answers(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let got = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            for (kind, sequence, body) in messages(&buffer[..got]) {
                if sequence != self.sequence {
                    continue;
                }
                match i32::from(kind) {
                    libc::NLMSG_DONE => return Ok(()),
                    libc::NLMSG_ERROR => {
                        return match u32_at(body, 0).map(u32::cast_signed) {
                            Some(0) => Ok(()),
                            Some(error) => Err(io::Error::from_raw_os_error(-error)),
                            None => Err(io::ErrorKind::InvalidData.into()),
                        };
                    }
                    _ => each(body),
                }
            }
        }
    }
}

/// Hears of links and addresses that change.
pub struct Changes(AsyncFd<OwnedFd>);

impl Changes {
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute).map_err(io::Error::from)?;
        let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups as u32))?;
        Ok(Self(watch(socket, Interest::READABLE)?))
    }

    /// Returns after at least one change. What changed does not matter: the caller asks anew. Cancel: a change may be forgotten only
    /// with the session that waited for it.
    pub async fn next(&self) -> io::Result<()> {
        let mut guard = self.0.readable().await?;
        let mut buffer = [0; 4096];
        while recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()).is_ok() {}
        guard.clear_ready();
        Ok(())
    }
}

fn address_message(kind: u16, index: u32, address: &InterfaceAddress) -> Message {
    // struct ifaddrmsg: family, prefix, flags, scope, index u32
    let octets = octets(address.address);
    Message::new(kind)
        .bytes(&[family(address.address), address.prefix, 0, libc::RT_SCOPE_UNIVERSE])
        .u32(index)
        .attribute(libc::IFA_LOCAL, &octets)
        .attribute(libc::IFA_ADDRESS, &octets)
}

fn link(body: &[u8]) -> Option<Link> {
    let kind = u16::from_ne_bytes(body.get(2..4)?.try_into().ok()?);
    let mut link = Link {
        index: u32_at(body, 4)?,
        name: String::new(),
        mac: Vec::new(),
        ethernet: kind == libc::ARPHRD_ETHER,
        loopback: kind == libc::ARPHRD_LOOPBACK,
    };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            libc::IFLA_IFNAME => link.name = String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned(),
            libc::IFLA_ADDRESS => link.mac = value.to_vec(),
            _ => {}
        }
    }
    Some(link)
}

fn address(body: &[u8]) -> Option<(u32, InterfaceAddress)> {
    let prefix = *body.get(1)?;
    let index = u32_at(body, 4)?;
    let all: Vec<_> = attributes(body.get(8..)?).collect();
    // On point-to-point links IFA_ADDRESS is the peer's.
    let named = |wanted| all.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
    let value = named(libc::IFA_LOCAL).or_else(|| named(libc::IFA_ADDRESS))?;
    let address = match value.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(value).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(value).ok()?),
        _ => return None,
    };
    Some((index, InterfaceAddress { address, prefix }))
}

/// A datagram as the kernel might send it: what it holds is no more than it is long.
#[cfg(any(test, fuzzing))]
pub fn fuzz(datagram: &[u8]) {
    let mut bodies = 0;
    for (_, _, body) in messages(datagram) {
        bodies += body.len();
        let values: usize = attributes(body).map(|(_, value)| value.len()).sum();
        assert!(values <= body.len(), "attributes of {values} bytes in {}", body.len());
        if let Some(link) = link(body) {
            assert!(link.mac.len() <= body.len() && !(link.ethernet && link.loopback));
        }
        if let Some((_, found)) = address(body) {
            assert!(matches!(octets(found.address).len(), 4 | 16));
        }
    }
    assert!(bodies <= datagram.len(), "messages of {bodies} bytes in {}", datagram.len());
}

/// What is written is read back: attributes of the lengths and contents that the input gives.
#[cfg(any(test, fuzzing))]
pub fn fuzz_written(mut input: &[u8]) {
    let mut given = Vec::new();
    while let Some((length, rest)) = input.split_first() {
        let (value, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        given.push((u16::from(*length), value));
        input = rest;
    }
    let message = given.iter().fold(Message::new(7), |message, (kind, value)| message.attribute(*kind, value)).finish(0, 9);
    let found: Vec<_> = messages(&message).collect();
    assert_eq!(found.len(), 1);
    let (kind, sequence, body) = found[0];
    assert_eq!((kind, sequence), (7, 9));
    assert_eq!(attributes(body).collect::<Vec<_>>(), given);
}

/// A message of a link and one of an address.
#[cfg(test)]
pub fn fuzz_example() -> Vec<u8> {
    let link = Message::new(libc::RTM_NEWLINK).bytes(&[0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let link = link.attribute(libc::IFLA_IFNAME, b"eth0\0").attribute(libc::IFLA_ADDRESS, &[2, 0, 0, 0, 0, 5]);
    let address = InterfaceAddress { address: IpAddr::from([10, 77, 0, 5]), prefix: 16 };
    [link.finish(0, 1), address_message(libc::RTM_NEWADDR, 2, &address).finish(0, 1)].concat()
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
