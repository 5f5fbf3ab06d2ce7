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
        for other in members.lines().filter(|member| *member != pid.to_string()) {
            findings.push(Finding::new(Kind::OrphanProcess, format!("{other} is in the cgroup of {vm}, whose process is {pid}")));
        }
    }
    Ok(findings)
}

/// Where version 2 is mounted, which on a mixed machine is not `/sys/fs/cgroup`.
pub fn hierarchy() -> Option<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    table.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next() == Some("cgroup2")).then(|| before.split(' ').nth(4).map(|point| Path::new(point).into()))?
    })
}
