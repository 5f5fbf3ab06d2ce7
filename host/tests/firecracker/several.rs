//! A guest with several network interfaces: that it has them in their order, that each is reached and limited by itself, that its process has none
//! in its own network, and that a start that can't have one of them leaves the others as they were.

use crate::contract::{HELLO, SOON, start};
use crate::guests::output;
use crate::lab::Lab;
use crate::network::{ADDRESS, GATEWAY, TAP, are_apart, cut_off_while_away, in_namespace, is_bound, network, plan, plug};
use crate::rates::{FAST, SENT, SLOW, least, tuning};
use api::guest::InterfaceAddresses;
use domain::{
    Attempt,
    vm::{DriveChange, Drives},
};
use host::{
    guest::GuestSession,
    net::Network,
    vmm::{MachinePlan, NicPlan, Vmm, VmmError},
};
use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

const SECOND_TAP: &str = "hthtest1";
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 6);
/// Lower than the first's, and the user's own choice.
const SECOND_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x16];
const MOST: Duration = Duration::from_secs(60);

async fn two(lab: &Lab, network: &dyn Network) -> MachinePlan {
    let mut plan = plan(lab, network).await;
    let second =
        NicPlan { tap: SECOND_TAP.into(), mac: SECOND_MAC, address: SECOND, prefix: 16, gateway: GATEWAY, dns: Vec::new() };
    plan.nics.push(second);
    plug(lab, network, &plan).await;
    plan
}

/// The kernel gives each an address of IPv6, too.
fn v4(interface: &InterfaceAddresses) -> Option<IpAddr> {
    interface.addresses.iter().map(|one| one.address).find(IpAddr::is_ipv4)
}

/// What the agent tells of so many, once each has its address.
async fn known(guest: &dyn GuestSession, count: usize) -> Vec<InterfaceAddresses> {
    let mut addresses = guest.addresses();
    let all = |known: &Vec<InterfaceAddresses>| known.len() == count && known.iter().all(|one| v4(one).is_some());
    let known = tokio::time::timeout(SOON, addresses.wait_for(all)).await;
    known.unwrap_or_else(|_| panic!("{:?}", guest.addresses().borrow())).unwrap().clone()
}

/// How long so many bytes take to that address of the guest.
async fn sent_to(guest: &dyn GuestSession, address: Ipv4Addr, port: u16) -> Duration {
    let script = format!("nc -l -p {port} </dev/null | wc -c");
    let asked = ["sh", "-c", &script];
    let send = async {
        let mut socket = loop {
            match TcpStream::connect((address, port)).await {
                Ok(socket) => break socket,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        let from = Instant::now();
        socket.write_all(&vec![7; SENT]).await.unwrap();
        socket.shutdown().await.unwrap();
        from
    };
    let both = async { tokio::join!(send, output(guest, &asked)) };
    let (from, taken) = tokio::time::timeout(MOST, both).await.unwrap_or_else(|_| panic!("to {address}: more than {MOST:?}"));
    assert_eq!(taken, SENT.to_string(), "to {address}");
    from.elapsed()
}

#[test]
fn a_guest_has_two_interfaces_each_limited_by_itself() {
    in_namespace(|| async {
        let Some(lab) = Lab::open("a_guest_has_two_interfaces_each_limited_by_itself").await else { return };
        let (driver, network) = (lab.driver().await, network(&lab).await);
        let plan = MachinePlan { tuning: tuning(Some(SLOW), None), ..two(&lab, &*network).await };
        let machine = start(&driver, &plan, 1).await;
        are_apart(machine.pid, &[TAP, SECOND_TAP]);
        let guest = driver.guest(lab.vm, &machine, HELLO).await.expect("hello");
        let known = known(&*guest, 2).await;
        let told: Vec<_> = known.iter().map(|one| (one.interface.as_str(), one.mac.as_str(), v4(one))).collect();
        let expected = [("eth0", "02:68:0a:4d:00:05", Some(ADDRESS.into())), ("eth1", "02:00:00:00:00:16", Some(SECOND.into()))];
        assert_eq!(told, expected);
        // Linux sends it by the first of them.
        for address in [ADDRESS, SECOND] {
            let pinged = output(&*guest, &["ping", "-c", "1", "-W", "10", "-I", &address.to_string(), "10.77.0.1"]).await;
            assert!(pinged.contains("1 packets received"), "{address}: {pinged}");
        }
        let both = async |what: &str| {
            let took = tokio::join!(sent_to(&*guest, ADDRESS, 5001), sent_to(&*guest, SECOND, 5002));
            eprintln!("1 MiB to each at once, {what}: {took:?}");
            <[Duration; 2]>::from(took)
        };
        let slow = both("1 Mbit/s each, from the start").await;
        driver.tune(lab.vm, &machine, &tuning(Some(FAST), None)).await.unwrap();
        let fast = both("2 Mbit/s each").await;
        for (slow, fast) in slow.into_iter().zip(fast) {
            assert!(slow >= least(SLOW) && fast >= least(FAST) && fast < slow, "{slow:?} and {fast:?}");
            // Together they would take twice as long.
            assert!(slow < least(SLOW) * 2, "{slow:?}");
        }
        let outside = driver.outside(lab.vm, &machine).await.unwrap();
        let counted: Vec<_> =
            outside.interfaces.iter().map(|one| (one.name.as_str(), one.received_bytes > 2 * SENT as u64)).collect();
        assert_eq!(counted, [("eth0", true), ("eth1", true)], "{:?}", outside.interfaces);
        driver.kill(lab.vm, &machine).await.unwrap();

        // One that is gone when its turn comes, and one that is gone before: the other was with the process, or not, and is what it was.
        let index = nix::net::if_::if_nametoindex(TAP).unwrap();
        for attempt in [2, 3] {
            let refused = async {
                let machine = driver.launch(&plan, Attempt(attempt)).await?;
                network.detach(SECOND_TAP).await.unwrap();
                driver.release(lab.vm, &machine).await
            };
            let error = refused.await.unwrap_err();
            eprintln!("told: {error}");
            assert!(matches!(error, VmmError::Network { .. }), "{error:?}");
            assert_eq!(nix::net::if_::if_nametoindex(TAP), Ok(index), "one that was made anew has another index");
            is_bound(TAP);
        }
        driver.remove(lab.vm).await.unwrap();
        network.detach(TAP).await.unwrap();
        lab.left_nothing(&driver).await;
    });
}

/// A hearth that ends while the devices are with the process: the next one brings all of them back, and the guest has them in their order.
#[test]
fn devices_that_were_away_when_a_hearth_died_come_back_in_their_order() {
    in_namespace(|| async {
        let Some(lab) = Lab::open("devices_that_were_away_when_a_hearth_died_come_back_in_their_order").await else { return };
        let (first, network) = (lab.driver().await, network(&lab).await);
        let plan = two(&lab, &*network).await;
        first.prepare_disk(&plan.disk).await.unwrap();
        let machine = first.launch(&plan, Attempt(1)).await.unwrap();
        cut_off_while_away(first, &lab, &machine, &[TAP, SECOND_TAP]).await;
        let second = lab.driver().await;
        second.release(lab.vm, &machine).await.unwrap();
        are_apart(machine.pid, &[TAP, SECOND_TAP]);
        let guest = second.guest(lab.vm, &machine, HELLO).await.expect("hello");
        let eth1 = output(&*guest, &["cat", "/sys/class/net/eth1/address"]).await;
        assert_eq!(eth1, "02:00:00:00:00:16");
        second.kill(lab.vm, &machine).await.unwrap();
        second.remove(lab.vm).await.unwrap();
        for tap in [TAP, SECOND_TAP] {
            network.detach(tap).await.unwrap();
        }
        lab.left_nothing(&second).await;
    });
}

/// As many devices as there are interrupts for, and as many words on the kernel's command line as fit beside them.
#[test]
fn a_machine_with_all_that_it_has_room_for_boots() {
    in_namespace(|| async {
        let Some(lab) = Lab::open("a_machine_with_all_that_it_has_room_for_boots").await else { return };
        let (driver, network) = (lab.driver().await, network(&lab).await);
        let mut plan = two(&lab, &*network).await;
        for n in 2..8 {
            let (tap, mac) = (format!("hthtest{n}"), [0x02, 0, 0, 0, 0, n]);
            let address = Ipv4Addr::new(10, 77, 100, 100 + n);
            plan.nics.push(NicPlan { tap, mac, address, prefix: 16, gateway: GATEWAY, dns: Vec::new() });
        }
        plug(&lab, &*network, &plan).await;
        let drive = |n: u8| DriveChange { name: format!("data-{n}").parse().unwrap(), size_mib: Some(1), read_only: None };
        plan.disk.drives = Drives::new(&(0..4).map(drive).collect::<Vec<_>>());
        plan.cloud_init = Some(Box::default());
        plan.cmdline = Some(format!("w={} last=word", "w".repeat(748)));
        let machine = start(&driver, &plan, 1).await;
        let guest = driver.guest(lab.vm, &machine, HELLO).await.expect("hello");
        assert!(output(&*guest, &["cat", "/proc/cmdline"]).await.contains(" last=word"));
        let told: Vec<_> = known(&*guest, 8).await.iter().filter_map(v4).collect();
        assert_eq!(told, plan.nics.iter().map(|nic| IpAddr::from(nic.address)).collect::<Vec<_>>());
        driver.kill(lab.vm, &machine).await.unwrap();
        driver.remove(lab.vm).await.unwrap();
        for nic in &plan.nics {
            network.detach(&nic.tap).await.unwrap();
        }
        lab.left_nothing(&driver).await;
    });
}
