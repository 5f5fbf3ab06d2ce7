//! Checks of the kernel and its limits: version, cgroups, memory, huge pages, open files.

use super::{Check, Status, vmm::numbers};
use nix::sys::resource::{Resource, getrlimit};
use std::fs;

/// Firecracker's oldest supported host kernel.
const KERNEL_GOOD: (u32, u32) = (5, 10);
/// Address translation in nftables' family inet came with 5.2.
const KERNEL_MIN: (u32, u32) = (5, 2);
/// A VM costs hearth about a dozen descriptors; 16384 are enough for a thousand.
const FILES_MIN: u64 = 16_384;
const MEM_AVAILABLE_LOW_MIB: u64 = 1024;
const CONTROLLERS: [&str; 4] = ["cpu", "io", "memory", "pids"];

pub(super) fn checks() -> Vec<Check> {
    vec![kernel(), cgroup(), memory(), huge_pages(), open_files()]
}

fn kernel() -> Check {
    let (id, title) = ("kernel", "Kernel");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim().to_owned();
    let status = match numbers(&release) {
        None => return Check::new(id, title, Status::Warn, format!("the version {release:?} is not understood")),
        Some(version) if version < KERNEL_MIN => Status::Failed,
        Some(version) if version < KERNEL_GOOD => Status::Warn,
        Some(_) => return Check::ok(id, title, release),
    };
    Check::new(id, title, status, format!("{release} is old")).remedy("use 5.10 or newer")
}

/// How control groups are mounted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cgroups {
    Unified {
        at: String,
    },
    /// Version 1 beside version 2, or alone.
    Mixed,
    Absent,
}

pub(super) fn cgroups(mounts: &str) -> Cgroups {
    let mut unified = None;
    let mut is_v1 = false;
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        match (words.next(), words.next()) {
            (Some(at), Some("cgroup2")) => unified = Some(at.to_owned()),
            (Some(_), Some("cgroup")) => is_v1 = true,
            _ => {}
        }
    }
    match (unified, is_v1) {
        (_, true) => Cgroups::Mixed,
        (Some(at), false) => Cgroups::Unified { at },
        (None, false) => Cgroups::Absent,
    }
}

fn cgroup() -> Check {
    let (id, title) = ("cgroup", "cgroup v2");
    let unify = "boot with systemd.unified_cgroup_hierarchy=1, or mount cgroup2 alone";
    let at = match cgroups(&fs::read_to_string("/proc/mounts").unwrap_or_default()) {
        Cgroups::Unified { at } => at,
        Cgroups::Mixed => {
            let detail = "version 1 is in use; limits are coarser, and Firecracker restores snapshots many times slower";
            return Check::new(id, title, Status::Warn, detail).remedy(unify);
        }
        Cgroups::Absent => {
            let detail = "no control groups are mounted; VMs can't be limited";
            return Check::new(id, title, Status::Missing, detail).remedy("mount -t cgroup2 none /sys/fs/cgroup");
        }
    };
    let read = |name: &str| fs::read_to_string(format!("{at}/{name}")).unwrap_or_default();
    let (listed, handed_on) = (read("cgroup.controllers"), read("cgroup.subtree_control"));
    let missing = lacking(&listed);
    let Some(lost) = lost(&listed) else {
        let detail = format!("unified at {at} with {}", CONTROLLERS.join(", "));
        // hearth hands them on itself, where it may.
        let off = lacking(&handed_on);
        let note = if off.is_empty() { String::new() } else { format!("; {} not handed on to groups yet", off.join(", ")) };
        return Check::ok(id, title, format!("{detail}{note}"));
    };
    let detail = format!("unified at {at}, but {lost}");
    let plus: Vec<String> = missing.iter().map(|name| format!("+{name}")).collect();
    let remedy = format!(
        "the kernel must have them (cgroup_disable= on its command line takes memory away), and the parent must hand them on: \
         echo '{}' > PARENT/cgroup.subtree_control, or Delegate=yes in the systemd unit",
        plus.join(" ")
    );
    Check::new(id, title, Status::Warn, detail).remedy(remedy)
}

/// Which of the controllers that VMs are limited by are not in a list of the kernel's.
pub(super) fn lacking(listed: &str) -> Vec<&'static str> {
    CONTROLLERS.into_iter().filter(|name| !listed.split_whitespace().any(|word| word == *name)).collect()
}

/// What VMs go without for want of controllers; nothing when a list of the kernel's has them all.
pub(crate) fn lost(listed: &str) -> Option<String> {
    let missing = lacking(listed);
    let lost: Vec<&str> = missing.iter().map(|name| without(name)).collect();
    (!missing.is_empty()).then(|| format!("without {}: {}", missing.join(", "), lost.join(", ")))
}

/// What is lost without a controller.
fn without(controller: &str) -> &'static str {
    match controller {
        "cpu" => "no shares of processors",
        "io" => "no rates of disks",
        "memory" => "no limits of memory, and nobody tells that a VMM was out of it",
        _ => "no limits of processes",
    }
}

/// A number of /proc/meminfo, in its own unit (kB, or pages).
pub(super) fn meminfo(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

fn memory() -> Check {
    let (id, title) = ("free-memory", "Free memory");
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (Some(total), Some(available)) = (meminfo(&text, "MemTotal"), meminfo(&text, "MemAvailable")) else {
        return Check::new(id, title, Status::Warn, "/proc/meminfo is not understood");
    };
    let (total, available) = (total / 1024, available / 1024);
    let detail = format!("{available} MiB of {total} MiB available");
    if available >= MEM_AVAILABLE_LOW_MIB {
        return Check::ok(id, title, detail);
    }
    Check::new(id, title, Status::Warn, detail).remedy("end other programs, or use a machine with more memory")
}

/// Never a fault: guests run on ordinary pages.
fn huge_pages() -> Check {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (pages, size) = (meminfo(&text, "HugePages_Total").unwrap_or(0), meminfo(&text, "Hugepagesize").unwrap_or(0));
    let transparent = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    let chosen = transparent.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("absent", |(word, _)| word);
    let detail = format!("{pages} of {size} KiB reserved (not needed); transparent ones: {chosen}");
    Check::ok("huge-pages", "Huge pages", detail)
}

fn open_files() -> Check {
    let (id, title) = ("open-files", "Open files");
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, _)) if soft >= FILES_MIN => Check::ok(id, title, format!("at most {soft}")),
        Ok((soft, hard)) => {
            let detail = format!("at most {soft} (up to {hard} can be had); enough for about {} VMs", soft / 16);
            Check::new(id, title, Status::Warn, detail).remedy("ulimit -n 65536, or LimitNOFILE=65536 in the systemd unit")
        }
        Err(error) => Check::new(id, title, Status::Warn, error.to_string()),
    }
}
