//! One guest's life on Firecracker: the contract of all drivers, what its agent and its console say, and each way in which it ends.

use crate::contract::{self, SOON, end};
use crate::guests::{kill_9, lives, output, within};
use crate::lab::Lab;
use api::guest::ExecRequest;
use domain::{
    Attempt, VmId,
    vm::{Exit, Inspection},
};
use host::vmm::{Vmm, firecracker::JailChoice};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Two seconds of the guest's time; a guest that gets its processor burns them all.
const WATCHED: Duration = Duration::from_secs(2);

fn words(argv: &[&str]) -> ExecRequest {
    ExecRequest { argv: argv.iter().map(|&word| word.to_owned()).collect(), ..Default::default() }
}

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
async fn the_console_shows_what_the_guest_prints_and_takes_what_is_typed() {
    let Some(lab) = Lab::open("the_console_shows_what_the_guest_prints_and_takes_what_is_typed").await else { return };
    let driver = lab.driver().await;
    assert!(driver.capabilities().console_input);
    let (machine, guest) = lab.booted(&driver).await;
    let mut console = driver.console(lab.vm, 4096).await.unwrap();
    let printing = words(&["sh", "-c", "echo written-to-the-console > /dev/console"]);
    guest.exec(printing).await.unwrap().collect(10).await.unwrap();
    let mut shown = String::new();
    let reading = async {
        let mut buffer = [0; 1024];
        while !shown.contains("written-to-the-console") {
            let read = console.read(&mut buffer).await.unwrap();
            shown.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    };
    tokio::time::timeout(SOON, reading).await.unwrap_or_else(|_| panic!("the console shows {shown:?}"));
    let log = driver.console_log(lab.vm, 4096).await.unwrap();
    assert!(String::from_utf8_lossy(&log).contains("written-to-the-console"));
    let argv = ["sh", "-c", "read line < /dev/ttyS0; echo got-$line"];
    let reading = output(&*guest, &argv);
    // The reader's start can't be seen from here, so it is typed until it was read.
    let typing = async {
        loop {
            console.write_all(b"typed\n").await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let got = tokio::time::timeout(SOON, async {
        tokio::select! { got = reading => got, () = typing => String::new() }
    });
    assert_eq!(got.await.expect("what is typed arrives"), "got-typed");
    driver.kill(lab.vm, &machine).await.unwrap();
    driver.remove(lab.vm).await.unwrap();
    lab.left_nothing(&driver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_guest_runs_nothing() {
    let Some(lab) = Lab::open("a_paused_guest_runs_nothing").await else { return };
    let driver = lab.driver().await;
    let (machine, guest) = lab.booted(&driver).await;
    let busy = words(&["sh", "-c", "(while :; do :; done) </dev/null >/dev/null 2>&1 &"]);
    guest.exec(busy).await.unwrap().collect(10).await.unwrap();
    let burnt = async || {
        let before = driver.usage(lab.vm, &machine).await.unwrap().cpu_ms;
        // The time that passes is what is tested.
        tokio::time::sleep(WATCHED).await;
        driver.usage(lab.vm, &machine).await.unwrap().cpu_ms - before
    };
    let running = burnt().await;
    driver.pause(lab.vm, &machine).await.unwrap();
    let paused = burnt().await;
    driver.resume(lab.vm, &machine).await.unwrap();
    let resumed = burnt().await;
    eprintln!("processor time in {WATCHED:?}: running {running} ms, paused {paused} ms, resumed {resumed} ms");
    assert!(running > 300 && resumed > 300, "a busy guest runs: {running} ms, {resumed} ms");
    assert!(paused < 100, "a paused one does not: {paused} ms");
    driver.kill(lab.vm, &machine).await.unwrap();
    driver.remove(lab.vm).await.unwrap();
    lab.left_nothing(&driver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_told_as_such() {
    let Some(lab) = Lab::open("a_panic_is_told_as_such").await else { return };
    let driver = lab.driver().await;
    let (machine, guest) = lab.booted(&driver).await;
    let panicking = words(&["sh", "-c", "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger"]);
    let _cut_short = guest.exec(panicking).await;
    assert_eq!(end(&driver, lab.vm, &machine).await, Exit::GuestPanic);
    driver.remove(lab.vm).await.unwrap();
    lab.left_nothing(&driver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_says_why() {
    let Some(lab) = Lab::open("a_start_that_fails_says_why").await else { return };
    let driver = lab.driver().await;
    let mut plan = lab.plan();
    plan.kernel.clone_from(&lab.images().rootfs);
    driver.prepare_disk(&plan.disk).await.unwrap();
    let machine = driver.launch(&plan, Attempt(1)).await.unwrap();
    let error = driver.release(lab.vm, &machine).await.unwrap_err();
    eprintln!("told: {error}");
    assert!(error.to_string().to_lowercase().contains("kernel"), "{error}");
    driver.kill(lab.vm, &machine).await.unwrap();
    assert!(matches!(driver.inspect(lab.vm, &machine).await.unwrap(), Inspection::Gone { .. }));
    driver.remove(lab.vm).await.unwrap();
    lab.left_nothing(&driver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_process_is_recorded_first_and_ends_with_its_owner() {
    let Some(lab) = Lab::open("a_held_process_is_recorded_first_and_ends_with_its_owner").await else { return };
    let driver = lab.driver().await;
    let plan = lab.plan();
    driver.prepare_disk(&plan.disk).await.unwrap();
    let machine = driver.launch(&plan, Attempt(1)).await.unwrap();
    assert!(lives(machine.pid));
    let program = std::fs::read_link(format!("/proc/{}/exe", machine.pid)).unwrap();
    assert_eq!(program, std::env::current_exe().unwrap(), "nothing of Firecracker or its jailer ran yet");
    drop(driver);
    within(SOON, "the held process ends", || !lives(machine.pid)).await;
    let second = lab.driver().await;
    assert!(matches!(second.inspect(lab.vm, &machine).await.unwrap(), Inspection::Gone { .. }));
    second.remove(lab.vm).await.unwrap();
    lab.left_nothing(&second).await;
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
