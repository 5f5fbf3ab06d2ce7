//! Files: everything in the data directory is something that hearth keeps there for a thing that it knows, and what must be there is. What
//! may be there is listed here; whatever else there is, is an orphan.

use crate::{Finding, Kind, Seen, Target};
use anyhow::Result;
use serde::Deserialize;
use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::Path};

const TOP: [&str; 10] =
    ["id", "admin.token", "kvm.json", "firecracker.json", "journal", "vms", "images", "boot", "secrets", "simulated.notes"];
/// hearth's own and those of its store, sled; `snap.*` besides.
const JOURNAL: [&str; 6] = ["lock", "format", "acknowledged", "db", "conf", "blobs"];
const OF_A_VM: [&str; 15] = [
    "disk.qcow2",
    "disk.raw",
    "drives",
    "seed.iso",
    "balloon",
    "console.log",
    "console.times",
    "events.log",
    "qemu.log",
    "firecracker.log",
    "firecracker.err",
    "firecracker.metrics",
    "firecracker.tally",
    "machine.json",
    "uid",
];
/// There while a process is: QEMU's sockets; of a Firecracker its jail, or the room of one without, what it is typed on, and what it was told.
const OF_A_PROCESS: [&str; 8] =
    ["qmp.sock", "events.sock", "agent.sock", "console.sock", "jail", "run", "keyboard", "firecracker.json"];
/// The root disk, of QEMU and of Firecracker.
const DISKS: [&str; 2] = ["disk.qcow2", "disk.raw"];

pub fn check(target: &Target, seen: &Seen) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let data = &target.data_dir;
    only(data, "", |name| TOP.contains(&name), &mut findings);
    let of_the_journal = |name: &str| JOURNAL.contains(&name) || (name.starts_with("snap.") && !name.ends_with(".generating"));
    only(data, "journal", of_the_journal, &mut findings);
    only(data, "journal/blobs", |_| false, &mut findings);
    only(data, "boot", |name| name.ends_with(".cpio") && !name.starts_with("partial"), &mut findings);
    only(data, "secrets", |name| seen.webhooks.iter().any(|id| id == name), &mut findings);
    only(data, "vms", |name| seen.vms.get(name).is_some_and(|vm| !vm.simulated), &mut findings);
    for (id, vm) in &seen.vms {
        let folder = format!("vms/{id}");
        // They go with the process that listens on them and that is in it.
        let of_a_process = |name: &str| OF_A_PROCESS.contains(&name) || is_root(name);
        let may_be = |name: &str| OF_A_VM.contains(&name) || is_drive(name) || (of_a_process(name) && vm.pid.is_some());
        only(data, &folder, may_be, &mut findings);
        for root in names(&data.join(&folder)).iter().filter(|name| is_root(name)) {
            only(data, &format!("{folder}/{root}"), |_| false, &mut findings);
        }
    }
    disks(target, seen, &mut findings);
    images(target, seen, &mut findings);
    notes(target, seen, &mut findings);
    Ok(findings)
}

/// `root-<launch>`, the empty folder that a QEMU has as its root.
fn is_root(name: &str) -> bool {
    name.strip_prefix("root-").is_some_and(|launch| launch.parse::<u64>().is_ok())
}

/// `drive-<number>.raw`, a data drive; of one that was taken away while the VM is stopped, until its next start.
fn is_drive(name: &str) -> bool {
    name.strip_prefix("drive-").and_then(|rest| rest.strip_suffix(".raw")).is_some_and(|number| number.parse::<u32>().is_ok())
}

/// Whatever is in that folder and may not be is an orphan.
fn only(data: &Path, folder: &str, may_be: impl Fn(&str) -> bool, findings: &mut Vec<Finding>) {
    for name in names(&data.join(folder)).iter().filter(|name| !may_be(name)) {
        findings.push(Finding::new(Kind::OrphanFile, format!("{folder}/{name}").trim_start_matches('/')));
    }
}

/// Each VM on a driver with disks has its own. A failed one may have lost it on its way out.
fn disks(target: &Target, seen: &Seen, findings: &mut Vec<Finding>) {
    if target.data_dir.join("simulated.notes").exists() {
        return;
    }
    let whole = seen.vms.iter().filter(|(_, vm)| ["created", "running", "paused", "stopped"].contains(&vm.state.as_str()));
    for (id, vm) in whole {
        let folder = target.data_dir.join("vms").join(id);
        if !DISKS.iter().any(|disk| folder.join(disk).is_file()) {
            findings.push(Finding::new(Kind::LostFile, format!("the disk of {id} ({}), which is {}", vm.name, vm.state)));
        }
    }
}

fn images(target: &Target, seen: &Seen, findings: &mut Vec<Finding>) {
    let store = target.data_dir.join("images");
    let found = names(&store);
    let of_one = |name: &str| {
        let (id, rest) = name.split_once('.').unwrap_or((name, ""));
        name == "by-digest" || (seen.images.contains_key(id) && ["", "initrd"].contains(&rest))
    };
    only(&target.data_dir, "images", of_one, findings);
    for (id, _) in seen.images.iter().filter(|(id, state)| *state == "ready" && !found.contains(id)) {
        findings.push(Finding::new(Kind::LostFile, format!("images/{id}")));
    }
    // Content that no image has is linked from nowhere else.
    for name in names(&store.join("by-digest")) {
        if fs::metadata(store.join("by-digest").join(&name)).is_ok_and(|metadata| metadata.nlink() < 2) {
            findings.push(Finding::new(Kind::OrphanFile, format!("images/by-digest/{name}")));
        }
    }
}

/// The simulated driver's machines: the last line of each VM counts. Its file is rewritten at each start of the server and grows till then.
fn notes(target: &Target, seen: &Seen, findings: &mut Vec<Finding>) {
    let Ok(text) = fs::read_to_string(target.data_dir.join("simulated.notes")) else { return };
    let mut last: BTreeMap<String, Option<String>> = BTreeMap::new();
    for line in text.lines().filter_map(|line| serde_json::from_str::<Note>(line).ok()) {
        last.insert(id_of(line.vm), line.phase);
    }
    let phase = |id: &String| last.get(id).cloned().flatten();
    for (id, phase) in &last {
        let lives = matches!(phase.as_deref(), Some("held" | "running" | "paused"));
        if lives && seen.vms.get(id).is_none_or(|vm| vm.pid.is_none()) {
            findings.push(Finding::new(Kind::OrphanProcess, format!("the simulated machine of {id}")));
        }
    }
    for (id, vm) in seen.vms.iter().filter(|(_, vm)| vm.simulated && ["running", "paused"].contains(&vm.state.as_str())) {
        if phase(id).as_deref() != Some(vm.state.as_str()) {
            let told = format!("{id} is {}, its simulated machine {:?}", vm.state, phase(id));
            findings.push(Finding::new(Kind::LostProcess, told));
        }
    }
}

#[derive(Deserialize)]
struct Note {
    vm: u128,
    phase: Option<String>,
}

/// A ULID's 128 bits as the API writes an id: Crockford's base 32, in small letters.
fn id_of(bits: u128) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let digit = |place: u32| char::from(DIGITS[((bits >> (place * 5)) & 31) as usize]);
    format!("vm_{}", (0..26).rev().map(digit).collect::<String>())
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_are_written_as_the_api_does() {
        assert_eq!(super::id_of(0), "vm_00000000000000000000000000");
        assert_eq!(super::id_of(u128::MAX), "vm_7zzzzzzzzzzzzzzzzzzzzzzzzz");
    }
}
