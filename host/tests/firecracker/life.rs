//! One guest's life on Firecracker: the contract of all drivers and that of real ones, and the ways in which only its guests end.

use crate::contract::{self, end};
use crate::guests::{kill_9, output};
use crate::lab::Lab;
use domain::{
    VmId,
    vm::{Exit, Inspection},
};
use host::vmm::{Vmm, firecracker::JailChoice};
use std::time::{Duration, Instant};

crate::real::real_drivers_tests!(Lab);

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_of_a_life() {
    let Some(lab) = Lab::open("keeps_the_contract_of_a_life").await else { return };
    let driver = lab.driver().await;
    contract::lives_and_leaves_nothing(&driver, lab.vm, lab.images()).await;
    contract::held_ends_and_is_replaced(&driver, lab.vm, lab.images()).await;
    lab.left_nothing(&driver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_of_ends_and_sweeps() {
    let Some(lab) = Lab::open("keeps_the_contract_of_ends_and_sweeps").await else { return };
    let driver = lab.driver().await;
    contract::guest_ends_by_itself(&driver, lab.vm, lab.images()).await;
    contract::sweep_spares_the_known(&driver, [lab.vm, VmId::from_bits(rand::random())], lab.images()).await;
    lab.left_nothing(&driver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_without_a_jail() {
    let Some(lab) = Lab::open("keeps_the_contract_without_a_jail").await else { return };
    let driver = lab.driver_with(JailChoice::None).await;
    contract::lives_and_leaves_nothing(&driver, lab.vm, lab.images()).await;
    contract::guest_ends_by_itself(&driver, lab.vm, lab.images()).await;
    lab.left_nothing(&driver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_of_a_seed() {
    let Some(lab) = Lab::open("keeps_the_contract_of_a_seed").await else { return };
    let driver = lab.driver().await;
    crate::seed::a_guest_has_its_seed(&driver, lab.vm, lab.images()).await;
    lab.left_nothing(&driver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_boots_and_execs_and_its_killing_is_seen() {
    let Some(lab) = Lab::open("a_guest_boots_and_execs_and_its_killing_is_seen").await else { return };
    let driver = lab.driver().await;
    assert_eq!(driver.facts().acceleration, "kvm");
    let from = Instant::now();
    let (machine, guest) = lab.booted(&driver).await;
    eprintln!("hello after {:?}: {:?}", from.elapsed(), guest.info());
    assert_eq!(output(&*guest, &["uname", "-r"]).await, guest.info().kernel_release);
    let used = driver.usage(lab.vm, &machine).await.unwrap();
    assert!(used.rss_bytes > 10 << 20 && used.cpu_ms > 0, "{used:?}");
    kill_9(machine.pid);
    assert_eq!(end(&driver, lab.vm, &machine).await, Exit::Killed { signal: 9 });
    driver.remove(lab.vm).await.unwrap();
    lab.left_nothing(&driver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_runs_out_of_memory_is_told_from_one_that_was_killed() {
    let test = "a_process_that_runs_out_of_memory_is_told_from_one_that_was_killed";
    let Some(lab) = Lab::open(test).await else { return };
    let driver = lab.driver().await;
    let (machine, _guest) = lab.booted(&driver).await;
    let group = std::path::Path::new("/sys/fs/cgroup").join(format!("hearth-{}", lab.owner)).join(lab.vm.to_string());
    let limit = group.join("memory.max");
    if limit.exists() {
        // Less than it has: the kernel takes back what it can, and then ends it.
        std::fs::write(&limit, "4194304").unwrap();
        assert_eq!(end(&driver, lab.vm, &machine).await, Exit::OutOfMemory);
    } else {
        crate::guests::skipped(test, "needs the memory controller in cgroup v2");
    }
    driver.remove(lab.vm).await.unwrap();
    lab.left_nothing(&driver).await;
}

/// Whoever may write to the console can write a kernel's last words.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_only_says_that_it_has_ended_goes_on() {
    let Some(lab) = Lab::open("a_guest_that_only_says_that_it_has_ended_goes_on").await else { return };
    let driver = lab.driver().await;
    let (machine, guest) = lab.booted(&driver).await;
    output(&*guest, &["sh", "-c", "echo '[   12.345678] reboot: Power down' > /dev/console"]).await;
    // The time in which it is not ended is what is tested: three looks.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(driver.inspect(lab.vm, &machine).await.unwrap(), Inspection::Running);
    assert_eq!(output(&*guest, &["echo", "on"]).await, "on");
    driver.kill(lab.vm, &machine).await.unwrap();
    driver.remove(lab.vm).await.unwrap();
    lab.left_nothing(&driver).await;
}
