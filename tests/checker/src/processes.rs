//! Processes: each VM that runs has the one that hearth says, and no other is marked as this hearth's.

use crate::{Finding, Kind, Seen, Target};
use anyhow::Result;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// What shows whose a process is. It may work in a VM's folder without being told so in its arguments, and the other way round.
struct Process {
    pid: u32,
    mark: Option<String>,
    folder: Option<PathBuf>,
}

pub fn check(target: &Target, seen: &Seen) -> Result<Vec<Finding>> {
    let prefix = format!("hearth-{}-", target.owner()?);
    let vms = fs::canonicalize(target.data_dir.join("vms")).ok();
    let mut findings = Vec::new();
    let mut found: BTreeMap<u32, String> = BTreeMap::new();
    for process in all() {
        let by_folder = process.folder.as_deref().zip(vms.as_deref()).and_then(|(folder, vms)| vm_of(folder, vms));
        let by_mark = process.mark.as_deref().and_then(|mark| mark.strip_prefix(&prefix)).map(str::to_owned);
        let Some(vm) = by_mark.or(by_folder) else { continue };
        let known = seen.vms.get(&vm).and_then(|vm| vm.pid);
        if known != Some(process.pid) {
            findings.push(Finding::new(Kind::OrphanProcess, format!("{} of {vm}, whose process is {known:?}", process.pid)));
        }
        found.insert(process.pid, vm);
    }
    for (id, vm) in &seen.vms {
        let wanted = vm.pid.filter(|_| !vm.simulated);
        if let Some(pid) = wanted
            && found.get(&pid) != Some(id)
        {
            findings.push(Finding::new(Kind::LostProcess, format!("{pid} of {id} ({}, {})", vm.name, vm.state)));
        }
        if vm.pid.is_none() && ["running", "paused"].contains(&vm.state.as_str()) {
            findings.push(Finding::new(Kind::LostProcess, format!("{id} ({}) is {} without any", vm.name, vm.state)));
        }
    }
    Ok(findings)
}

fn vm_of(folder: &Path, vms: &Path) -> Option<String> {
    let below = folder.strip_prefix(vms).ok()?;
    Some(below.components().next()?.as_os_str().to_string_lossy().into_owned())
}

fn all() -> impl Iterator<Item = Process> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    pids.filter_map(|pid| {
        // A zombie has no arguments and works nowhere: it is its parent's to reap.
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|arguments| !arguments.is_empty())?;
        let words = arguments.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        let mark = words.into_iter().find(|word| word.starts_with("hearth-") && word.contains("-vm_"));
        Some(Process { pid, mark, folder: fs::read_link(format!("/proc/{pid}/cwd")).ok() })
    })
}
