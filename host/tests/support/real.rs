//! What every driver of real guests must keep beside the contract of all drivers: a guest outlives its hearth and is adopted by the next one,
//! its console is told and typed on, and each end and each failure is told as what it was. `real_drivers_tests!` makes the tests of a suite, so
//! that none of its drivers leaves one out.

// Helpers of tests are not seen as tests by the lint.
#![allow(clippy::unwrap_used)]

use crate::contract::{self, HELLO, Images, SOON, end, plan, start};
use crate::guests::{kill_9, lives, oom_score_adj, output, within};
use api::guest::{ExecRequest, ExitStatus, ShutdownKind, Stdin, TtySize};
use domain::vm::RateLimits;
use domain::{
    Attempt, VmId,
    vm::{DiskSizes, DriveChange, Driver, Drives, DrivesChange, Exit, Inspection, Machine},
};
use host::{
    guest::{ExecEvent, ExecSession, GuestSession},
    vmm::{MachinePlan, Tuning, Vmm, lines::LinesWanted},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Two seconds of the guest's time; a guest that gets its processor burns them all.
const WATCHED: Duration = Duration::from_secs(2);
/// A guest that was asked to power off ends in it; an image's own init may leave its processor halted and the process standing.
const POWERS_OFF: Duration = Duration::from_secs(8);

/// A data directory with one VM on it.
pub trait RealLab {
    /// An end is seen so late at most.
    const SEEN_WITHIN: Duration;
    /// Of a held process: the three standard ones, gate, report, and what the VMM inherits.
    const HELD_DESCRIPTORS: usize;

    /// Another driver, as a hearth has it that is started anew.
    async fn vmm(&self) -> Box<dyn Vmm>;
    fn vm(&self) -> VmId;
    fn images(&self) -> &Images;
    /// Of no VM anything is there any more.
    async fn left_nothing(&self, vmm: &dyn Vmm);
}

/// The tests of all drivers; `$lab` has `open(test)`, which gives none where the test can't be.
macro_rules! real_drivers_tests {
    ($lab:ty) => {
        crate::real::real_drivers_tests! { $lab:
            a_second_driver_adopts_and_hears_how_it_ended
            a_reboot_that_nobody_watched_is_told
            a_paused_guest_is_adopted_as_paused
            the_killing_of_an_adopted_guest_is_seen_at_once
            what_no_one_knows_is_swept_by_a_second_driver
            a_held_process_is_recorded_first_and_ends_with_its_owner
            the_console_shows_what_the_guest_prints_and_takes_what_is_typed
            a_terminal_has_a_size_takes_what_is_typed_and_interrupts
            a_paused_guest_runs_nothing
            a_panic_is_told_as_such
            a_start_that_fails_says_why
            limits_hold_from_the_start_and_change_while_it_runs
            a_balloon_takes_memory_and_gives_it_back
            a_disk_that_grew_holds_more
            what_a_guest_writes_is_counted_outside_of_it
            a_second_driver_goes_on_counting
            data_drives_hold_what_is_written_and_grow
            disks_grow_while_the_guest_writes_to_them
        }
    };
    ($lab:ty: $($test:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let Some(lab) = <$lab>::open(stringify!($test)).await else { return };
                crate::real::$test(&lab).await;
            }
        )*
    };
}
pub(crate) use real_drivers_tests;

async fn booted(lab: &impl RealLab, vmm: &dyn Vmm) -> (Machine, Arc<dyn GuestSession>) {
    let machine = start(vmm, &plan(lab.vm(), lab.images()), 1).await;
    let guest = vmm.guest(lab.vm(), &machine, HELLO).await.expect("hello");
    (machine, guest)
}

async fn killed_and_gone(lab: &impl RealLab, vmm: &dyn Vmm, machine: &Machine) {
    vmm.kill(lab.vm(), machine).await.unwrap();
    removed(lab, vmm).await;
}

async fn removed(lab: &impl RealLab, vmm: &dyn Vmm) {
    vmm.remove(lab.vm()).await.unwrap();
    lab.left_nothing(vmm).await;
}

fn shell(script: &str) -> ExecRequest {
    ExecRequest { argv: ["sh", "-c", script].map(str::to_owned).into(), ..Default::default() }
}

pub async fn a_second_driver_adopts_and_hears_how_it_ended(lab: &impl RealLab) {
    let first = lab.vmm().await;
    let (machine, guest) = booted(lab, &*first).await;
    let boot = guest.info().boot_id;
    drop((guest, first));
    assert!(lives(machine.pid), "a guest outlives hearth");
    let second = lab.vmm().await;
    assert_eq!(second.inspect(lab.vm(), &machine).await.unwrap(), Inspection::Running);
    let guest = second.guest(lab.vm(), &machine, HELLO).await.expect("hello again");
    assert_eq!(guest.info().boot_id, boot, "the same guest, not booted anew");
    if contract::bears_a_pause(&*second, lab.vm(), &machine).await {
        assert_eq!(second.inspect(lab.vm(), &machine).await.unwrap(), Inspection::Paused);
        second.resume(lab.vm(), &machine).await.unwrap();
    }
    assert_eq!(output(&*guest, &["echo", "adopted"]).await, "adopted");
    // Nobody watches while the guest ends; the third driver still learns why, or ends what stands still.
    guest.shutdown(ShutdownKind::Poweroff, Duration::from_secs(15)).await.unwrap();
    drop((guest, second));
    let from = Instant::now();
    while lives(machine.pid) && from.elapsed() < POWERS_OFF {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let third = lab.vmm().await;
    let _running_or_gone = third.inspect(lab.vm(), &machine).await.unwrap();
    assert_eq!(end(&*third, lab.vm(), &machine).await, Exit::GuestShutdown);
    removed(lab, &*third).await;
}

pub async fn a_reboot_that_nobody_watched_is_told(lab: &impl RealLab) {
    let first = lab.vmm().await;
    let (machine, guest) = booted(lab, &*first).await;
    guest.shutdown(ShutdownKind::Reboot, Duration::from_secs(15)).await.unwrap();
    drop((guest, first));
    within(SOON, "a reboot ends the process by itself", || !lives(machine.pid)).await;
    let second = lab.vmm().await;
    assert_eq!(second.inspect(lab.vm(), &machine).await.unwrap(), Inspection::Gone { exit: Exit::GuestReboot });
    removed(lab, &*second).await;
}

pub async fn a_paused_guest_is_adopted_as_paused(lab: &impl RealLab) {
    let first = lab.vmm().await;
    let (machine, guest) = booted(lab, &*first).await;
    let bears_it = contract::stands(&*first, lab.vm(), &machine).await;
    drop((guest, first));
    let second = lab.vmm().await;
    assert_eq!(second.inspect(lab.vm(), &machine).await.unwrap(), Inspection::Paused);
    second.resume(lab.vm(), &machine).await.unwrap();
    if bears_it {
        let guest = second.guest(lab.vm(), &machine, HELLO).await.expect("hello again");
        guest.ping().await.unwrap();
    }
    killed_and_gone(lab, &*second, &machine).await;
}

pub async fn the_killing_of_an_adopted_guest_is_seen_at_once<L: RealLab>(lab: &L) {
    let first = lab.vmm().await;
    let (machine, guest) = booted(lab, &*first).await;
    drop((guest, first));
    let second = lab.vmm().await;
    assert_eq!(second.inspect(lab.vm(), &machine).await.unwrap(), Inspection::Running);
    let from = Instant::now();
    kill_9(machine.pid);
    assert_eq!(end(&*second, lab.vm(), &machine).await, Exit::Killed { signal: 9 });
    assert!(from.elapsed() < L::SEEN_WITHIN, "{:?}", from.elapsed());
    removed(lab, &*second).await;
}

pub async fn what_no_one_knows_is_swept_by_a_second_driver(lab: &impl RealLab) {
    let first = lab.vmm().await;
    let (machine, guest) = booted(lab, &*first).await;
    drop((guest, first));
    let second = lab.vmm().await;
    let removed = second.sweep(&[]).await.unwrap();
    assert!(removed.iter().any(|what| what.contains(&lab.vm().to_string())), "{removed:?}");
    assert!(!lives(machine.pid));
    lab.left_nothing(&*second).await;
}

pub async fn a_held_process_is_recorded_first_and_ends_with_its_owner<L: RealLab>(lab: &L) {
    let first = lab.vmm().await;
    let plan = plan(lab.vm(), lab.images());
    first.prepare_disk(&plan.disk).await.unwrap();
    let machine = first.launch(&plan, Attempt(1)).await.unwrap();
    assert!(lives(machine.pid));
    assert_eq!(oom_score_adj(machine.pid), "200", "the kernel ends a guest before hearth");
    let program = std::fs::read_link(format!("/proc/{}/exe", machine.pid)).unwrap();
    assert_eq!(program, std::env::current_exe().unwrap(), "nothing of the VMM, or of what starts it, ran yet");
    // It closes what it inherited on its way to the gate, a moment after the fork.
    let open = || std::fs::read_dir(format!("/proc/{}/fd", machine.pid)).unwrap().count();
    within(SOON, "its own descriptors and nothing else of ours", || open() == L::HELD_DESCRIPTORS).await;
    drop(first);
    within(SOON, "the held process ends", || !lives(machine.pid)).await;
    let second = lab.vmm().await;
    assert!(matches!(second.inspect(lab.vm(), &machine).await.unwrap(), Inspection::Gone { .. }));
    removed(lab, &*second).await;
}

pub async fn the_console_shows_what_the_guest_prints_and_takes_what_is_typed(lab: &impl RealLab) {
    let vmm = lab.vmm().await;
    assert!(vmm.capabilities().console_input);
    let (machine, guest) = booted(lab, &*vmm).await;
    let mut console = vmm.console(lab.vm(), 4096).await.unwrap();
    guest.exec(shell("echo written-to-the-console > /dev/console")).await.unwrap().collect(10).await.unwrap();
    let mut shown = String::new();
    let reading = async {
        let mut buffer = [0; 1024];
        while !shown.contains("written-to-the-console") {
            let read = console.read(&mut buffer).await.unwrap();
            shown.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    };
    tokio::time::timeout(SOON, reading).await.unwrap_or_else(|_| panic!("the console shows {shown:?}"));
    let log = vmm.console_log(lab.vm(), 4096).await.unwrap();
    assert!(String::from_utf8_lossy(&log).contains("written-to-the-console"));
    let with_times = LinesWanted { bytes: 64 << 10, with_times: true, since_ms: None };
    let lines = String::from_utf8_lossy(&vmm.lines(lab.vm(), &with_times).await.unwrap()).into_owned();
    let written = lines.lines().find(|line| line.contains("written-to-the-console")).unwrap();
    assert!(written.trim_start_matches('<').starts_with("20") && written.contains("Z "), "{written}");
    let since = LinesWanted { since_ms: Some(u64::MAX), ..with_times };
    assert_eq!(vmm.lines(lab.vm(), &since).await.unwrap(), b"");
    let next = lab.vmm().await.lines(lab.vm(), &with_times).await.unwrap();
    assert!(String::from_utf8_lossy(&next).contains(written), "the next hearth knows it, too: {written}");
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
    killed_and_gone(lab, &*vmm, &machine).await;
}

/// Until the terminal has shown that.
async fn shows(terminal: &mut ExecSession, text: &str) {
    let mut shown = String::new();
    let reading = async {
        while !shown.contains(text) {
            match terminal.output.next().await.unwrap() {
                ExecEvent::Stdout(bytes) => shown.push_str(&String::from_utf8_lossy(&bytes)),
                other => panic!("{other:?} instead of {text:?}, after {shown:?}"),
            }
        }
    };
    tokio::time::timeout(SOON, reading).await.unwrap_or_else(|_| panic!("{text:?} instead of {shown:?}"));
}

async fn types(terminal: &mut ExecSession, typed: &str, shown: &str) {
    terminal.stdin.write_all(typed.as_bytes()).await.unwrap();
    shows(terminal, shown).await;
}

pub async fn a_terminal_has_a_size_takes_what_is_typed_and_interrupts(lab: &impl RealLab) {
    let vmm = lab.vmm().await;
    let (machine, guest) = booted(lab, &*vmm).await;
    let request =
        ExecRequest { tty: Some(TtySize { cols: 91, rows: 33 }), stdin: Stdin::Stream, ..shell("stty -echo; echo up; exec sh") };
    let mut terminal = guest.exec(request).await.unwrap();
    shows(&mut terminal, "up").await;
    types(&mut terminal, "stty size\n", "33 91").await;
    terminal.control.resize(TtySize { cols: 120, rows: 40 }).await.unwrap();
    types(&mut terminal, "stty size\n", "40 120").await;
    // A shell may show what is typed, so that no word is typed as it is told. This one is said by the foreground job itself: an interrupt before it
    // is that would hit the shell.
    types(&mut terminal, "PS1='he''re> '; sh -c 'echo be''gun; exec sleep 1000'\n", "begun").await;
    // An interrupt flushes what was typed ahead, so the prompt is waited for.
    types(&mut terminal, "\x03", "here> ").await;
    types(&mut terminal, "echo al''ive; exit 4\n", "alive").await;
    let end = tokio::time::timeout(SOON, terminal.collect(1 << 16)).await.expect("it ends").unwrap();
    assert_eq!(end.status, ExitStatus::Code(4));
    killed_and_gone(lab, &*vmm, &machine).await;
}

pub async fn a_paused_guest_runs_nothing(lab: &impl RealLab) {
    let vmm = lab.vmm().await;
    let (machine, guest) = booted(lab, &*vmm).await;
    let busy = shell("(while :; do :; done) </dev/null >/dev/null 2>&1 &");
    guest.exec(busy).await.unwrap().collect(10).await.unwrap();
    let burnt = async || {
        let before = vmm.usage(lab.vm(), &machine).await.unwrap().cpu_ms;
        // The time that passes is what is tested.
        tokio::time::sleep(WATCHED).await;
        vmm.usage(lab.vm(), &machine).await.unwrap().cpu_ms - before
    };
    let running = burnt().await;
    contract::stands(&*vmm, lab.vm(), &machine).await;
    let paused = burnt().await;
    vmm.resume(lab.vm(), &machine).await.unwrap();
    let resumed = burnt().await;
    eprintln!("processor time in {WATCHED:?}: running {running} ms, paused {paused} ms, resumed {resumed} ms");
    assert!(running > 300 && resumed > 300, "a busy guest runs: {running} ms, {resumed} ms");
    assert!(paused < 100, "a paused one does not: {paused} ms");
    killed_and_gone(lab, &*vmm, &machine).await;
}

pub async fn a_panic_is_told_as_such(lab: &impl RealLab) {
    let vmm = lab.vmm().await;
    let (machine, guest) = booted(lab, &*vmm).await;
    let _cut_short = guest.exec(shell("echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger")).await;
    assert_eq!(end(&*vmm, lab.vm(), &machine).await, Exit::GuestPanic);
    removed(lab, &*vmm).await;
}

pub async fn a_start_that_fails_says_why(lab: &impl RealLab) {
    let vmm = lab.vmm().await;
    let mut plan = plan(lab.vm(), lab.images());
    plan.kernel.clone_from(&lab.images().rootfs);
    vmm.prepare_disk(&plan.disk).await.unwrap();
    let machine = vmm.launch(&plan, Attempt(1)).await.unwrap();
    let error = vmm.release(lab.vm(), &machine).await.unwrap_err();
    eprintln!("told: {error}");
    assert!(error.to_string().to_lowercase().contains("kernel"), "{error}");
    vmm.kill(lab.vm(), &machine).await.expect("one that has ended already is killed");
    let exit = end(&*vmm, lab.vm(), &machine).await;
    assert!(matches!(exit, Exit::Failed { .. } | Exit::Killed { .. }), "{exit:?}");
    removed(lab, &*vmm).await;
}

async fn booted_as(lab: &impl RealLab, vmm: &dyn Vmm, plan: &MachinePlan, launch: u64) -> (Machine, Arc<dyn GuestSession>) {
    let machine = start(vmm, plan, launch).await;
    let guest = vmm.guest(lab.vm(), &machine, HELLO).await.expect("hello");
    (machine, guest)
}

/// How long the guest takes to read 8 MiB of its disk, which it has not read before or has forgotten.
async fn reads_8_mib(guest: &dyn GuestSession) -> Duration {
    let script = "sync; echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vda of=/dev/null bs=65536 count=128 2>&1 | tail -n 1";
    let from = Instant::now();
    let said = guest.exec(shell(script)).await.unwrap().collect(4096).await.unwrap();
    let took = from.elapsed();
    eprintln!("8 MiB in {took:?}: {}", String::from_utf8_lossy(&said.stdout).trim());
    took
}

pub async fn limits_hold_from_the_start_and_change_while_it_runs(lab: &impl RealLab) {
    let vmm = lab.vmm().await;
    let slow = Tuning { rate_limits: RateLimits { disk_mib_per_s: Some(2), ..RateLimits::default() }, ..Tuning::default() };
    let plan = MachinePlan { tuning: slow.clone(), ..plan(lab.vm(), lab.images()) };
    let (machine, guest) = booted_as(lab, &*vmm, &plan, 1).await;
    let from_the_start = reads_8_mib(&*guest).await;
    vmm.tune(lab.vm(), &machine, &Tuning::default()).await.unwrap();
    let without = reads_8_mib(&*guest).await;
    // By another driver, as after an adoption, and of a machine that is paused where it bears that.
    let second = lab.vmm().await;
    second.inspect(lab.vm(), &machine).await.unwrap();
    contract::bears_a_pause(&*second, lab.vm(), &machine).await;
    second.tune(lab.vm(), &machine, &slow).await.unwrap();
    second.resume(lab.vm(), &machine).await.unwrap();
    let again = reads_8_mib(&*guest).await;
    // 4 s at that rate, less a burst, which with Firecracker is of two seconds at most (see `firecracker/rates.rs`).
    for limited in [from_the_start, again] {
        assert!(limited > Duration::from_secs(2), "the limit does not bite: {limited:?}");
        assert!(limited > without * 2, "{limited:?} with the limit, {without:?} without");
    }
    killed_and_gone(lab, &*second, &machine).await;
}

/// Of `/proc/meminfo`, MiB.
pub async fn memory(guest: &dyn GuestSession, what: &str) -> u64 {
    let text = output(guest, &["cat", "/proc/meminfo"]).await;
    let line = text.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().unwrap() / 1024
}

pub async fn a_balloon_takes_memory_and_gives_it_back(lab: &impl RealLab) {
    const TAKEN: u64 = 96;
    let vmm = lab.vmm().await;
    let full = Tuning { balloon_mib: TAKEN as u32, ..Tuning::default() };
    let plan = MachinePlan { tuning: full.clone(), ..plan(lab.vm(), lab.images()) };
    let (machine, guest) = booted_as(lab, &*vmm, &plan, 1).await;
    let all = memory(&*guest, "MemTotal:").await;
    let until = async |what: &str, holds: &dyn Fn(u64) -> bool| {
        let deadline = Instant::now() + SOON;
        loop {
            let free = memory(&*guest, "MemFree:").await;
            if holds(free) {
                return eprintln!("{what}: {free} of {all} MiB free");
            }
            assert!(Instant::now() < deadline, "{what}: {free} of {all} MiB free");
        }
    };
    until("with a balloon from the start", &|free| free + TAKEN < all).await;
    vmm.tune(lab.vm(), &machine, &Tuning::default()).await.unwrap();
    until("without", &|free| free + 64 > all).await;
    vmm.tune(lab.vm(), &machine, &full).await.unwrap();
    until("with it again", &|free| free + TAKEN < all).await;
    killed_and_gone(lab, &*vmm, &machine).await;
}

pub async fn a_disk_that_grew_holds_more(lab: &impl RealLab) {
    let vmm = lab.vmm().await;
    let mut plan = plan(lab.vm(), lab.images());
    let holds_mib = async |guest: &dyn GuestSession| {
        let said = output(guest, &["df", "-k", "/"]).await;
        said.lines().last().unwrap().split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    let (machine, guest) = booted_as(lab, &*vmm, &plan, 1).await;
    let before = holds_mib(&*guest).await;
    output(&*guest, &["sh", "-c", "echo kept > /root-file; sync"]).await;
    vmm.kill(lab.vm(), &machine).await.unwrap();
    vmm.clean(lab.vm()).await.unwrap();
    plan.disk.size_bytes = Some(300 << 20);
    let (machine, guest) = booted_as(lab, &*vmm, &plan, 2).await;
    let after = holds_mib(&*guest).await;
    eprintln!("the root file system holds {before} MiB, then {after} MiB");
    assert!((90..128).contains(&before), "a disk that is larger than its image is used: {before} MiB");
    assert!((240..300).contains(&after), "{after} MiB");
    assert_eq!(output(&*guest, &["cat", "/root-file"]).await, "kept");
    vmm.kill(lab.vm(), &machine).await.unwrap();
    // What is smaller by now changes nothing.
    plan.disk.size_bytes = Some(128 << 20);
    vmm.clean(lab.vm()).await.unwrap();
    let (machine, guest) = booted_as(lab, &*vmm, &plan, 3).await;
    assert_eq!(holds_mib(&*guest).await, after);
    killed_and_gone(lab, &*vmm, &machine).await;
}

/// To its root, through to the disk.
async fn writes(guest: &dyn GuestSession, bytes: u64) {
    let written =
        guest.exec(shell(&format!("dd if=/dev/zero of=/counted bs=64k count={} conv=fsync", bytes >> 16))).await.unwrap();
    let written = written.collect(4096).await.unwrap();
    assert_eq!(written.status, ExitStatus::Code(0), "{}", String::from_utf8_lossy(&written.stderr));
}

pub async fn what_a_guest_writes_is_counted_outside_of_it(lab: &impl RealLab) {
    let vmm = lab.vmm().await;
    contract::writes_show_outside(&*vmm, lab.vm(), lab.images(), writes, 8 << 20).await;
    let (machine, _guest) = booted(lab, &*vmm).await;
    let outside = vmm.outside(lab.vm(), &machine).await.unwrap();
    eprintln!("{outside:?}");
    let process = outside.process.unwrap();
    assert!(process.threads > 1 && process.rss_bytes > 10 << 20 && process.cpu_ms > 0);
    assert_eq!(outside.balloon_bytes, Some(0));
    killed_and_gone(lab, &*vmm, &machine).await;
}

pub async fn a_second_driver_goes_on_counting(lab: &impl RealLab) {
    let first = lab.vmm().await;
    let (machine, guest) = booted(lab, &*first).await;
    writes(&*guest, 4 << 20).await;
    let before = first.outside(lab.vm(), &machine).await.unwrap();
    drop((guest, first));
    let second = lab.vmm().await;
    let after = second.outside(lab.vm(), &machine).await.unwrap();
    assert_eq!(after.drives.len(), before.drives.len());
    for (before, after) in before.drives.iter().zip(&after.drives) {
        assert!(after.written_bytes >= before.written_bytes && after.read_bytes >= before.read_bytes, "{before:?} {after:?}");
    }
    assert_eq!(after.since_ms, before.since_ms, "it counts on");
    killed_and_gone(lab, &*second, &machine).await;
}

/// Both are written to meanwhile, and a machine that another hearth started grows as well.
pub async fn disks_grow_while_the_guest_writes_to_them(lab: &impl RealLab) {
    const WRITTEN: &str =
        "for disk in /written /dev/vdb; do dd if=/dev/zero of=$disk bs=64k count=64 conv=fsync,notrunc || exit 9; done";
    let vmm = lab.vmm().await;
    let mut plan = plan(lab.vm(), lab.images());
    let drive = DriveChange { name: "data".parse().unwrap(), size_mib: Some(8), read_only: None };
    plan.disk.drives = Drives::new(&[drive]);
    let sizes = |root_mib, data_mib| {
        let disks = DiskSizes { root_mib: Some(root_mib), drives_mib: vec![(0, data_mib)] };
        Tuning { disks, ..Tuning::default() }
    };
    let (machine, guest) = booted_as(lab, &*vmm, &plan, 1).await;
    let shape = async || output(&*guest, &["sh", "-c", "cd /sys/block; echo $(cat vda/size vdb/size)"]).await;
    let root_mib = async || {
        let said = output(&*guest, &["df", "-k", "/"]).await;
        said.lines().last().unwrap().split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    let grown = async |sectors: &str, mib: std::ops::Range<u64>| {
        let deadline = Instant::now() + SOON;
        loop {
            let (disks, root) = (shape().await, root_mib().await);
            if disks == sectors && mib.contains(&root) {
                return eprintln!("sectors {disks}, a root file system of {root} MiB");
            }
            assert!(Instant::now() < deadline, "sectors {disks}, a root file system of {root} MiB");
        }
    };
    output(&*guest, &["sh", "-c", "echo kept > /root-file; sync"]).await;
    let before = shape().await;
    // What is there already, or less, changes nothing.
    vmm.tune(lab.vm(), &machine, &sizes(1, 8)).await.unwrap();
    assert_eq!(shape().await, before);
    let writing = async { guest.exec(shell(WRITTEN)).await.unwrap().collect(4096).await.unwrap() };
    let tuning = async { vmm.tune(lab.vm(), &machine, &sizes(300, 24)).await.unwrap() };
    let (written, ()) = tokio::join!(writing, tuning);
    assert_eq!(written.status, ExitStatus::Code(0), "{}", String::from_utf8_lossy(&written.stderr));
    grown("614400 49152", 240..300).await;
    // Where there was nothing before.
    let behind = output(&*guest, &["sh", "-c", "echo behind | dd of=/dev/vdb bs=1M seek=20 conv=sync,fsync 2>/dev/null; dd if=/dev/vdb bs=1M skip=20 count=1 2>/dev/null | head -n 1"]).await;
    assert_eq!(behind, "behind");
    let second = lab.vmm().await;
    second.inspect(lab.vm(), &machine).await.unwrap();
    // More than 512 MiB, for which QEMU moves the table of its disk.
    second.tune(lab.vm(), &machine, &sizes(700, 32)).await.unwrap();
    grown("1433600 65536", 600..700).await;
    output(&*guest, &["sync"]).await;
    second.kill(lab.vm(), &machine).await.unwrap();
    second.clean(lab.vm()).await.unwrap();
    drop(guest);
    // And larger once more while it is stopped.
    plan.disk.size_bytes = Some(1200 << 20);
    let (machine, guest) = booted_as(lab, &*second, &plan, 2).await;
    let shape = output(&*guest, &["sh", "-c", "cd /sys/block; echo $(cat vda/size vdb/size); cat /root-file"]).await;
    assert_eq!(shape, "2457600 65536\nkept");
    killed_and_gone(lab, &*second, &machine).await;
}

/// As many as there may be, behind a seed: in their order, by their names where the VMM tells them.
pub async fn data_drives_hold_what_is_written_and_grow(lab: &impl RealLab) {
    let drive = |name: &str, size_mib, read_only| DriveChange {
        name: name.parse().unwrap(),
        size_mib: Some(size_mib),
        read_only: Some(read_only),
    };
    let told = async |guest: &dyn GuestSession, script: &str| output(guest, &["sh", "-c", script]).await;
    let vmm = lab.vmm().await;
    let mut plan = MachinePlan { cloud_init: Some(Box::default()), ..plan(lab.vm(), lab.images()) };
    let mut asked = vec![drive("data", 8, false), drive("logs", 16, true)];
    asked.extend((2..8).map(|n| drive(&format!("d-{n}"), n, false)));
    plan.disk.drives = Drives::new(&asked);
    let (machine, guest) = booted_as(lab, &*vmm, &plan, 1).await;
    assert_eq!(told(&*guest, "ls -d /sys/block/vd* | wc -l").await, "10");
    let shape = "cd /sys/block; echo $(cat vdc/size vdc/ro vdd/size vdd/ro vdj/size)";
    assert_eq!(told(&*guest, shape).await, "16384 0 32768 1 14336");
    if vmm.facts().driver == Driver::Qemu {
        assert_eq!(
            told(&*guest, "cd /sys/block; echo $(cat vdc/serial) $(cat vdd/serial) $(cat vdj/serial)").await,
            "data logs d-7"
        );
    }
    let refused = told(&*guest, "dd if=/dev/zero of=/dev/vdd bs=512 count=1 >/dev/null 2>&1 || echo refused").await;
    assert_eq!(refused, "refused", "a drive that is read-only is not written to");
    told(&*guest, "echo kept | dd of=/dev/vdc bs=512 count=1 conv=sync; sync").await;
    vmm.kill(lab.vm(), &machine).await.unwrap();
    vmm.clean(lab.vm()).await.unwrap();
    // As after a restart of hearth; one has grown, one is new, and all others were taken away.
    let vmm = lab.vmm().await;
    let remove = asked.iter().skip(1).map(|drive| drive.name.clone()).collect();
    plan.disk.drives.apply(&DrivesChange { set: vec![drive("data", 24, false), drive("new", 4, false)], remove });
    let (machine, guest) = booted_as(lab, &*vmm, &plan, 2).await;
    assert_eq!(told(&*guest, "ls -d /sys/block/vd* | wc -l").await, "4");
    assert_eq!(told(&*guest, "cd /sys/block; echo $(cat vdc/size vdd/size)").await, "49152 8192");
    assert_eq!(output(&*guest, &["head", "-n", "1", "/dev/vdc"]).await, "kept");
    let slow = Tuning { rate_limits: RateLimits { disk_mib_per_s: Some(2), ..RateLimits::default() }, ..Tuning::default() };
    vmm.tune(lab.vm(), &machine, &slow).await.unwrap();
    let from = Instant::now();
    output(&*guest, &["dd", "if=/dev/vdc", "of=/dev/null", "bs=65536", "count=128"]).await;
    assert!(from.elapsed() > Duration::from_secs(2), "the disk's limit is each drive's: {:?}", from.elapsed());
    vmm.tune(lab.vm(), &machine, &Tuning::default()).await.unwrap();
    assert_eq!(told(&*guest, "tr -d '\\000' < /dev/vdd | wc -c").await, "0", "a new drive is empty");
    killed_and_gone(lab, &*vmm, &machine).await;
}
