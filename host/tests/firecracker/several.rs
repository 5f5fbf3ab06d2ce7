//! A guest with several network interfaces: that it has them in their order, that each is reached and limited by itself, that its process has none
//! in its own network, and that a start that can't have one of them leaves the others as they were.

use crate::contract::{HELLO, SOON, start};
use crate::guests::output;
use crate::lab::Lab;
use crate::network::{ADDRESS, GATEWAY, TAP, are_apart, in_namespace, network, plan};
use api::guest::InterfaceAddresses;
use domain::{
    Attempt,
    vm::{DriveChange, Drives, RateLimits},
};
use host::{
    guest::GuestSession,
    net::{Interface, Network},
    vmm::{MachinePlan, NicPlan, Tuning, Vmm, VmmError},
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
const SENT: usize = 1 << 20;
/// Mbit a second; see `rates`.
const SLOW: u32 = 1;
const FAST: u32 = 2;
const MOST: Duration = Duration::from_secs(60);

async fn two(lab: &Lab, network: &dyn Network) -> MachinePlan {
    let mut plan = plan(lab, network).await;
    network.attach(lab.vm, SECOND_TAP).await.unwrap();
    let second =
        NicPlan { tap: SECOND_TAP.into(), mac: SECOND_MAC, address: SECOND, prefix: 16, gateway: GATEWAY, dns: Vec::new() };
    plan.nics.push(second);
    let bound = plan.nics.iter().map(|nic| Interface { tap: nic.tap.clone(), address: nic.address, mac: nic.mac });
    network.bind(lab.vm, &bound.collect::<Vec<_>>()).await.unwrap();
    plan
}

/// The kernel gives each an address of IPv6, too.
fn v4(interface: &InterfaceAddresses) -> Option<IpAddr> {
    interface.addresses.iter().map(|one| one.address).find(IpAddr::is_ipv4)
}

fn received(mbit_per_s: u32) -> Tuning {
    Tuning { rate_limits: RateLimits { rx_mbit_per_s: Some(mbit_per_s), ..RateLimits::default() }, balloon_mib: 0 }
}

/// The least that a limit allows: two seconds' worth goes at once.
fn least(mbit_per_s: u32) -> Duration {
    Duration::from_secs_f64(SENT as f64 / (f64::from(mbit_per_s) * 1e6 / 8.0) - 2.0)
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
        let plan = MachinePlan { tuning: received(SLOW), ..two(&lab, &*network).await };
        let machine = start(&driver, &plan, 1).await;
        are_apart(machine.pid, &[TAP, SECOND_TAP]);
        let guest = driver.guest(lab.vm, &machine, HELLO).await.expect("hello");
        let mut addresses = guest.addresses();
        let all = |known: &Vec<InterfaceAddresses>| known.len() == 2 && known.iter().all(|one| v4(one).is_some());
        let known = tokio::time::timeout(SOON, addresses.wait_for(all)).await;
        let known = known.unwrap_or_else(|_| panic!("{:?}", guest.addresses().borrow())).unwrap().clone();
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
        driver.tune(lab.vm, &machine, &received(FAST)).await.unwrap();
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

        // One that can't be had: the other is as it was.
        network.detach(SECOND_TAP).await.unwrap();
        let refused = async {
            let machine = driver.launch(&plan, Attempt(2)).await?;
            driver.release(lab.vm, &machine).await
        };
        let error = refused.await.unwrap_err();
        eprintln!("told: {error}");
        assert!(matches!(error, VmmError::Network { .. }), "{error:?}");
        network.attach(lab.vm, TAP).await.unwrap();
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
        let is_away = |tap: &str| nix::net::if_::if_nametoindex(tap).is_err();
        let releasing = async { panic!("they were not away: {:?}", first.release(lab.vm, &machine).await) };
        let away = async {
            let deadline = Instant::now() + MOST;
            while !(is_away(TAP) && is_away(SECOND_TAP)) {
                assert!(Instant::now() < deadline, "they stay");
                tokio::task::yield_now().await;
            }
        };
        tokio::select! { biased; () = away => {} () = releasing => {} }
        drop(first);
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
            network.attach(lab.vm, &tap).await.unwrap();
            let address = Ipv4Addr::new(10, 77, 100, 100 + n);
            plan.nics.push(NicPlan { tap, mac, address, prefix: 16, gateway: GATEWAY, dns: Vec::new() });
        }
        let bound = plan.nics.iter().map(|nic| Interface { tap: nic.tap.clone(), address: nic.address, mac: nic.mac });
        network.bind(lab.vm, &bound.collect::<Vec<_>>()).await.unwrap();
        let drive = |n: u8| DriveChange { name: format!("data-{n}").parse().unwrap(), size_mib: Some(1), read_only: None };
        plan.disk.drives = Drives::new(&(0..4).map(drive).collect::<Vec<_>>());
        plan.cloud_init = Some(Box::default());
        plan.cmdline = Some(format!("w={} last=word", "w".repeat(748)));
        let machine = start(&driver, &plan, 1).await;
        let guest = driver.guest(lab.vm, &machine, HELLO).await.expect("hello");
        assert!(output(&*guest, &["cat", "/proc/cmdline"]).await.contains(" last=word"));
        let mut addresses = guest.addresses();
        let all = |known: &Vec<InterfaceAddresses>| known.len() == 8 && known.iter().all(|one| v4(one).is_some());
        let known = tokio::time::timeout(SOON, addresses.wait_for(all)).await;
        let known = known.unwrap_or_else(|_| panic!("{:?}", guest.addresses().borrow())).unwrap().clone();
        let told: Vec<_> = known.iter().filter_map(v4).collect();
        assert_eq!(told, plan.nics.iter().map(|nic| IpAddr::from(nic.address)).collect::<Vec<_>>());
        driver.kill(lab.vm, &machine).await.unwrap();
        driver.remove(lab.vm).await.unwrap();
        for nic in &plan.nics {
            network.detach(&nic.tap).await.unwrap();
        }
        lab.left_nothing(&driver).await;
    });
}
