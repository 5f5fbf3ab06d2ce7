//! A guest's network interfaces on TAP devices of a network of its own: each test's, in a network namespace that ends with it.

use crate::contract::{HELLO, SOON, plan, start};
use crate::guests::{output, skipped};
use crate::{Lab, traces};
use api::guest::InterfaceAddresses;
use domain::Attempt;
use host::{
    net::{Interface, Network, NetworkPlan},
    vmm::{MachinePlan, NicPlan, Vmm, VmmError},
};
use nix::sched::{CloneFlags, unshare};
use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};
use tokio::net::TcpStream;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// The threads of the test's runtime are in it too, and so is what they start.
fn in_namespace<F: Future<Output = ()> + 'static>(test: &'static str, run: fn(Lab) -> F) {
    let thread = move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            skipped(test, &format!("no network namespace can be made ({error}); run as root"));
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            if let Some(lab) = Lab::open(test).await {
                run(lab).await;
            }
        });
    };
    std::thread::spawn(thread).join().unwrap();
}

/// With TAPs as an actor makes them before each launch. The later a MAC, the lower.
async fn plugged(lab: &Lab, count: u8) -> (Arc<dyn Network>, MachinePlan) {
    let network = NetworkPlan { bridge: "hthtest".into(), gateway: GATEWAY, prefix: 16, owner: lab.owner.clone() };
    let network = host::net::detect(network).await.unwrap();
    let nic = |n: u8| NicPlan {
        tap: format!("hthtest{n}"),
        mac: [0x52, 0x54, 0, 0, 0, 0x20 - n],
        address: Ipv4Addr::new(10, 77, 0, 5 + n),
        prefix: 16,
        gateway: GATEWAY,
        dns: vec![GATEWAY],
    };
    let nics: Vec<NicPlan> = (0..count).map(nic).collect();
    for nic in &nics {
        network.attach(lab.vm, &nic.tap).await.unwrap();
    }
    let bound = nics.iter().map(|nic| Interface { tap: nic.tap.clone(), address: nic.address, mac: nic.mac });
    network.bind(lab.vm, &bound.collect::<Vec<_>>()).await.unwrap();
    (network, MachinePlan { nics, ..plan(lab.vm, &lab.images) })
}

/// Its only one; the kernel gives each an address of IPv6.
fn v4(interface: &InterfaceAddresses) -> Option<IpAddr> {
    let mut found = interface.addresses.iter().map(|one| one.address).filter(IpAddr::is_ipv4);
    found.next().filter(|_| found.next().is_none())
}

/// From the host: the guest resets a connection that nobody there takes.
async fn reaches(address: Ipv4Addr) {
    let connected = tokio::time::timeout(SOON, TcpStream::connect((address, 9))).await;
    let error = connected.unwrap_or_else(|_| panic!("{address} does not answer")).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{address}: {error}");
}

#[test]
fn a_guest_has_all_its_interfaces_in_their_order_and_each_is_reached() {
    in_namespace("a_guest_has_all_its_interfaces_in_their_order_and_each_is_reached", |lab| async move {
        let qemu = lab.driver().await;
        let (network, plan) = plugged(&lab, 3).await;
        let machine = start(&qemu, &plan, 1).await;
        let guest = qemu.guest(lab.vm, &machine, HELLO).await.expect("hello");
        let mut addresses = guest.addresses();
        let all = |known: &Vec<InterfaceAddresses>| known.len() == 3 && known.iter().all(|one| v4(one).is_some());
        let known = tokio::time::timeout(SOON, addresses.wait_for(all)).await;
        let known = known.unwrap_or_else(|_| panic!("{:?}", guest.addresses().borrow())).unwrap().clone();
        let told: Vec<_> = known.iter().map(|one| (one.interface.as_str(), one.mac.as_str(), v4(one))).collect();
        let expected = [
            ("eth0", "52:54:00:00:00:20", Some([10, 77, 0, 5].into())),
            ("eth1", "52:54:00:00:00:1f", Some([10, 77, 0, 6].into())),
            ("eth2", "52:54:00:00:00:1e", Some([10, 77, 0, 7].into())),
        ];
        assert_eq!(told, expected);
        let routes = output(&*guest, &["ip", "route"]).await;
        let default: Vec<&str> = routes.lines().filter(|route| route.starts_with("default")).collect();
        assert!(matches!(default[..], [route] if route.contains("via 10.77.0.1 dev eth0")), "{routes}");
        for nic in &plan.nics {
            reaches(nic.address).await;
            // Linux sends it by the first of them.
            let pinged = output(&*guest, &["ping", "-c", "1", "-W", "10", "-I", &nic.address.to_string(), "10.77.0.1"]).await;
            assert!(pinged.contains("1 packets received"), "{}: {pinged}", nic.address);
        }
        // By another of them than the first, too.
        output(&*guest, &["ip", "route", "add", "10.77.0.1/32", "dev", "eth2"]).await;
        let before = network.traffic("hthtest2").await.unwrap().unwrap();
        for nic in &plan.nics {
            reaches(nic.address).await;
        }
        assert!(network.traffic("hthtest2").await.unwrap().unwrap().sent_packets >= before.sent_packets + 3);
        qemu.kill(lab.vm, &machine).await.unwrap();
        for nic in &plan.nics {
            network.detach(&nic.tap).await.unwrap();
        }
        qemu.remove(lab.vm).await.unwrap();
        qemu.sweep(&[]).await.unwrap();
        assert_eq!(traces(&lab.owner), Vec::<String>::new());
    });
}

#[test]
fn an_interface_that_cannot_be_had_is_told_as_such() {
    in_namespace("an_interface_that_cannot_be_had_is_told_as_such", |lab| async move {
        let qemu = lab.driver().await;
        let (_network, mut plan) = plugged(&lab, 2).await;
        plan.nics[1].tap = "no/such/device".into();
        qemu.prepare_disk(&plan.disk).await.unwrap();
        let machine = qemu.launch(&plan, Attempt(1)).await.unwrap();
        let error = qemu.release(lab.vm, &machine).await.unwrap_err();
        assert!(matches!(error, VmmError::Network { .. }), "{error}");
        qemu.remove(lab.vm).await.unwrap();
        qemu.sweep(&[]).await.unwrap();
        assert_eq!(traces(&lab.owner), Vec::<String>::new());
    });
}
