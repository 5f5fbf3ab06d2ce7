//! Memory that a guest is given while it runs, and gives back: by what the guest sees, what the host has, and what its jail allows. Of a jail alone
//! the limit is looked at.

use crate::contract::{HELLO, SOON, start};
use crate::guests::output;
use crate::lab::Lab;
use crate::real::memory;
use domain::vm::Machine;
use host::{
    guest::GuestSession,
    vmm::{MachinePlan, Tuning, Vmm},
};
use std::time::Instant;

const MIB: u64 = 1 << 20;
const BEGAN: u32 = 192;
const MOST: u32 = 448;
/// What a guest does not count of its memory: the kernel's own, and what describes the rest.
const KERNELS_MIB: u64 = 64;

/// The guest takes and gives in its own time.
async fn until(guest: &dyn GuestSession, what: &str, holds: impl Fn(u64) -> bool) {
    let deadline = Instant::now() + SOON;
    loop {
        let total = memory(guest, "MemTotal:").await;
        if holds(total) {
            return eprintln!("{what}: {total} MiB");
        }
        assert!(Instant::now() < deadline, "{what}: {total} MiB");
    }
}

async fn tuned(driver: &dyn Vmm, lab: &Lab, machine: &Machine, mem_mib: u32) {
    driver.tune(lab.vm, machine, &Tuning { mem_mib: Some(mem_mib), ..Tuning::default() }).await.unwrap();
}

/// Of the group in which the process is; absent where there is no limit.
fn limit(machine: &Machine) -> Option<u64> {
    let group = std::fs::read_to_string(format!("/proc/{}/cgroup", machine.pid)).unwrap();
    let group = group.lines().find_map(|line| line.strip_prefix("0::")).unwrap().trim_start_matches('/').to_owned();
    std::fs::read_to_string(std::path::Path::new("/sys/fs/cgroup").join(group).join("memory.max")).unwrap().trim().parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_given_while_the_guest_runs_and_taken_back() {
    let Some(lab) = Lab::open("memory_is_given_while_the_guest_runs_and_taken_back").await else { return };
    let driver = lab.driver().await;
    assert!(driver.capabilities().memory_hotplug);
    let plan = MachinePlan { mem_mib: BEGAN, mem_max_mib: Some(MOST), ..lab.plan() };
    let machine = start(&driver, &plan, 1).await;
    let guest = driver.guest(lab.vm, &machine, HELLO).await.expect("hello");
    let (began, allowed) = (memory(&*guest, "MemTotal:").await, limit(&machine));
    assert!(began + KERNELS_MIB > BEGAN.into() && began <= BEGAN.into(), "{began} MiB");
    // What is so already is so.
    tuned(&driver, &lab, &machine, BEGAN).await;
    tuned(&driver, &lab, &machine, MOST).await;
    until(&*guest, "with all that it may have", |total| total + KERNELS_MIB > MOST.into()).await;
    // It is there: more is written than it began with, and the jail bears it.
    let written = u64::from(BEGAN) + 64;
    let script = format!(
        "mount -t tmpfs -o size={written}m none /mnt && head -c {} /dev/zero > /mnt/full && wc -c < /mnt/full",
        written * MIB
    );
    assert_eq!(output(&*guest, &["sh", "-c", &script]).await, (written * MIB).to_string());
    let resident = driver.usage(lab.vm, &machine).await.unwrap().rss_bytes;
    assert!(resident > written * MIB, "{} MiB resident", resident / MIB);
    let (raised, more) = (limit(&machine), u64::from(MOST - BEGAN) * MIB);
    assert!(raised.zip(allowed).is_none_or(|(now, then)| now > then + more), "{allowed:?}, then {raised:?}");
    output(&*guest, &["umount", "/mnt"]).await;
    // By the next hearth; what was given stays allowed, for a guest may keep it.
    drop((guest, driver));
    let second = lab.driver().await;
    second.inspect(lab.vm, &machine).await.unwrap();
    let guest = second.guest(lab.vm, &machine, HELLO).await.expect("hello again");
    tuned(&second, &lab, &machine, BEGAN).await;
    until(&*guest, "taken back", |total| total <= began + 8).await;
    assert_eq!(limit(&machine), raised);
    let left = second.usage(lab.vm, &machine).await.unwrap().rss_bytes;
    eprintln!("{} MiB resident, then {}", resident / MIB, left / MIB);
    assert!(left + 64 * MIB < resident, "what was taken back is the host's again");
    second.kill(lab.vm, &machine).await.unwrap();
    second.remove(lab.vm).await.unwrap();
    lab.left_nothing(&second).await;
}
