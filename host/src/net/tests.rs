//! The NAT network against the real kernel, each test in a network namespace of its own that ends with the test.
//!
//! A namespace belongs to a thread: each test runs on a thread of its own with a runtime that has no other worker, and the programs
//! that it starts inherit the namespace. Without the right to make one, a test says SKIPPED and passes.

pub(crate) mod traffic;

use super::{NetError, Network, NetworkPlan, clash::Claim, links::Links, nat::NatNetwork};
use domain::VmId;
use std::{future::Future, net::Ipv4Addr, process::Command, time::Duration};

const TEST_DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn in_namespace<F: Future<Output = ()> + 'static>(test: fn() -> F) {
    let run = move || {
        if let Err(error) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
            eprintln!("SKIPPED: no network namespace can be made ({error}); run as root");
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(TEST_DEADLINE, test()).await.expect("the test took too long") });
    };
    std::thread::spawn(run).join().unwrap();
}

pub(crate) fn plan() -> NetworkPlan {
    NetworkPlan { bridge: "hearth0".to_owned(), gateway: Ipv4Addr::new(10, 77, 0, 1), prefix: 16, owner: "host_a".to_owned() }
}

pub(crate) fn vm(n: u128) -> VmId {
    VmId::from_bits(n)
}

/// Runs a program in the namespace and gives what it printed, on both channels.
fn tool(program: &str, arguments: &[&str]) -> String {
    let program = crate::doctor::programs::find(program).unwrap();
    let output = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

pub(crate) fn ip(line: &str) -> String {
    tool("ip", &line.split(' ').collect::<Vec<_>>())
}

fn table() -> String {
    tool("nft", &["list", "table", "inet", "hearth_hearth0"])
}

pub(crate) async fn opened() -> NatNetwork {
    let network = NatNetwork::open(plan()).unwrap();
    network.ensure().await.unwrap();
    network
}

#[test]
fn the_network_is_made_and_made_again_without_a_difference() {
    in_namespace(|| async {
        let network = opened().await;
        network.attach(vm(1), "tap1").await.unwrap();
        // The index stands for the device: one that was made again has another. Timers and carrier may differ.
        let index = |line: &str| line.split(':').next().map(str::to_owned);
        let state =
            || (index(&ip("-o link show dev hearth0")), ip("-o -4 addr show"), table(), index(&ip("-o link show dev tap1")));
        let first = state();
        network.ensure().await.unwrap();
        network.attach(vm(1), "tap1").await.unwrap();
        assert_eq!(state(), first);
        let (link, tap) = (ip("-o -d link show dev hearth0"), ip("-o -d link show dev tap1"));
        let (_, address, rules, _) = first;
        assert!(link.contains("alias hearth:host_a:bridge") && link.contains("link/ether 06:68:"), "{link}");
        assert!(address.contains("10.77.0.1/16"), "{address}");
        assert!(rules.contains("ip saddr 10.77.0.0/16 oifname != \"hearth0\" masquerade"), "{rules}");
        assert!(tap.contains("isolated on") && tap.contains("master hearth0") && tap.contains("UP"), "{tap}");
        assert!(tap.contains("persist on") && tap.contains(&format!("alias hearth:host_a:{}", vm(1))), "{tap}");
        assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap().trim(), "1");
    });
}

#[test]
fn what_someone_removed_or_changed_is_repaired() {
    in_namespace(|| async {
        let network = opened().await;
        network.attach(vm(1), "tap1").await.unwrap();
        tool("nft", &["flush", "ruleset"]);
        ip("link set dev hearth0 down");
        ip("addr flush dev hearth0");
        ip("link set dev tap1 nomaster");
        ip("link set dev tap1 down");
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        network.ensure().await.unwrap();
        network.attach(vm(1), "tap1").await.unwrap();
        assert!(table().contains("masquerade"));
        assert!(ip("-o -4 addr show dev hearth0").contains("10.77.0.1/16"));
        let tap = ip("-o -d link show dev tap1");
        assert!(tap.contains("isolated on") && tap.contains("master hearth0") && tap.contains("UP"), "{tap}");
        assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap().trim(), "1");

        ip("link set dev tap1 type bridge_slave isolated off");
        network.attach(vm(1), "tap1").await.unwrap();
        assert!(ip("-o -d link show dev tap1").contains("isolated on"));

        ip("link del dev hearth0");
        network.ensure().await.unwrap();
        let tap = ip("-o -d link show dev tap1");
        assert!(tap.contains("master hearth0") && tap.contains("isolated on"), "VMs that run are back on the bridge: {tap}");

        ip("link del dev hearth0");
        network.attach(vm(2), "tap2").await.unwrap();
        assert!(ip("-o -d link show dev tap2").contains("master hearth0"), "a bridge that is gone is made again");
    });
}

#[test]
fn a_sweep_removes_only_what_is_ours_and_unknown() {
    in_namespace(|| async {
        let network = opened().await;
        for n in 1..=3 {
            network.attach(vm(n), &format!("tap{n}")).await.unwrap();
        }
        ip("tuntap add dev other0 mode tap");
        ip("tuntap add dev other1 mode tap");
        ip(&format!("link set dev other1 alias hearth:host_b:{}", vm(9)));
        let removed = network.sweep(&["tap2".to_owned()]).await.unwrap();
        assert_eq!(removed, ["the TAP device tap1", "the TAP device tap3"]);
        let left = ip("-o link show");
        for name in ["hearth0", "tap2", "other0", "other1"] {
            assert!(left.contains(name), "{name}: {left}");
        }
        for tap in ["other0", "other1"] {
            assert!(matches!(network.detach(tap).await, Err(NetError::Tap { .. })), "{tap} is another's");
            assert!(matches!(network.attach(vm(4), tap).await, Err(NetError::Tap { .. })), "{tap} is another's");
        }
        network.detach("tap2").await.unwrap();
        network.detach("tap2").await.unwrap();
        assert!(!ip("-o link show").contains("tap2"));
    });
}

#[test]
fn nothing_is_left_after_tear_down_and_others_rules_stay() {
    in_namespace(|| async {
        tool("nft", &["add", "table", "inet", "foreign"]);
        let network = opened().await;
        network.attach(vm(1), "tap1").await.unwrap();
        network.tear_down().await.unwrap();
        network.tear_down().await.unwrap();
        let links = ip("-o link show");
        assert_eq!(links.lines().count(), 1, "only lo: {links}");
        assert_eq!(tool("nft", &["list", "tables"]).trim(), "table inet foreign");
    });
}

#[test]
fn a_foreign_bridge_and_another_hearths_are_refused_untouched() {
    in_namespace(|| async {
        ip("link add dev hearth0 type bridge");
        let before = ip("-o -d link show dev hearth0");
        let network = NatNetwork::open(plan()).unwrap();
        assert!(matches!(network.ensure().await, Err(NetError::Bridge { .. })));
        assert!(matches!(network.tear_down().await, Err(NetError::Bridge { .. })));
        assert_eq!(ip("-o -d link show dev hearth0"), before);
        ip("link del dev hearth0");

        network.ensure().await.unwrap();
        let other = NatNetwork::open(NetworkPlan { owner: "host_b".to_owned(), ..plan() }).unwrap();
        let refusal = other.ensure().await.unwrap_err().to_string();
        assert!(refusal.contains("another hearth") && refusal.contains("--subnet"), "{refusal}");
        assert!(matches!(other.attach(vm(1), "tap1").await, Err(NetError::Bridge { .. })));
        assert!(matches!(other.tear_down().await, Err(NetError::Bridge { .. })));
        assert!(table().contains("masquerade"), "the first one's rules stay");

        let own_bridge = NetworkPlan { bridge: "hearth1".to_owned(), owner: "host_b".to_owned(), ..plan() };
        let same_subnet = NatNetwork::open(own_bridge.clone()).unwrap().ensure().await;
        assert!(matches!(same_subnet, Err(NetError::AddressTaken { .. })), "{same_subnet:?}");
        let beside = NatNetwork::open(NetworkPlan { gateway: Ipv4Addr::new(10, 78, 0, 1), ..own_bridge }).unwrap();
        beside.ensure().await.unwrap();
        beside.tear_down().await.unwrap();
        assert!(table().contains("masquerade") && ip("-o link show").contains("hearth0"));
    });
}

#[test]
fn a_subnet_that_is_in_use_is_refused_and_no_bridge_is_left() {
    in_namespace(|| async {
        ip("link add dev uplink type bridge");
        ip("addr add 10.77.9.1/24 dev uplink");
        ip("link set dev uplink up");
        let network = NatNetwork::open(plan()).unwrap();
        let refusal = network.ensure().await.unwrap_err();
        assert!(matches!(refusal, NetError::AddressTaken { .. }), "{refusal}");
        assert!(refusal.to_string().contains("uplink has 10.77.9.0/24") && refusal.to_string().contains("--subnet"), "{refusal}");
        assert!(!ip("-o link show").contains("hearth0"));

        ip("addr flush dev uplink");
        ip("addr add 192.0.2.1/24 dev uplink");
        ip("route add 10.77.4.0/24 via 192.0.2.2");
        assert!(matches!(network.ensure().await, Err(NetError::AddressTaken { .. })), "a route into our subnet");
        ip("route del 10.77.4.0/24");
        ip("route add 10.0.0.0/8 via 192.0.2.2");
        ip("route add default via 192.0.2.2");
        let routes = Links::connect().unwrap().routes().await.unwrap();
        assert!(routes.iter().any(|route| route.claim == Claim::ThroughGateway && route.net.prefix == 8), "{routes:?}");
        network.ensure().await.unwrap();

        let moved = NatNetwork::open(NetworkPlan { gateway: Ipv4Addr::new(10, 80, 0, 1), ..plan() }).unwrap();
        let refusal = moved.ensure().await.unwrap_err();
        assert!(refusal.to_string().contains("10.77.0.1/16") && matches!(refusal, NetError::Bridge { .. }), "{refusal}");
    });
}

#[test]
fn a_failed_detection_leaves_no_bridge() {
    in_namespace(|| async {
        let network = super::detect(plan()).await.unwrap();
        network.tear_down().await.unwrap();
        // The rules can't be set: a program that holds our table for itself stands for every reason.
        let mut holder = Command::new(crate::doctor::programs::find("nft").unwrap());
        holder.args(["-i"]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
        let mut holder = Running(holder.spawn().unwrap());
        let input = holder.0.stdin.as_mut().unwrap();
        std::io::Write::write_all(input, b"add table inet hearth_hearth0 { flags owner; }\n").unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !table().contains("owner") {
            assert!(std::time::Instant::now() < deadline, "{}", table());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let refusal = super::detect(plan()).await.err().map(|error| error.to_string());
        assert!(refusal.is_some_and(|text| text.contains("nft")), "it is refused");
        assert_eq!(ip("-o link show").lines().count(), 1);
    });
}

#[test]
fn a_bridge_made_but_not_yet_marked_is_adopted() {
    in_namespace(|| async {
        let links = Links::connect().unwrap();
        links.add_bridge("hearth0", super::owner::bridge_mac("host_a", "hearth0")).await.unwrap();
        opened().await;
        assert!(ip("-o -d link show dev hearth0").contains("alias hearth:host_a:bridge"));
    });
}

#[test]
fn a_tap_that_is_not_kept_is_gone() {
    in_namespace(|| async {
        let fresh = super::tap::Fresh::create("tap9").unwrap();
        assert!(ip("-o link show").contains("tap9"));
        std::mem::drop(fresh);
        // A child that another test starts may hold a copy until its exec.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while ip("-o link show").contains("tap9") {
            assert!(std::time::Instant::now() < deadline, "it stays");
        }
    });
}

#[test]
fn a_tap_that_another_holds_is_waited_for() {
    in_namespace(|| async {
        let network = opened().await;
        let fresh = super::tap::Fresh::create("tap9").unwrap();
        ip("link set dev tap9 up");
        let copy = fresh.copy().unwrap();
        fresh.keep().unwrap();
        assert!(super::tap::Fresh::create("tap9").is_err(), "a VMM would be refused");
        let holder = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            std::mem::drop(copy);
        });
        network.until_free("tap9").await.unwrap();
        assert!(super::tap::Fresh::create("tap9").is_ok());
        holder.join().unwrap();
    });
}

/// Ends the child when the test ends, whichever way.
pub(crate) struct Running(pub(crate) std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_vmm_opens_the_tap_and_a_repair_does_not_disturb_it() {
    in_namespace(|| async {
        let Some(program) = crate::doctor::programs::find("qemu-system-x86_64") else {
            eprintln!("SKIPPED: qemu-system-x86_64 is not installed");
            return;
        };
        let network = opened().await;
        network.attach(vm(1), "tap1").await.unwrap();
        let arguments = "-M microvm -accel tcg -nodefaults -no-user-config -display none -S \
            -netdev tap,id=n0,ifname=tap1,script=no,downscript=no -device virtio-net-device,netdev=n0";
        let mut qemu = Running(Command::new(program).args(arguments.split_whitespace()).spawn().unwrap());
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while !ip("-o link show dev tap1").contains("LOWER_UP") {
            assert_eq!(qemu.0.try_wait().unwrap(), None, "qemu ended");
            assert!(std::time::Instant::now() < deadline, "qemu did not open the TAP");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        ip("link set dev tap1 nomaster");
        network.attach(vm(1), "tap1").await.unwrap();
        let tap = ip("-o -d link show dev tap1");
        assert!(tap.contains("LOWER_UP") && tap.contains("master hearth0") && tap.contains("isolated on"), "{tap}");
        drop(qemu);
        assert!(ip("-o link show").contains("tap1"), "the device outlives the VMM");
    });
}

#[test]
fn many_taps_are_attached_quickly() {
    in_namespace(|| async {
        const TAPS: u128 = 50;
        let network = opened().await;
        let start = std::time::Instant::now();
        for n in 0..TAPS {
            network.attach(vm(n), &format!("tap{n}")).await.unwrap();
        }
        let each = start.elapsed() / TAPS as u32;
        eprintln!("attach: {each:?} each");
        // Far above what was measured (about a millisecond), far below what a program per device would take.
        assert!(each < Duration::from_millis(25), "{each:?}");
        assert_eq!(network.sweep(&[]).await.unwrap().len(), TAPS as usize);
    });
}

#[test]
fn without_the_right_the_refusal_says_so() {
    let network = super::none::NoNetwork { reason: "no CAP_NET_ADMIN".to_owned() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        assert!(matches!(network.attach(vm(1), "tap1").await, Err(NetError::NotPermitted { .. })));
        assert!(network.detach("tap1").await.is_ok() && network.sweep(&[]).await.unwrap().is_empty());
        assert!(network.tear_down().await.is_ok());
    });
    if !nix::unistd::geteuid().is_root() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let refusal = runtime.block_on(super::detect(plan())).err();
        assert!(matches!(refusal, Some(NetError::NotPermitted { .. })), "{refusal:?}");
    }
    assert!(NatNetwork::open(NetworkPlan { bridge: "a b".to_owned(), ..plan() }).is_err());
}
