//! One process of the machine: found by pid, start time and executable, held by a pidfd, ended by signals. Knows nothing of QEMU.
//!
//! A pid can be given to another process at any moment. So the pidfd is opened first and the start time compared afterwards: if it
//! matches then, the pidfd is that process for good.

use super::super::{Usage, VmmError, outside::ProcessUse};
use super::cgroup;
use super::layout::{is_short, short_or};
use domain::vm::Machine;
use nix::{
    errno::Errno,
    libc,
    sys::{
        signal::Signal,
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::{SysconfVar, sysconf},
};
use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    path::Path,
    time::Duration,
};
use tokio::io::{Interest, unix::AsyncFd};

/// What `/proc/PID/stat` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub state: char,
    /// Clock ticks, user and system together.
    pub cpu_ticks: u64,
    pub start_ticks: u64,
    pub rss_pages: u64,
    pub threads: u64,
}

/// How a process ended, as far as its parent or the kernel tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Code(i32),
    Signal(i32),
    /// It was not our child, and its parent has the status.
    Untold,
}

/// Reads the text of `/proc/PID/stat`. The command name may hold spaces and brackets: fields count from the last bracket on.
pub fn parse_stat(text: &str) -> Option<Stat> {
    let rest = &text[text.rfind(')')? + 1..];
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // proc(5): state is field 3, utime 14, stime 15, num_threads 20, starttime 22, rss 24; the first of `fields` is field 3.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        cpu_ticks: number(14)? + number(15)?,
        start_ticks: number(22)?,
        rss_pages: number(24)?,
        threads: number(20)?,
    })
}

pub fn stat(pid: u32) -> Option<Stat> {
    look(pid).ok().flatten()
}

/// `None`: there is no such process. Errors: hearth is short of descriptors or memory.
fn look(pid: u32) -> io::Result<Option<Stat>> {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(text) => Ok(parse_stat(&text)),
        Err(error) if is_short(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// The path of the program, also when its file was replaced by an upgrade since.
pub fn executable(pid: u32) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let text = path.to_string_lossy();
    Some(text.strip_suffix(" (deleted)").unwrap_or(&text).to_owned())
}

/// The process's arguments, one string each; empty when it is gone.
pub fn arguments(pid: u32) -> Vec<String> {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    raw.split(|&byte| byte == 0).map(|argument| String::from_utf8_lossy(argument).into_owned()).collect()
}

#[allow(unsafe_code)]
pub fn open_pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and returns a new descriptor (close-on-exec) or -1; nothing else owns it.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd as i32)) }
    }
}

/// The process of that record, if it is still there; a zombie is not.
///
/// Errors: `Short`. Taken for "gone", it would end a guest that runs, or leave its process to nobody.
pub fn find(machine: &Machine) -> Result<Option<OwnedFd>, VmmError> {
    if machine.pid == 0 {
        return Ok(None);
    }
    let short = |error: io::Error| VmmError::Short { detail: error.to_string() };
    let pidfd = match open_pidfd(machine.pid) {
        Ok(pidfd) => pidfd,
        Err(error) if is_short(&error) => return Err(short(error)),
        Err(_) => return Ok(None),
    };
    let Some(stat) = look(machine.pid).map_err(short)? else { return Ok(None) };
    Ok((stat.start_ticks == machine.start_ticks && !matches!(stat.state, 'Z' | 'X')).then_some(pidfd))
}

/// A process that is gone already is no error.
#[allow(unsafe_code)]
pub fn signal(pidfd: &OwnedFd, signal: Signal) -> io::Result<()> {
    let info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: the descriptor is open for the length of the call, and a null siginfo means an ordinary kill.
    let failed = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal as i32, info, 0) } < 0;
    match io::Error::last_os_error() {
        error if failed && error.raw_os_error() != Some(libc::ESRCH) => Err(error),
        _ => Ok(()),
    }
}

/// Resolves when the process has ended, reaped or not.
pub async fn gone(pidfd: &AsyncFd<OwnedFd>) {
    // A pidfd is readable once its process is a zombie or gone, and stays so. An error of epoll can't be told from the end.
    let _readable = pidfd.readable().await;
}

#[allow(unsafe_code)]
pub fn watched(fd: OwnedFd) -> Result<AsyncFd<OwnedFd>, VmmError> {
    // SAFETY: an OwnedFd stays open and the same for as long as the AsyncFd owns it.
    let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    watched.map_err(|error| VmmError::Spawn { detail: error.to_string() })
}

/// Whether it ended within that time.
pub async fn gone_within(pidfd: &OwnedFd, after: Duration) -> Result<bool, VmmError> {
    let copy = pidfd.try_clone().map_err(|error| short_or(&error, VmmError::Spawn { detail: error.to_string() }))?;
    let pidfd = watched(copy)?;
    Ok(tokio::time::timeout(after, gone(&pidfd)).await.is_ok())
}

/// Takes the status of an ended process, and with it its last trace, when it is our child.
pub fn reap(pidfd: &OwnedFd) -> Ended {
    wait(pidfd, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG)
}

/// As [`reap`], of a child that is ending. Blocks until it has.
pub fn reap_when_gone(pidfd: &OwnedFd) {
    let _status = wait(pidfd, WaitPidFlag::WEXITED);
}

/// Takes the status of a recorded child that has ended and that nobody watched to its end.
pub fn reap_zombie(machine: &Machine) {
    let ended = stat(machine.pid).is_some_and(|stat| stat.start_ticks == machine.start_ticks && stat.state == 'Z');
    if ended && let Ok(pidfd) = open_pidfd(machine.pid) {
        let _status = reap(&pidfd);
    }
}

fn wait(pidfd: &OwnedFd, flags: WaitPidFlag) -> Ended {
    loop {
        match waitid(Id::PIDFd(pidfd.as_fd()), flags) {
            Ok(WaitStatus::Exited(_, code)) => return Ended::Code(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ended::Signal(signal as i32),
            Err(Errno::EINTR) => continue,
            _ => return Ended::Untold,
        }
    }
}

pub fn usage(pid: u32) -> Option<Usage> {
    used(&stat(pid)?)
}

/// What it uses, and its group's count of ends for want of memory.
pub fn facts(pid: u32, group: Option<&Path>) -> Option<ProcessUse> {
    let stat = stat(pid)?;
    let Usage { rss_bytes, cpu_ms } = used(&stat)?;
    Some(ProcessUse { rss_bytes, cpu_ms, threads: stat.threads, oom_kills: group.and_then(cgroup::oom_kills) })
}

/// When a process started, of its ticks since the machine's boot; milliseconds since the epoch, to a second. The same at each look: `btime`
/// (proc_stat(5)) moves only when the clock is set.
pub fn started_ms(start_ticks: u64) -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot_s: u64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot_s.saturating_mul(1000).saturating_add(start_ticks.saturating_mul(1000) / ticks_per_s()?))
}

fn ticks_per_s() -> Option<u64> {
    sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|value| u64::try_from(value).ok()).map(|ticks| ticks.max(1))
}

fn used(stat: &Stat) -> Option<Usage> {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|value| u64::try_from(value).ok())?;
    Some(Usage { rss_bytes: stat.rss_pages * page, cpu_ms: stat.cpu_ticks * 1000 / ticks_per_s()? })
}

#[cfg(test)]
mod tests {
    use super::super::alone::{alone, descriptors};
    use super::*;

    #[test]
    fn a_stat_is_read_behind_the_last_bracket() {
        let text = "4242 (qemu) x (y 1) S 1 4242 4242 0 -1 4194624 100 0 0 0 70 30 0 0 20 0 5 0 123456 900000 2048 18446744073709551615 1";
        let stat = parse_stat(text).unwrap();
        assert_eq!(stat, Stat { state: 'S', cpu_ticks: 100, start_ticks: 123_456, rss_pages: 2048, threads: 5 });
    }

    #[test]
    fn when_a_process_started_is_the_same_at_each_look() {
        let now_ms = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
        let ticks = stat(std::process::id()).unwrap().start_ticks;
        let first = started_ms(ticks).unwrap();
        // Whole seconds, and not in the future.
        assert!(first <= now_ms() + 1000 && now_ms() - first.min(now_ms()) < 3_600_000, "{first}");
        for _ in 0..2000 {
            assert_eq!(started_ms(ticks), Some(first));
        }
    }

    #[test]
    fn garbage_is_no_stat() {
        for text in ["", "1", "1 (x", "1 (x) S", "1 (x) S a b c d e f g h i j k l m n o p q r s t u v w", ")"] {
            assert_eq!(parse_stat(text), None, "{text}");
        }
    }

    #[test]
    fn this_process_is_found_and_another_start_time_is_not() {
        let pid = std::process::id();
        let mut machine = this_process(pid);
        assert!(find(&machine).unwrap().is_some());
        machine.start_ticks += 1;
        assert!(find(&machine).unwrap().is_none());
        assert!(usage(pid).unwrap().rss_bytes > 0);
    }

    #[test]
    fn without_a_descriptor_nobody_is_gone() {
        if !alone("vmm::shared::process::tests::without_a_descriptor_nobody_is_gone") {
            return;
        }
        let machine = this_process(std::process::id());
        let before = descriptors(0);
        let found = find(&machine);
        descriptors(before);
        assert!(matches!(found, Err(VmmError::Short { .. })), "{found:?}");
        assert!(find(&machine).unwrap().is_some());
    }

    fn this_process(pid: u32) -> Machine {
        Machine {
            launch: domain::Attempt(1),
            driver: domain::vm::Driver::Qemu,
            pid,
            start_ticks: stat(pid).unwrap().start_ticks,
            executable: executable(pid).unwrap(),
            version: String::new(),
        }
    }
}
