//! Files: a folder for each VM on a VMM with disks, a file for each image, nothing half-made.

use crate::{Finding, Kind, Seen, Target};
use anyhow::Result;
use serde::Deserialize;
use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::Path};

pub fn check(target: &Target, seen: &Seen) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for name in names(&target.data_dir.join("vms")) {
        if !seen.vms.contains_key(&name) {
            findings.push(orphan(format!("vms/{name}")));
        }
    }
    images(target, seen, &mut findings);
    for folder in ["boot", ""] {
        for name in names(&target.data_dir.join(folder)) {
            if ["partial", ".new", ".tmp"].iter().any(|word| name.contains(word)) {
                findings.push(orphan(format!("{folder}/{name}")));
            }
        }
    }
    notes(target, seen, &mut findings);
    Ok(findings)
}

fn images(target: &Target, seen: &Seen, findings: &mut Vec<Finding>) {
    let store = target.data_dir.join("images");
    let found = names(&store);
    for name in found.iter().filter(|name| *name != "by-digest") {
        let (id, rest) = name.split_once('.').unwrap_or((name, ""));
        if !seen.images.contains_key(id) || !["", "initrd"].contains(&rest) {
            findings.push(orphan(format!("images/{name}")));
        }
    }
    for (id, _) in seen.images.iter().filter(|(id, state)| *state == "ready" && !found.contains(id)) {
        findings.push(Finding::new(Kind::LostFile, format!("images/{id}")));
    }
    // Content that no image has is linked from nowhere else.
    for name in names(&store.join("by-digest")) {
        if fs::metadata(store.join("by-digest").join(&name)).is_ok_and(|metadata| metadata.nlink() < 2) {
            findings.push(orphan(format!("images/by-digest/{name}")));
        }
    }
}

/// The simulated driver's machines: the last line of each VM counts.
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
            findings
                .push(Finding::new(Kind::LostProcess, format!("{id} is {}, its simulated machine {:?}", vm.state, phase(id))));
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

fn orphan(what: String) -> Finding {
    Finding::new(Kind::OrphanFile, what)
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
