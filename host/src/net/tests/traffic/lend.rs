//! A TAP device in the hands of a process in a network namespace of its own: that it comes back as it was, with the process at its other end.

use super::{ONE, Wire, interface};
use crate::net::{
    NetError, Network, give_tap,
    lend::{bridge_of, lend, take_back},
    nat::NatNetwork,
    owner,
    tap::Fresh,
    tests::{Running, in_namespace, ip, opened, plan, vm},
};
use crate::vmm::shared::process::open_pidfd;
use nix::sched::{CloneFlags, setns};
use std::{
    os::fd::OwnedFd,
    process::Command,
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_secs(10);
const UID: u32 = 1_900_000_007;

/// A process in a network namespace of its own.
pub(crate) fn apart() -> (Running, OwnedFd) {
    let program = crate::doctor::programs::find("unshare").unwrap();
    let process = Running(Command::new(program).args(["-n", "sleep", "60"]).spawn().unwrap());
    let space = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/net")).unwrap();
    let (pid, deadline) = (process.0.id(), Instant::now() + SOON);
    while space(&pid.to_string()) == space("thread-self") {
        assert!(Instant::now() < deadline, "it makes no namespace");
        std::thread::sleep(Duration::from_millis(5));
    }
    (process, open_pidfd(pid).unwrap())
}

/// What the process does: a TUN file that is opened there, and attached to the device by its name.
fn open_there(process: &OwnedFd, n: u8) -> Wire {
    let process = process.try_clone().unwrap();
    let open = move || {
        setns(process, CloneFlags::CLONE_NEWNET).unwrap();
        Fresh::create(&format!("tap{n}")).unwrap().into_file()
    };
    let (mac, peer) = (domain::ipam::mac_of([10, 77, 0, n].into()), owner::bridge_mac(&plan().owner, &plan().bridge));
    Wire { file: std::thread::spawn(open).join().unwrap(), mac, peer }
}

async fn attached(network: &NatNetwork) -> [u8; 6] {
    let mac = domain::ipam::mac_of(ONE);
    network.attach(vm(11), "tap11").await.unwrap();
    network.bind(vm(11), &[interface("tap11", ONE, mac)]).await.unwrap();
    mac
}

fn is_here() -> bool {
    ip("-o link show").contains("tap11")
}

#[test]
fn a_lent_tap_comes_back_as_it_was_with_the_process_at_its_other_end() {
    in_namespace(|| async {
        let network = opened().await;
        let mac = attached(&network).await;
        give_tap("tap11", UID).unwrap();
        let (_running, process) = apart();
        assert_eq!(bridge_of("tap11").await.unwrap().as_deref(), Some("hearth0"));
        let from = Instant::now();
        lend("tap11", &process).await.unwrap();
        let lent = from.elapsed();
        assert!(!is_here());
        lend("tap11", &process).await.unwrap();
        let mut guest = open_there(&process, 11);
        let from = Instant::now();
        take_back("tap11", &process, Some("hearth0"), Some(mac)).await.unwrap();
        eprintln!("lent in {lent:?}, back in {:?}", from.elapsed());
        let tap = ip("-o -d link show dev tap11");
        let alias = format!("alias hearth:host_a:{}", vm(11));
        for told in ["LOWER_UP", "master hearth0", "isolated on", "locked on", "persist on", &format!("user {UID}"), &alias] {
            assert!(tap.contains(told), "{told}: {tap}");
        }
        guest.others_before_pong(ONE, 1);
        // What the network does for a VM that runs changes nothing of it.
        network.ensure().await.unwrap();
        guest.others_before_pong(ONE, 2);
        let own = guest.mac;
        guest.mac = [2, 0, 0, 0, 0, 9];
        guest.send(&super::Packet::icmp(ONE, super::GATEWAY, 8, 3));
        guest.mac = own;
        assert_eq!(guest.others_before_pong(ONE, 4), [], "only its own MAC passes");
        network.detach("tap11").await.unwrap();
        assert!(!is_here());
    });
}

#[test]
fn a_tap_that_was_made_in_place_of_a_lent_one_gives_way() {
    in_namespace(|| async {
        let network = opened().await;
        let mac = attached(&network).await;
        let (_running, process) = apart();
        lend("tap11", &process).await.unwrap();
        let mut guest = open_there(&process, 11);
        // As a hearth might that came after one that died here.
        attached(&network).await;
        lend("tap11", &process).await.unwrap();
        take_back("tap11", &process, Some("hearth0"), Some(mac)).await.unwrap();
        guest.others_before_pong(ONE, 1);

        // Another's device does not.
        lend("tap11", &process).await.unwrap();
        ip("tuntap add dev tap11 mode tap");
        let refusal = take_back("tap11", &process, Some("hearth0"), Some(mac)).await.unwrap_err();
        assert!(matches!(&refusal, NetError::Tap { detail, .. } if detail.contains("another device")), "{refusal}");
        assert!(is_here());
        ip("link del dev tap11");
        take_back("tap11", &process, Some("hearth0"), Some(mac)).await.unwrap();
        guest.others_before_pong(ONE, 2);
    });
}

/// Who takes it back may be cut off after each step, or may be another hearth than the one that did.
#[test]
fn one_that_is_back_and_not_as_it_was_is_put_right() {
    in_namespace(|| async {
        let network = opened().await;
        let mac = attached(&network).await;
        let (_running, process) = apart();
        let home = async || take_back("tap11", &process, Some("hearth0"), Some(mac)).await;
        let is_right = || {
            let tap = ip("-o -d link show dev tap11");
            assert!(["master hearth0", "isolated on", "locked on"].iter().all(|told| tap.contains(told)), "{tap}");
        };
        home().await.expect("it never was away");
        for undone in ["type bridge_slave locked off", "nomaster"] {
            lend("tap11", &process).await.unwrap();
            home().await.unwrap();
            is_right();
            assert_eq!(ip(&format!("link set dev tap11 {undone}")), "");
            assert!(!ip("-o -d link show dev tap11").contains("locked on"));
            home().await.unwrap();
            is_right();
        }
        network.detach("tap11").await.unwrap();
        ip("tuntap add dev tap11 mode tap");
        assert!(matches!(home().await, Err(NetError::Tap { .. })), "another's is not touched");
        assert!(!ip("-o -d link show dev tap11").contains("master"));
    });
}

#[test]
fn a_lent_tap_ends_with_its_process_and_is_made_anew() {
    in_namespace(|| async {
        let network = opened().await;
        attached(&network).await;
        let (running, process) = apart();
        lend("tap11", &process).await.unwrap();
        drop(running);
        assert!(matches!(lend("tap11", &process).await, Err(NetError::Tap { .. })), "it is gone");
        assert!(!is_here());
        attached(&network).await;
        let tap = ip("-o -d link show dev tap11");
        assert!(tap.contains("master hearth0") && tap.contains("isolated on"), "{tap}");
        assert!(matches!(lend("tap12", &process).await, Err(NetError::Tap { .. })));
    });
}
