//! What passes and what does not, with real frames: a test is the guest, at the other end of its TAP device.
//!
//! That something does **not** arrive is seen without waiting: a ping that must be answered is sent after it, and frames keep their order.

pub(crate) mod lend;

use super::{in_namespace, ip, opened, plan, vm};
use crate::net::{Interface, Network, nat::NatNetwork, owner, tap::Fresh};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{
    fs::File,
    io::{Read, Write},
    net::Ipv4Addr,
    os::fd::AsFd,
    time::{Duration, Instant},
};

/// struct virtio_net_hdr, before each frame.
const VIRTIO_HEADER: usize = 10;
const FRAME_MAX: usize = 2048;
const ARRIVES: Duration = Duration::from_secs(10);
/// A port of a bridge forwards a moment after its device has a carrier; until then a ping is repeated.
const AGAIN: Duration = Duration::from_millis(100);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);
const ICMP: u8 = 1;
const IGMP: u8 = 2;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// An IPv4 packet as far as the tests look.
#[derive(Debug, Clone, PartialEq)]
struct Packet {
    source: Ipv4Addr,
    target: Ipv4Addr,
    protocol: u8,
    body: Vec<u8>,
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    (!(((folded & 0xffff) + (folded >> 16)) as u16)).to_be_bytes()
}

impl Packet {
    fn icmp(source: Ipv4Addr, target: Ipv4Addr, kind: u8, mark: u16) -> Packet {
        let mut body = vec![kind, 0, 0, 0, 0, 7];
        body.extend(mark.to_be_bytes());
        let sum = checksum(&body);
        body[2..4].copy_from_slice(&sum);
        Packet { source, target, protocol: ICMP, body }
    }

    fn udp(source: Ipv4Addr, target: Ipv4Addr, port: u16) -> Packet {
        // A checksum of zero is none.
        let body = [&4000u16.to_be_bytes()[..], &port.to_be_bytes(), &8u16.to_be_bytes(), &[0, 0]].concat();
        Packet { source, target, protocol: UDP, body }
    }

    fn tcp_syn(source: Ipv4Addr, target: Ipv4Addr, port: u16) -> Packet {
        let mut body = vec![0u8; 20];
        body[0..2].copy_from_slice(&4000u16.to_be_bytes());
        body[2..4].copy_from_slice(&port.to_be_bytes());
        (body[12], body[13], body[14]) = (5 << 4, 2, 16);
        let pseudo = [&source.octets()[..], &target.octets(), &[0, TCP, 0, 20], &body].concat();
        body[16..18].copy_from_slice(&checksum(&pseudo));
        Packet { source, target, protocol: TCP, body }
    }

    fn frame(&self, from: [u8; 6], to: [u8; 6]) -> Vec<u8> {
        let length = (20 + self.body.len()) as u16;
        let mut header = [&[0x45, 0][..], &length.to_be_bytes(), &[0, 0, 0, 0, 64, self.protocol, 0, 0]].concat();
        header.extend(self.source.octets());
        header.extend(self.target.octets());
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum);
        [&[0; VIRTIO_HEADER][..], &to, &from, &[8, 0], &header, &self.body].concat()
    }

    fn parse(frame: &[u8]) -> Option<Packet> {
        let packet = frame.get(VIRTIO_HEADER..)?.get(12..)?.strip_prefix(&[8, 0])?;
        let address = |at: usize| packet.get(at..at + 4).map(|b| Ipv4Addr::new(b[0], b[1], b[2], b[3]));
        Some(Packet { source: address(12)?, target: address(16)?, protocol: *packet.get(9)?, body: packet.get(20..)?.to_vec() })
    }
}

/// One end of a TAP device that is not the kernel's.
struct Wire {
    file: File,
    mac: [u8; 6],
    /// Whom it sends to: the bridge, or the kernel's own end.
    peer: [u8; 6],
}

impl Wire {
    async fn guest(network: &NatNetwork, n: u8) -> Wire {
        let wire = Wire::stranger(network, n).await;
        wire.known_as(&format!("10.77.0.{n}"), "hearth0");
        wire
    }

    /// A guest that the host does not know yet; it answers no ARP.
    async fn stranger(network: &NatNetwork, n: u8) -> Wire {
        let tap = format!("tap{n}");
        network.attach(vm(n.into()), &tap).await.unwrap();
        let mac = domain::ipam::mac_of(Ipv4Addr::new(10, 77, 0, n));
        Wire::open(&tap, mac, owner::bridge_mac(&plan().owner, &plan().bridge))
    }

    fn open(tap: &str, mac: [u8; 6], peer: [u8; 6]) -> Wire {
        Wire { file: Fresh::create(tap).unwrap().into_file(), mac, peer }
    }

    /// Spares the tests ARP.
    fn known_as(&self, address: &str, device: &str) {
        let mac = self.mac.map(|byte| format!("{byte:02x}")).join(":");
        assert_eq!(ip(&format!("neigh replace {address} lladdr {mac} dev {device} nud permanent")), "");
    }

    fn send(&mut self, packet: &Packet) {
        self.file.write_all(&packet.frame(self.mac, self.peer)).unwrap();
    }

    fn broadcast(&mut self, packet: &Packet) {
        self.file.write_all(&packet.frame(self.mac, [0xff; 6])).unwrap();
    }

    /// The next IPv4 packet, if one comes within the time. The host's own multicast reports (IGMP) come when they like and do not count.
    fn receive(&mut self, within: Duration) -> Option<Packet> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut polled = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            if poll(&mut polled, PollTimeout::try_from(left).unwrap()).unwrap() == 0 {
                return None;
            }
            let mut frame = [0; FRAME_MAX];
            let length = self.file.read(&mut frame).unwrap();
            if let Some(packet) = Packet::parse(&frame[..length]).filter(|packet| packet.protocol != IGMP) {
                return Some(packet);
            }
        }
    }

    /// Pings the gateway until it answers; gives what else came before the answer.
    fn others_before_pong(&mut self, own: Ipv4Addr, mark: u16) -> Vec<Packet> {
        let (ping, pong) = (Packet::icmp(own, GATEWAY, 8, mark), Packet::icmp(GATEWAY, own, 0, mark));
        let deadline = Instant::now() + ARRIVES;
        let mut others = Vec::new();
        while Instant::now() < deadline {
            self.send(&ping);
            while let Some(packet) = self.receive(AGAIN) {
                if packet == pong {
                    return others;
                }
                others.push(packet);
            }
        }
        panic!("the gateway does not answer; before that came {others:?}");
    }
}

fn interface(tap: &str, address: Ipv4Addr, mac: [u8; 6]) -> Interface {
    Interface { tap: tap.to_owned(), address, mac }
}

const ONE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
const TWO: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 12);

#[test]
fn guests_reach_the_gateway_and_nothing_else_of_the_host() {
    in_namespace(|| async {
        let network = opened().await;
        ip("link set dev lo up");
        let mut guest = Wire::guest(&network, 11).await;
        guest.others_before_pong(ONE, 1);
        guest.send(&Packet::tcp_syn(ONE, GATEWAY, 22));
        guest.send(&Packet::udp(ONE, GATEWAY, 9999));
        assert_eq!(guest.others_before_pong(ONE, 2), [], "closed");
        guest.send(&Packet::tcp_syn(ONE, GATEWAY, 53));
        let answers = guest.others_before_pong(ONE, 3);
        assert!(matches!(&answers[..], [Packet { protocol: TCP, .. }]), "nobody listens, so it is reset: {answers:?}");
        // Without our rules the host answers: the silence above was theirs.
        super::tool("nft", &["delete", "table", "inet", "hearth_hearth0"]);
        guest.send(&Packet::tcp_syn(ONE, GATEWAY, 22));
        assert_eq!(guest.others_before_pong(ONE, 4).len(), 1);
    });
}

#[test]
fn what_passes_is_counted_as_the_guest_sees_it() {
    in_namespace(|| async {
        let network = opened().await;
        let mut guest = Wire::guest(&network, 11).await;
        let before = network.traffic("tap11").await.unwrap().unwrap();
        guest.others_before_pong(ONE, 1);
        let after = network.traffic("tap11").await.unwrap().unwrap();
        assert!(after.sent_packets > before.sent_packets && after.received_packets > before.received_packets, "{after:?}");
        let ping = Packet::icmp(ONE, GATEWAY, 8, 2);
        // No more than the device's queue: nothing is dropped before the host sees it.
        for _ in 0..100 {
            guest.send(&ping);
        }
        guest.others_before_pong(ONE, 3);
        let end = network.traffic("tap11").await.unwrap().unwrap();
        assert!(
            end.sent_packets >= after.sent_packets + 100 && end.sent_bytes >= after.sent_bytes + 100 * 42,
            "{after:?} {end:?}"
        );
        assert_eq!(network.traffic("nowhere").await.unwrap(), None);
    });
}

#[test]
fn guests_do_not_reach_one_another() {
    in_namespace(|| async {
        let network = opened().await;
        let (mut one, mut two) = (Wire::guest(&network, 11).await, Wire::guest(&network, 12).await);
        one.others_before_pong(ONE, 1);
        two.others_before_pong(TWO, 1);
        let shout = Packet::udp(ONE, Ipv4Addr::BROADCAST, 9);
        one.broadcast(&shout);
        one.others_before_pong(ONE, 2);
        assert_eq!(two.others_before_pong(TWO, 2), []);
        // The flag alone does it, without the rules (which see bridged frames on some machines only).
        super::tool("nft", &["delete", "table", "inet", "hearth_hearth0"]);
        one.broadcast(&shout);
        one.others_before_pong(ONE, 3);
        assert_eq!(two.others_before_pong(TWO, 3), []);
        // Without the flag it arrives: the silence above was the isolation's.
        for tap in ["tap11", "tap12"] {
            ip(&format!("link set dev {tap} type bridge_slave isolated off"));
        }
        one.broadcast(&shout);
        one.others_before_pong(ONE, 4);
        assert_eq!(two.others_before_pong(TWO, 4), [shout]);
    });
}

#[test]
fn a_guest_can_not_take_a_neighbours_place() {
    in_namespace(|| async {
        let network = opened().await;
        let (mut one, mut two) = (Wire::stranger(&network, 11).await, Wire::stranger(&network, 12).await);
        for _ in 0..2 {
            network.bind(vm(11), &[interface("tap11", ONE, one.mac)]).await.unwrap();
            network.bind(vm(12), &[interface("tap12", TWO, two.mac)]).await.unwrap();
        }
        one.others_before_pong(ONE, 1);
        two.others_before_pong(TWO, 1);
        let own = one.mac;
        one.mac = two.mac;
        one.send(&Packet::icmp(TWO, GATEWAY, 8, 2));
        one.mac = own;
        assert_eq!(one.others_before_pong(ONE, 3), []);
        assert_eq!(two.others_before_pong(TWO, 3), [], "a frame under the neighbour's MAC is dropped");
        // "10.77.0.12 is at my MAC", said by ARP to all.
        let arp = [&[0, 1, 8, 0, 6, 4, 0, 2][..], &own, &TWO.octets(), &[0xff; 6], &TWO.octets()].concat();
        let frame = [&[0; VIRTIO_HEADER][..], &[0xff; 6], &own, &[8, 6], &arp].concat();
        one.file.write_all(&frame).unwrap();
        one.others_before_pong(ONE, 4);
        two.others_before_pong(TWO, 4);
        let known = ip("neigh show 10.77.0.12");
        assert!(known.contains("02:68:0a:4d:00:0c PERMANENT"), "{known}");
        assert!(matches!(network.bind(vm(13), &[interface("tap13", TWO, own)]).await, Err(crate::net::NetError::Tap { .. })));
    });
}

#[test]
fn a_bridge_that_is_made_again_binds_the_vms_that_run_whichever_hearth_bound_them() {
    in_namespace(|| async {
        let network = opened().await;
        let (mut one, mut two) = (Wire::stranger(&network, 11).await, Wire::stranger(&network, 12).await);
        network.bind(vm(11), &[interface("tap11", ONE, one.mac)]).await.unwrap();
        network.bind(vm(12), &[interface("tap12", TWO, two.mac)]).await.unwrap();
        one.others_before_pong(ONE, 1);
        // One that was attached and not bound is not bound to anything.
        network.attach(vm(13), "tap13").await.unwrap();
        let bound = |tap: &str| ip(&format!("-o -d link show dev {tap}")).contains("locked on");
        let next = NatNetwork::open(plan()).unwrap();
        for (mark, hearth) in [(2, &network), (4, &next)] {
            ip("link del dev hearth0");
            hearth.ensure().await.unwrap();
            assert_eq!(["tap11", "tap12", "tap13"].map(bound), [true, true, false], "{}", ip("-d link show"));
            for (address, mac) in [(ONE, "02:68:0a:4d:00:0b"), (TWO, "02:68:0a:4d:00:0c")] {
                let known = ip(&format!("neigh show {address}"));
                assert!(known.contains(&format!("{mac} PERMANENT")), "{known}");
            }
            let own = one.mac;
            one.mac = two.mac;
            one.send(&Packet::icmp(TWO, GATEWAY, 8, mark));
            one.mac = own;
            assert_eq!(one.others_before_pong(ONE, mark + 1), []);
            assert_eq!(two.others_before_pong(TWO, mark + 1), [], "a frame under the neighbour's MAC is dropped");
        }
        // Taken off and put back, its port is a new one.
        ip("link set dev tap11 nomaster");
        assert!(!bound("tap11"));
        next.ensure().await.unwrap();
        assert!(bound("tap11"));
        // What it is bound to now counts, and not what it was.
        const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 21);
        next.attach(vm(11), "tap11").await.unwrap();
        next.bind(vm(11), &[interface("tap11", OTHER, [2, 0, 0, 0, 0, 21])]).await.unwrap();
        ip("link del dev hearth0");
        next.ensure().await.unwrap();
        assert!(ip(&format!("neigh show {OTHER}")).contains("02:00:00:00:00:15 PERMANENT"));
        assert_eq!(ip(&format!("neigh show {ONE}")), "");
    });
}

/// A Linux guest with two interfaces in one network answers for either address by either of them, and sends from both by the first.
#[test]
fn a_guest_uses_any_of_its_interfaces_for_any_of_its_addresses_and_no_neighbours() {
    in_namespace(|| async {
        let network = opened().await;
        let (mut first, mut neighbour) = (Wire::stranger(&network, 11).await, Wire::stranger(&network, 12).await);
        network.attach(vm(11), "tap21").await.unwrap();
        const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 21);
        // Of the user's choice.
        let mut second = Wire::open("tap21", [0x52, 0x54, 0, 0, 0, 21], first.peer);
        let both = [interface("tap11", ONE, first.mac), interface("tap21", OTHER, second.mac)];
        for _ in 0..2 {
            network.bind(vm(11), &both).await.unwrap();
            network.bind(vm(12), &[interface("tap12", TWO, neighbour.mac)]).await.unwrap();
        }
        first.others_before_pong(ONE, 1);
        second.others_before_pong(OTHER, 1);
        neighbour.others_before_pong(TWO, 1);
        // Crosswise: it passes, and what is for an address goes to that address's interface.
        for (mark, sends, from, answered) in [(2, 0, OTHER, 1), (3, 1, ONE, 0)] {
            let wires = [&mut first, &mut second];
            wires[sends].send(&Packet::icmp(from, GATEWAY, 8, mark));
            assert_eq!(wires[answered].receive(ARRIVES), Some(Packet::icmp(GATEWAY, from, 0, mark)), "by {sends} from {from}");
        }
        // Neither its own other MAC nor the neighbour's passes a port, and nothing that it says by ARP makes a neighbour's address its own.
        let macs = [first.mac, second.mac];
        for (wire, other) in [(&mut first, macs[1]), (&mut second, macs[0])] {
            let own = wire.mac;
            for (mac, address) in [(neighbour.mac, TWO), (other, TWO)] {
                wire.mac = mac;
                wire.send(&Packet::icmp(address, GATEWAY, 8, 4));
            }
            wire.mac = own;
            let arp = [&[0, 1, 8, 0, 6, 4, 0, 2][..], &own, &TWO.octets(), &[0xff; 6], &TWO.octets()].concat();
            wire.file.write_all(&[&[0; VIRTIO_HEADER][..], &[0xff; 6], &own, &[8, 6], &arp].concat()).unwrap();
        }
        assert_eq!((first.others_before_pong(ONE, 5), second.others_before_pong(OTHER, 5)), (vec![], vec![]));
        assert_eq!(neighbour.others_before_pong(TWO, 5), [], "what was sent under the neighbour's MAC is dropped");
        let known = |address: Ipv4Addr| ip(&format!("neigh show {address}"));
        assert!(known(TWO).contains("02:68:0a:4d:00:0c PERMANENT"), "{}", known(TWO));
        assert!(known(ONE).contains("02:68:0a:4d:00:0b PERMANENT") && known(OTHER).contains("52:54:00:00:00:15 PERMANENT"));

        // Detached, its MACs are nobody's, and another VM may have its address by another MAC.
        let mac = second.mac;
        drop(second);
        network.detach("tap21").await.unwrap();
        assert!(!super::tool("bridge", &["fdb", "show", "br", "hearth0"]).contains("52:54:00:00:00:15 dev"));
        first.send(&Packet { source: OTHER, ..Packet::icmp(OTHER, GATEWAY, 8, 6) });
        assert_eq!(first.others_before_pong(ONE, 7), [], "what is for an address that is bound to none comes to no port");
        network.attach(vm(13), "tap13").await.unwrap();
        network.bind(vm(13), &[interface("tap13", OTHER, [2, 0, 0, 0, 0, 13])]).await.unwrap();
        assert!(known(OTHER).contains("02:00:00:00:00:0d PERMANENT"), "{}", known(OTHER));
        network.bind(vm(13), &[interface("tap13", OTHER, mac)]).await.unwrap();
    });
}

#[test]
fn macs_that_would_take_others_frames_and_another_vms_interface_are_refused() {
    in_namespace(|| async {
        let network = opened().await;
        network.attach(vm(11), "tap11").await.unwrap();
        network.attach(vm(11), "tap21").await.unwrap();
        let told = async |of: u128, interfaces: &[Interface]| network.bind(vm(of), interfaces).await.unwrap_err().to_string();
        let bridge = owner::bridge_mac(&plan().owner, &plan().bridge);
        assert!(told(11, &[interface("tap11", ONE, bridge)]).await.contains("the bridge's own"));
        for mac in [[0; 6], [0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
            assert!(told(11, &[interface("tap11", ONE, mac)]).await.contains("none that one interface can have"), "{mac:?}");
        }
        let mac = [2, 0, 0, 0, 0, 1];
        assert!(told(11, &[interface("tap11", ONE, mac), interface("tap21", TWO, mac)]).await.contains("another interface"));
        assert!(told(12, &[interface("tap11", ONE, mac)]).await.contains("another VM's"));
        assert!(!ip("-o -d link show dev tap11").contains("locked on"), "nothing of it was done");
    });
}

#[test]
fn guests_reach_the_outside_under_the_hosts_address() {
    in_namespace(|| async {
        let network = opened().await;
        const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
        let peer = [0x06, 0, 0, 0, 0, 1];
        let mut uplink = Wire::open("uplink", [0x06, 0, 0, 0, 0, 2], peer);
        ip("link set dev uplink address 06:00:00:00:00:01 up");
        ip("addr add 192.0.2.1/24 dev uplink");
        ip("route add default via 192.0.2.2");
        uplink.known_as("192.0.2.2", "uplink");
        let mut guest = Wire::guest(&network, 11).await;
        guest.others_before_pong(ONE, 1);

        guest.send(&Packet::icmp(Ipv4Addr::new(10, 99, 0, 1), ELSEWHERE, 8, 2));
        // The host would answer this one through the uplink.
        guest.send(&Packet::icmp(Ipv4Addr::new(10, 99, 0, 1), GATEWAY, 8, 2));
        guest.send(&Packet::udp(ONE, Ipv4Addr::new(169, 254, 169, 254), 80));
        guest.send(&Packet::icmp(ONE, ELSEWHERE, 8, 3));
        let left = uplink.receive(ARRIVES).unwrap();
        assert_eq!(
            (left.source, left.target),
            (HOST, ELSEWHERE),
            "the spoofed and the link-local one did not come before: {left:?}"
        );
        assert_eq!(left.body[6..8], 3u16.to_be_bytes());

        uplink.send(&Packet::tcp_syn(ELSEWHERE, ONE, 22));
        let mut answer = Packet { source: ELSEWHERE, target: HOST, ..left };
        answer.body[0] = 0;
        answer.body[2..4].fill(0);
        let sum = checksum(&answer.body);
        answer.body[2..4].copy_from_slice(&sum);
        uplink.send(&answer);
        assert_eq!(
            guest.receive(ARRIVES),
            Some(Packet::icmp(ELSEWHERE, ONE, 0, 3)),
            "the answer and not the connection from outside"
        );
    });
}
