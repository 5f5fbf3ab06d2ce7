//! Processes: each VM that runs has the one that hearth says, and no other is this hearth's: by a mark in its arguments, by the folder that
//! it works in, by a file of the data directory that it has open or names, or by the environment that it inherited.

use crate::{Finding, Kind, Seen, Target};
use anyhow::Result;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

struct Process {
    pid: u32,
    arguments: Vec<String>,
    folder: Option<PathBuf>,
    files: Vec<PathBuf>,
    environment: Vec<u8>,
}

/// Whose a process of this hearth's is.
enum Owner {
    Vm(String),
    /// Of no VM that could be told; why it is hearth's.
    Nobody(&'static str),
}

pub fn check(target: &Target, seen: &Seen) -> Result<Vec<Finding>> {
    let data = fs::canonicalize(&target.data_dir)?;
    let prefix = format!("hearth-{}-", target.owner()?);
    let mut findings = Vec::new();
    let mut found: BTreeMap<u32, String> = BTreeMap::new();
    for process in all().filter(|process| !is_the_server(target, process)) {
        match process.owner(target, &data, &prefix) {
            None => {}
            Some(Owner::Nobody(why)) => {
                let what = format!("{} of nobody, {why}: {}", process.pid, process.arguments.join(" "));
                findings.push(Finding::new(Kind::OrphanProcess, what));
            }
            Some(Owner::Vm(vm)) => {
                let known = seen.vms.get(&vm).and_then(|vm| vm.pid);
                if known != Some(process.pid) {
                    findings
                        .push(Finding::new(Kind::OrphanProcess, format!("{} of {vm}, whose process is {known:?}", process.pid)));
                }
                found.insert(process.pid, vm);
            }
        }
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

fn is_the_server(target: &Target, process: &Process) -> bool {
    let serves = || process.arguments.get(1).is_some_and(|word| word == "up");
    target.server.map_or_else(serves, |pid| pid == process.pid)
}

impl Process {
    fn owner(&self, target: &Target, data: &Path, prefix: &str) -> Option<Owner> {
        // `-name hearth-OWNER-VM` of a VMM; a word of its own, not the end of a path. Firecracker's has a hyphen for the id's underscore.
        if let Some(vm) = self.arguments.iter().find_map(|word| word.strip_prefix(prefix)) {
            return Some(Owner::Vm(vm.replace('-', "_")));
        }
        let vms = data.join("vms");
        let below = self.folder.as_deref().and_then(|folder| folder.strip_prefix(&vms).ok());
        if let Some(vm) = below.and_then(|below| below.components().next()) {
            return Some(Owner::Vm(vm.as_os_str().to_string_lossy().into_owned()));
        }
        let named = data.to_string_lossy().into_owned();
        if self.files.iter().chain(&self.folder).any(|file| file.starts_with(data)) {
            return Some(Owner::Nobody("it has a file of the data directory open"));
        }
        if self.arguments.iter().any(|word| word.contains(&named)) {
            return Some(Owner::Nobody("its arguments name the data directory"));
        }
        let mark = target.environment.as_ref()?;
        let inherited = self.environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes());
        inherited.then_some(Owner::Nobody("the server's environment is its own"))
    }
}

fn all() -> impl Iterator<Item = Process> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    // The checker names the data directory itself.
    pids.filter(|pid| *pid != std::process::id()).filter_map(|pid| {
        // A zombie has no arguments and works nowhere: it is its parent's to reap.
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|arguments| !arguments.is_empty())?;
        let arguments = arguments.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        Some(Process {
            pid,
            arguments,
            folder: fs::read_link(format!("/proc/{pid}/cwd")).ok(),
            files: files.filter_map(|entry| fs::read_link(entry.path()).ok()).collect(),
            environment: fs::read(format!("/proc/{pid}/environ")).unwrap_or_default(),
        })
    })
}
