//! Cgroups: one for each VM that runs, none for others.

use crate::{Finding, Kind, Seen, Target};
use anyhow::Result;
use std::{
    fs,
    path::{Path, PathBuf},
};

pub fn check(target: &Target, seen: &Seen) -> Result<Vec<Finding>> {
    let Some(root) = hierarchy().map(|mount| mount.join(format!("hearth-{}", target.owner().unwrap_or_default()))) else {
        return Ok(Vec::new());
    };
    let mut findings = Vec::new();
    for entry in fs::read_dir(&root).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        let vm = entry.file_name().to_string_lossy().into_owned();
        if seen.vms.get(&vm).is_none_or(|vm| vm.pid.is_none()) {
            findings.push(Finding::new(Kind::OrphanGroup, entry.path().display().to_string()));
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
