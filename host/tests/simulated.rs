//! The simulated driver keeps the drivers' contract, survives a restart, draws its faults, and is light.

// Helpers of tests are not seen as tests by the lint.
#![allow(clippy::unwrap_used)]

#[path = "support/contract.rs"]
mod contract;

use contract::{HELLO, Images, SOON, end, plan, start};
use domain::{
    Attempt, VmId,
    vm::{Exit, Inspection},
};
use host::guest::GuestSession;
use host::vmm::{
    NicPlan, Vmm, VmmError,
    simulated::{Faults, Simulated, SimulatedOptions},
};
use std::time::{Duration, Instant};

struct Lab {
    data: tempfile::TempDir,
    images: Images,
}

fn lab() -> Lab {
    let data = tempfile::tempdir().unwrap();
    let rootfs = data.path().join("rootfs");
    std::fs::write(&rootfs, b"anything").unwrap();
    Lab { images: Images { kernel: "/nowhere".into(), initrd: None, rootfs }, data }
}

impl Lab {
    fn driver(&self, faults: Faults) -> Simulated {
        Simulated::new(SimulatedOptions { data: self.data.path().into(), faults, ..SimulatedOptions::default() }).unwrap()
    }
}

fn vm(bits: u128) -> VmId {
    VmId::from_bits(bits)
}

#[tokio::test]
async fn keeps_the_contract() {
    let lab = lab();
    let vmm = lab.driver(Faults::default());
    contract::lives_and_leaves_nothing(&vmm, vm(1), &lab.images).await;
    contract::held_ends_and_is_replaced(&vmm, vm(2), &lab.images).await;
    contract::guest_ends_by_itself(&vmm, vm(3), &lab.images).await;
    contract::sweep_spares_the_known(&vmm, [vm(4), vm(5)], &lab.images).await;
}

/// What its guest says that it wrote is what is invented outside of it, too.
async fn waits_until_written(guest: &dyn GuestSession, bytes: u64) {
    let written = || guest.metrics().borrow().as_ref().unwrap().disks.iter().map(|disk| disk.write_bytes).sum::<u64>();
    let (from, before) = (Instant::now(), written());
    while written() < before + bytes {
        assert!(from.elapsed() < SOON, "nothing is written");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_a_guest_writes_is_counted_outside_of_it() {
    let lab = lab();
    let vmm = lab.driver(Faults::default());
    contract::writes_show_outside(&vmm, vm(1), &lab.images, waits_until_written, 4096).await;
}

#[tokio::test]
async fn a_restart_finds_everything_but_what_was_held() {
    let lab = lab();
    let first = lab.driver(Faults::default());
    let mut machines = Vec::new();
    for bits in 1..=4 {
        machines.push(start(&first, &plan(vm(bits), &lab.images), 1).await);
    }
    first.pause(vm(2), &machines[1]).await.unwrap();
    let guest = first.guest(vm(3), &machines[2], HELLO).await.unwrap();
    guest.shutdown(api::guest::ShutdownKind::Poweroff, SOON).await.unwrap();
    first.remove(vm(4)).await.unwrap();
    let held = first.launch(&plan(vm(5), &lab.images), Attempt(1)).await.unwrap();
    drop((guest, first));
    // Half a line, as a crash leaves it.
    let notes = lab.data.path().join("simulated.notes");
    let mut content = std::fs::read(&notes).unwrap();
    content.extend(b"{\"vm\":1,\"no");
    std::fs::write(&notes, content).unwrap();
    let second = lab.driver(Faults::default());
    let inspect = async |bits: u128, machine| second.inspect(vm(bits), machine).await.unwrap();
    assert_eq!(inspect(1, &machines[0]).await, Inspection::Running);
    assert_eq!(inspect(2, &machines[1]).await, Inspection::Paused);
    assert_eq!(inspect(3, &machines[2]).await, Inspection::Gone { exit: Exit::GuestShutdown });
    assert_eq!(inspect(4, &machines[3]).await, Inspection::Gone { exit: Exit::Unknown });
    assert_eq!(inspect(5, &held).await, Inspection::Gone { exit: Exit::Unknown });
    second.guest(vm(1), &machines[0], HELLO).await.unwrap().ping().await.unwrap();
}

#[tokio::test]
async fn a_session_reports_what_the_plan_says_and_refuses_exec() {
    let lab = lab();
    let vmm = lab.driver(Faults::default());
    let mut plan = plan(vm(1), &lab.images);
    let address = [10, 77, 0, 5].into();
    plan.nics = vec![NicPlan { tap: "t".into(), mac: [2; 6], address, prefix: 16, gateway: address, dns: vec![] }];
    let machine = start(&vmm, &plan, 1).await;
    let older = vmm.guest(vm(1), &machine, HELLO).await.unwrap();
    let guest = vmm.guest(vm(1), &machine, HELLO).await.unwrap();
    tokio::time::timeout(SOON, older.closed()).await.expect("a newer session ends the older");
    assert_eq!(guest.addresses().borrow()[0].addresses[0].address, std::net::IpAddr::from(address));
    assert_eq!(guest.metrics().borrow().as_ref().unwrap().memory.total_bytes, 192 << 20);
    let refused = guest.exec(api::guest::ExecRequest::default()).await.err().unwrap();
    assert_eq!(refused.to_string(), "the guest's agent refused: the simulated driver has no guest");
    guest.metrics_interval(Some(Duration::from_millis(100))).await.unwrap();
    let mut metrics = guest.metrics();
    metrics.borrow_and_update();
    tokio::time::timeout(SOON, metrics.changed()).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn faults_come_as_drawn() {
    let lab = lab();
    let fails = lab.driver(Faults { launch_fails_per_mille: 1000, ..Faults::default() });
    assert!(matches!(fails.launch(&plan(vm(1), &lab.images), Attempt(1)).await, Err(VmmError::Spawn { .. })));
    let minute = Duration::from_secs(60);
    let late = lab.driver(Faults { hello_late_per_mille: 1000, hello_late_by: minute, ..Faults::default() });
    let machine = start(&late, &plan(vm(1), &lab.images), 1).await;
    assert!(matches!(late.guest(vm(1), &machine, minute / 2).await, Err(VmmError::Timeout { call: "hello", .. })));
    late.guest(vm(1), &machine, minute * 2).await.unwrap();
    let killed = lab.driver(Faults { killed_per_mille: 1000, killed_after: SOON / 2, ..Faults::default() });
    let machine = start(&killed, &plan(vm(2), &lab.images), 1).await;
    assert_eq!(end(&killed, vm(2), &machine).await, Exit::Killed { signal: 9 });
}

#[tokio::test]
async fn ten_thousand_are_light() {
    let lab = lab();
    let vmm = lab.driver(Faults::default());
    let resident = || {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let (before, from) = (resident(), Instant::now());
    let mut sessions = Vec::new();
    for bits in 0..10_000 {
        let machine = start(&vmm, &plan(vm(bits), &lab.images), 1).await;
        sessions.push(vmm.guest(vm(bits), &machine, HELLO).await.unwrap());
    }
    let each = (resident() - before) / 10_000;
    eprintln!("{each} bytes a VM with its session, {:?} for all", from.elapsed());
    assert!(each < 4096, "{each} bytes a VM");
}
