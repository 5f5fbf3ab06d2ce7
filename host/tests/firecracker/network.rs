//! A guest's network interface on a TAP device of a network of its own: each test's, which ends with it. Its process opens the device in a
//! network namespace in which nothing stays.

use crate::contract::{HELLO, SOON, start};
use crate::guests::output;
use crate::lab::Lab;
use domain::{
    Attempt,
    ipam::mac_of,
    vm::{Inspection, Machine},
};
use host::{
    net::{Interface, Network, NetworkPlan},
    vmm::{MachinePlan, NicPlan, Vmm, VmmError},
};
use nix::sched::{CloneFlags, unshare};
use std::{
    net::{IpAddr, Ipv4Addr},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

pub const TAP: &str = "hthtest0";
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 5);

fn links(of: &[&str]) -> String {
    let (program, before) = of.split_first().unwrap_or((&"ip", &[]));
    let ip = if of.is_empty() { &["-o", "-d", "link"][..] } else { &["ip", "-o", "-d", "link"][..] };
    let shown = Command::new(program).args(before).args(ip).output().unwrap();
    assert!(shown.status.success(), "{shown:?}");
    String::from_utf8(shown.stdout).unwrap()
}

pub fn in_namespace<F: Future<Output = ()> + 'static>(test: fn() -> F) {
    let run = move || {
        if std::env::var_os("HEARTH_FIRECRACKER").is_some() {
            // The threads of a runtime that is made here are in it too.
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        }
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    };
    std::thread::spawn(run).join().unwrap();
}

pub async fn network(lab: &Lab) -> Arc<dyn Network> {
    let plan = NetworkPlan { bridge: "hthtest".into(), gateway: GATEWAY, prefix: 16, owner: lab.owner.clone() };
    host::net::detect(plan).await.unwrap()
}

/// With a TAP as an actor makes it before each launch.
pub async fn plan(lab: &Lab, network: &dyn Network) -> MachinePlan {
    let nic =
        NicPlan { tap: TAP.into(), mac: mac_of(ADDRESS), address: ADDRESS, prefix: 16, gateway: GATEWAY, dns: vec![GATEWAY] };
    let plan = MachinePlan { nics: vec![nic], ..lab.plan() };
    plug(lab, network, &plan).await;
    plan
}

/// Makes the TAPs of all its interfaces, or puts them right.
pub async fn plug(lab: &Lab, network: &dyn Network, plan: &MachinePlan) {
    for nic in &plan.nics {
        network.attach(lab.vm, &nic.tap).await.unwrap();
    }
    let bound = plan.nics.iter().map(|nic| Interface { tap: nic.tap.clone(), address: nic.address, mac: nic.mac });
    network.bind(lab.vm, &bound.collect::<Vec<_>>()).await.unwrap();
}

/// A release that is dropped when all these devices are away, as a kill of hearth leaves it.
pub async fn cut_off_while_away(driver: impl Vmm, lab: &Lab, machine: &Machine, taps: &[&str]) {
    let releasing = async { panic!("they were not away: {:?}", driver.release(lab.vm, machine).await) };
    let away = async {
        let deadline = Instant::now() + Duration::from_secs(60);
        while taps.iter().any(|tap| nix::net::if_::if_nametoindex(*tap).is_ok()) {
            assert!(Instant::now() < deadline, "they stay");
            tokio::task::yield_now().await;
        }
    };
    tokio::select! { biased; () = away => {} () = releasing => {} }
}

pub async fn pings(driver: &dyn Vmm, lab: &Lab, machine: &Machine) {
    let guest = driver.guest(lab.vm, machine, HELLO).await.expect("hello");
    let mut addresses = guest.addresses();
    let known = addresses.wait_for(|interfaces| interfaces.iter().any(|interface| !interface.addresses.is_empty()));
    let known = tokio::time::timeout(SOON, known).await.unwrap().unwrap().clone();
    assert_eq!(known[0].addresses[0].address, IpAddr::from(ADDRESS), "{known:?}");
    let answered = output(&*guest, &["ping", "-c", "1", "-W", "10", "10.77.0.1"]).await;
    assert!(answered.contains("1 packets received"), "{answered}");
}

/// In the process's network is a loopback that is down, and its device is at its place here.
fn is_apart(pid: u32) {
    are_apart(pid, &[TAP]);
}

pub fn are_apart(pid: u32, taps: &[&str]) {
    let there = links(&["nsenter", "--net", "--target", &pid.to_string()]);
    assert!(there.lines().count() == 1 && there.contains(" lo: <LOOPBACK> "), "{there}");
    taps.iter().for_each(|tap| is_at_its_place(tap));
}

fn is_at_its_place(tap: &str) {
    assert!(is_bound(tap).contains("LOWER_UP"), "its process holds it: {tap}");
}

/// On the bridge, and open to no other VM.
pub fn is_bound(tap: &str) -> String {
    let here = links(&[]);
    let tap = here.lines().find(|line| line.contains(tap)).unwrap_or_else(|| panic!("no {tap}: {here}"));
    for told in ["master hthtest", "isolated on", "locked on"] {
        assert!(tap.contains(told), "{told}: {tap}");
    }
    tap.to_owned()
}

#[test]
fn a_guest_has_its_network_interface_and_its_process_none() {
    in_namespace(|| async {
        let Some(lab) = Lab::open("a_guest_has_its_network_interface_and_its_process_none").await else { return };
        let (driver, network) = (lab.driver().await, network(&lab).await);
        let plan = plan(&lab, &*network).await;
        let machine = start(&driver, &plan, 1).await;
        is_apart(machine.pid);
        pings(&driver, &lab, &machine).await;
        // Adopted, it has what it had.
        drop(driver);
        let driver = lab.driver().await;
        assert_eq!(driver.inspect(lab.vm, &machine).await.unwrap(), Inspection::Running);
        pings(&driver, &lab, &machine).await;
        driver.kill(lab.vm, &machine).await.unwrap();
        assert!(links(&[]).contains(TAP), "the device outlives the process");
        // A device that can't be had is told as such.
        network.detach(TAP).await.unwrap();
        let refused = async {
            let machine = driver.launch(&plan, Attempt(2)).await?;
            driver.release(lab.vm, &machine).await
        };
        let error = refused.await.unwrap_err();
        eprintln!("told: {error}");
        assert!(matches!(error, VmmError::Network { .. }), "{error:?}");
        driver.remove(lab.vm).await.unwrap();
        lab.left_nothing(&driver).await;
    });
}

/// A hearth that ends while the device is with the process.
#[test]
fn a_hearth_that_dies_while_the_tap_is_away_is_followed_by_one_that_brings_it_back() {
    in_namespace(|| async {
        let Some(lab) = Lab::open("a_hearth_that_dies_while_the_tap_is_away_is_followed_by_one_that_brings_it_back").await else {
            return;
        };
        let (first, network) = (lab.driver().await, network(&lab).await);
        let plan = plan(&lab, &*network).await;
        first.prepare_disk(&plan.disk).await.unwrap();
        let machine = first.launch(&plan, Attempt(1)).await.unwrap();
        cut_off_while_away(first, &lab, &machine, &[TAP]).await;
        let there = links(&["nsenter", "--net", "--target", &machine.pid.to_string()]);
        assert!(there.contains(TAP), "{there}");
        let second = lab.driver().await;
        assert_eq!(second.inspect(lab.vm, &machine).await.unwrap(), Inspection::Held);
        second.release(lab.vm, &machine).await.unwrap();
        is_apart(machine.pid);
        pings(&second, &lab, &machine).await;
        second.kill(lab.vm, &machine).await.unwrap();
        second.remove(lab.vm).await.unwrap();
        network.detach(TAP).await.unwrap();
        assert!(!links(&[]).contains(TAP));
        lab.left_nothing(&second).await;
    });
}
