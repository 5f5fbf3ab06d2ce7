//! Cgroups: one for each VM that runs, with its process and no other in it, none for others.

use crate::{Finding, Kind, Seen, Target};
use anyhow::Result;
use std::{
    fs,
    path::{Path, PathBuf},
};

pub fn check(target: &Target, seen: &Seen) -> Result<Vec<Finding>> {
    let owner = target.owner()?;
    let Some(root) = hierarchy().map(|mount| mount.join(format!("hearth-{owner}"))) else {
        return Ok(Vec::new());
    };
    let mut findings = Vec::new();
    for entry in fs::read_dir(&root).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        let vm = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = seen.vms.get(&vm).and_then(|vm| vm.pid) else {
            findings.push(Finding::new(Kind::OrphanGroup, entry.path().display().to_string()));
            continue;
        };
        let members = fs::read_to_string(entry.path().join("cgroup.procs")).unwrap_or_default();
        for other in members.lines().filter(|member| *member != pid.to_string() && !is_the_kernels(member)) {
            findings.push(Finding::new(Kind::OrphanProcess, format!("{other} is in the cgroup of {vm}, whose process is {pid}")));
        }
    }
    Ok(findings)
}

/// `PF_KTHREAD`.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// KVM puts a thread of its own (`kvm-nx-lpage-re`) into the groups of who makes a machine.
fn is_the_kernels(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything: state, four ids, the terminal and its group, the flags.
    let flags = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(6)?.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & KERNEL_THREAD != 0)
}

/// Where version 2 is mounted, which on a mixed machine is not `/sys/fs/cgroup`.
pub fn hierarchy() -> Option<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    table.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next() == Some("cgroup2")).then(|| before.split(' ').nth(4).map(|point| Path::new(point).into()))?
    })
}
