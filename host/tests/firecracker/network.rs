//! A guest's network interface: a TAP device in a network namespace of the test's own, which its thread enters before there is any other.

use crate::contract::{HELLO, SOON, start};
use crate::guests::output;
use crate::lab::Lab;
use domain::Attempt;
use host::vmm::{NicPlan, Vmm, VmmError};
use nix::sched::{CloneFlags, unshare};
use std::{net::IpAddr, process::Command};

const TAP: &str = "hthtest0";

fn ip(words: &[&str]) {
    assert!(Command::new("ip").args(words).status().unwrap().success(), "ip {words:?}");
}

#[test]
fn a_guest_has_its_network_interface() {
    if std::env::var_os("HEARTH_FIRECRACKER").is_some() {
        // The threads of a runtime that is made here are in it too.
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(with_a_tap());
}

async fn with_a_tap() {
    let Some(lab) = Lab::open("a_guest_has_its_network_interface").await else { return };
    ip(&["tuntap", "add", "dev", TAP, "mode", "tap"]);
    ip(&["address", "add", "10.77.0.1/16", "dev", TAP]);
    ip(&["link", "set", TAP, "up"]);
    let driver = lab.driver().await;
    let mut plan = lab.plan();
    let (address, gateway) = ([10, 77, 0, 5].into(), [10, 77, 0, 1].into());
    let nic = NicPlan { tap: TAP.into(), mac: [0x52, 0x54, 0, 0, 0, 5], address, prefix: 16, gateway, dns: vec![gateway] };
    plan.nic = Some(nic.clone());
    let machine = start(&driver, &plan, 1).await;
    let guest = driver.guest(lab.vm, &machine, HELLO).await.expect("hello");
    let mut addresses = guest.addresses();
    let known = addresses.wait_for(|interfaces| interfaces.iter().any(|interface| !interface.addresses.is_empty()));
    let known = tokio::time::timeout(SOON, known).await.unwrap().unwrap().clone();
    assert_eq!(known[0].addresses[0].address, IpAddr::from(address), "{known:?}");
    assert_eq!(known[0].mac, "52:54:00:00:00:05", "{known:?}");
    let answered = output(&*guest, &["ping", "-c", "1", "-W", "10", "10.77.0.1"]).await;
    assert!(answered.contains("1 packets received"), "{answered}");
    driver.kill(lab.vm, &machine).await.unwrap();
    // A device that can't be had is told as such.
    plan.nic = Some(NicPlan { tap: "hth-absent".into(), ..nic });
    let refused = async {
        let machine = driver.launch(&plan, Attempt(2)).await?;
        driver.release(lab.vm, &machine).await
    };
    let error = refused.await.unwrap_err();
    eprintln!("told: {error}");
    assert!(matches!(error, VmmError::Network { .. }), "{error:?}");
    driver.remove(lab.vm).await.unwrap();
    lab.left_nothing(&driver).await;
}
