//! What a VM's processes may use of the machine, in the version 2 cgroup that they are in anyway: how much is a pure function of the VM's
//! size; setting it is here too. A machine without a controller runs VMs all the same, and that is told.
//!
//! Controllers are passed down from the hierarchy's root to the owner's group and from there to the VMs' groups, by
//! `cgroup.subtree_control`. A group that passes a controller on may hold no processes itself ("no internal processes"): VMs' processes sit
//! in the VMs' groups, and nothing may sit in the owner's.

#[cfg(test)]
mod tests;
pub mod transfers;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// The kernel's own period of `cpu.max`.
const PERIOD_US: u64 = 100_000;
/// Of one processor, for the threads that are no vCPU: devices, API, the kernel's workers for it. A guest that computes on all vCPUs has
/// then still a disk and a network, and can't take more than this from its neighbours by making its devices busy. A choice, not a measurement.
const VMM_SHARE_US: u64 = 50_000;
/// The kernel counts page tables: one entry of 8 bytes for each page of 4 KiB, once in the process's tables and once in KVM's; as much again
/// for what a VMM keeps for each page (bitmaps of dirty pages, slots).
const BYTES_PER_PAGE: u64 = 32;
const PAGE: u64 = 4096;
/// Threads besides vCPUs: QEMU's pool for its disks has up to 64, the kernel's workers of an `io_uring` some more. Enough to run, too few to harm.
const THREADS: u32 = 128;
const MIB: u64 = 1 << 20;

/// What Firecracker needs beside guest and page tables: 64 MiB for the 1,023 connections that its vsock may hold, each with a buffer of
/// 64 KiB that a guest can fill, and 32 MiB for the rest. Measured: 2 to 4 MiB with a disk and a vsock, kernel's part and page tables
/// included (1.17-dev, guests of 128 and 512 MiB on Linux 6.1). A bound reserves nothing, and one that is too tight ends a guest.
pub const FIRECRACKER_MIB: u32 = 96;

/// What the limits follow from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    pub vcpus: u32,
    pub mem_mib: u32,
    /// What the VMM itself needs at most beside the guest's memory and its page tables.
    pub overhead_mib: u32,
    /// Absent: as much as there is.
    pub io: Option<Io>,
}

/// A bound on what goes to and from one disk of the host. An absent number is no bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Io {
    /// Major and minor number of the whole disk, not of a partition.
    pub device: (u32, u32),
    pub read_bytes_per_s: Option<u64>,
    pub write_bytes_per_s: Option<u64>,
    pub reads_per_s: Option<u64>,
    pub writes_per_s: Option<u64>,
}

/// One file of a cgroup and what is to be in it. The file's name begins with its controller's.
pub type Limit = (&'static str, String);

/// The limits of a VM.
///
/// Swap is not limited: a group that is at its `memory.max` is at the size it was given, and whether guests may be swapped out at all is
/// decided by who gives the machine swap. With a limit of 0, a machine short of memory would end guests that it could have kept.
pub fn limits(needs: &Needs) -> Vec<Limit> {
    let cpu_us = u64::from(needs.vcpus) * PERIOD_US + VMM_SHARE_US;
    let mut limits = vec![
        ("cpu.max", format!("{cpu_us} {PERIOD_US}")),
        (MEMORY, memory(needs).to_string()),
        ("pids.max", needs.vcpus.saturating_add(THREADS).to_string()),
    ];
    limits.extend(needs.io.as_ref().map(io_max));
    limits
}

/// Of transfers alone.
pub fn io_max(io: &Io) -> Limit {
    (IO, io_line(io))
}

pub const IO: &str = "io.max";

/// Raises the group's limit of memory to what follows from `needs`, if it is lower: what is in use already is not taken away. A group without a limit
/// stays without. Blocks.
pub fn raise_memory(group: &Path, needs: &Needs) -> io::Result<()> {
    let path = group.join(MEMORY);
    let has = match fs::read_to_string(&path) {
        // No controller, as `apply` told, or no group.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        has => has?,
    };
    let wanted = memory(needs);
    match has.trim().parse::<u64>() {
        Ok(has) if has < wanted => fs::write(&path, wanted.to_string()),
        // `max` is no number.
        _ => Ok(()),
    }
}

const MEMORY: &str = "memory.max";

/// Bytes.
fn memory(needs: &Needs) -> u64 {
    let guest = u64::from(needs.mem_mib) * MIB;
    guest + u64::from(needs.overhead_mib) * MIB + guest / PAGE * BYTES_PER_PAGE
}

fn io_line(io: &Io) -> String {
    let bounds =
        [("rbps", io.read_bytes_per_s), ("wbps", io.write_bytes_per_s), ("riops", io.reads_per_s), ("wiops", io.writes_per_s)];
    let (major, minor) = io.device;
    bounds.iter().fold(format!("{major}:{minor}"), |line, (name, bound)| match bound {
        // The kernel knows no 0.
        Some(bound) => format!("{line} {name}={}", (*bound).max(1)),
        None => format!("{line} {name}=max"),
    })
}

/// Sets the limits on the group, which must exist, and gives one sentence for each that can't be set; the others are. May be repeated, and
/// while the group's processes run. Blocks for some twenty reads and writes of the kernel's own files.
pub fn apply(group: &Path, limits: &[Limit]) -> Vec<String> {
    let mut problems = Vec::new();
    let wanted: BTreeSet<&str> = limits.iter().map(|(file, _)| controller(file)).collect();
    for controller in wanted {
        if let Err(reason) = enable(group, controller) {
            problems.push(format!("VMs run without a limit of {}: {reason}", what(controller)));
            continue;
        }
        for (file, value) in limits.iter().filter(|(file, _)| self::controller(file) == controller) {
            let path = group.join(file);
            if let Err(error) = fs::write(&path, value) {
                problems.push(format!(
                    "VMs run without a limit of {}: {} can't be set to {value}: {error}",
                    what(controller),
                    path.display()
                ));
            }
        }
    }
    problems
}

fn controller(file: &str) -> &str {
    file.split_once('.').map_or(file, |(controller, _)| controller)
}

fn what(controller: &str) -> &str {
    match controller {
        "cpu" => "processor time",
        "memory" => "memory",
        "pids" => "threads",
        "io" => "disk transfers",
        other => other,
    }
}

/// Passes the controller down to the group from the hierarchy's root. What is passed already is left alone.
fn enable(group: &Path, controller: &str) -> Result<(), String> {
    let parents = parents(group);
    let Some(root) = parents.first() else { return Err(format!("{} is in no cgroup version 2 hierarchy", group.display())) };
    let has = |file: &str, folder: &Path| words(folder, file).is_ok_and(|words| words.iter().any(|word| word == controller));
    if !has("cgroup.controllers", root) {
        return Err(format!(
            "the cgroup controller {controller} is missing in {} (the kernel has it not, or in a version 1 hierarchy)",
            root.display()
        ));
    }
    for parent in parents.iter().filter(|parent| !has("cgroup.subtree_control", parent)) {
        let path = parent.join("cgroup.subtree_control");
        fs::write(&path, format!("+{controller}")).map_err(|error| match error.kind() {
            io::ErrorKind::ResourceBusy => {
                format!("the cgroup controller {controller} can't be passed on by {}, in which processes sit", parent.display())
            }
            _ => format!("the cgroup controller {controller} can't be passed on by {}: {error}", parent.display()),
        })?;
    }
    Ok(())
}

/// The groups above this one, from the hierarchy's root on. The folder above the root is no group.
fn parents(group: &Path) -> Vec<PathBuf> {
    let above = group.ancestors().skip(1).take_while(|folder| folder.join("cgroup.controllers").is_file());
    let mut found: Vec<PathBuf> = above.map(Path::to_path_buf).collect();
    found.reverse();
    found
}

fn words(folder: &Path, file: &str) -> io::Result<Vec<String>> {
    Ok(fs::read_to_string(folder.join(file))?.split_whitespace().map(str::to_owned).collect())
}
