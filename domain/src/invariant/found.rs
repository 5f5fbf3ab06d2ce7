//! What is found on a node's machine, held against the records.

use super::{Broken, Durable};
use crate::{
    Attempt, ImageId, VmId,
    vm::{DiskSizes, RateLimits, ReasonCode, State, Vm},
};
use std::collections::BTreeMap;

/// A VMM's process that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub vm: VmId,
    pub launch: Attempt,
    pub phase: Phase,
    pub mem_mib: u32,
    /// In the guest's order.
    pub taps: Vec<String>,
    pub rate_limits: RateLimits,
    pub balloon_mib: u32,
    pub disks: DiskSizes,
    /// What it is to have, where it can be given memory; [`Self::mem_mib`] is the most that it had.
    pub plugged_mib: Option<u32>,
    /// What its guest reads: the VM's name, and the user's metadata.
    pub served: (String, Option<Box<str>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before its first instruction.
    Held,
    Running,
    Paused,
}

/// Everything of ours on one machine.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub processes: Vec<Process>,
    pub taps: Vec<String>,
    pub disks: Vec<VmId>,
    pub images: Vec<ImageId>,
}

/// Holds at every moment: one machine a VM, each explained by a record, no interface in two of them, no more memory in use than there is.
pub fn on_one_machine(durable: &Durable, found: &Found, broken: &mut Vec<Broken>) {
    let mut machines: BTreeMap<VmId, &Process> = BTreeMap::new();
    let mut taps: BTreeMap<&str, VmId> = BTreeMap::new();
    let mut held_mib = 0;
    for process in &found.processes {
        if let Some(one) = machines.insert(process.vm, process) {
            let (one, other) = (format!("launch {}", one.launch.0), format!("launch {}", process.launch.0));
            broken.push(Broken::TwoMachines { vm: process.vm.to_string(), one, other });
        }
        for tap in &process.taps {
            if let Some(one) = taps.insert(tap, process.vm) {
                let what = format!("the interface {tap}");
                broken.push(Broken::GivenTwice { what, one: one.to_string(), other: process.vm.to_string() });
            }
        }
        let record = durable.vms.get(&process.vm);
        if process.phase != Phase::Held && record.is_none_or(|vm| vm.attempt <= process.launch) {
            let what = format!("launch {} of {} runs", process.launch.0, process.vm);
            broken.push(Broken::NoReason { what, detail: "no durable record knows the machine".to_owned() });
        }
        // A machine is made in a state that names none, and the next one that is named is that one.
        if let Some(machine) = record.and_then(|vm| vm.state.machine())
            && machine.launch != process.launch
        {
            let (one, other) =
                (format!("launch {}, which is recorded,", machine.launch.0), format!("launch {}", process.launch.0));
            broken.push(Broken::TwoMachines { vm: process.vm.to_string(), one, other });
        }
        if record.is_some_and(|vm| vm.state.holds_capacity()) {
            held_mib += u64::from(process.mem_mib);
        }
    }
    if let Some(room_mib) = durable.room_mib
        && held_mib > room_mib
    {
        broken.push(Broken::Oversold { held_mib, room_mib });
    }
}

/// Holds at every moment: no VM is on two nodes, neither as a record nor as a machine.
pub fn apart<'a>(nodes: impl IntoIterator<Item = (&'a str, &'a Durable, &'a Found)>, broken: &mut Vec<Broken>) {
    let mut owners: BTreeMap<VmId, &str> = BTreeMap::new();
    for (node, durable, found) in nodes {
        let machines = found.processes.iter().map(|process| process.vm);
        for vm in durable.vms.keys().copied().chain(machines) {
            match owners.insert(vm, node) {
                Some(one) if one != node => {
                    broken.push(Broken::GivenTwice { what: vm.to_string(), one: one.to_owned(), other: node.to_owned() });
                }
                _ => {}
            }
        }
    }
}

/// Holds once faults have stopped and everything had its time: all is as recorded, nothing is under way, nothing is left over.
pub fn settled(durable: &Durable, found: &Found, broken: &mut Vec<Broken>) {
    for operation in durable.operations.values().filter(|operation| !operation.status.is_final()) {
        let detail = format!("({} of {}) never ended", operation.kind.as_str(), operation.target.id);
        broken.push(Broken::Operation { operation: operation.id.to_string(), detail });
    }
    for vm in durable.vms.values() {
        let process = found.processes.iter().find(|process| process.vm == vm.id);
        let met = match (&vm.state, process.map(|process| (process.phase, process.launch))) {
            (State::Running(machine), Some((Phase::Running, launch))) => launch == machine.launch,
            (State::Paused(machine), Some((Phase::Paused, launch))) => launch == machine.launch,
            (State::Created | State::Stopped, None) => true,
            (State::Failed, found) => found.is_none() || vm.may_be_left(),
            _ => false,
        };
        if !met {
            let found =
                process.map_or("not there".to_owned(), |process| format!("{:?} as launch {}", process.phase, process.launch.0));
            broken.push(Broken::NotMet { vm: vm.id.to_string(), recorded: format!("{:?}", vm.state), found });
        }
        let served = (vm.name.to_string(), vm.spec.devices.metadata.clone());
        let memory = (vm.spec.devices.balloon_mib, vm.spec.plugged_mem_mib());
        let wanted = (vm.spec.devices.rate_limits, memory, vm.spec.disk_sizes(), served);
        let has = process.map(|process| {
            let memory = (process.balloon_mib, process.plugged_mib);
            (process.rate_limits, memory, process.disks.clone(), process.served.clone())
        });
        // One that could not be told is said not to have it.
        if vm.state.machine().is_some() && has.as_ref().is_some_and(|has| *has != wanted) && !is(vm, ReasonCode::NotApplied) {
            let (recorded, found) = (format!("{wanted:?}"), format!("{has:?}"));
            broken.push(Broken::NotMet { vm: vm.id.to_string(), recorded, found });
        }
    }
    for process in &found.processes {
        let Some(vm) = durable.vms.get(&process.vm).filter(|vm| vm.state.machine().is_some()) else { continue };
        // They change with no machine there, so that one has what is recorded; on a machine without a network it has none.
        if !process.taps.is_empty() && !process.taps.iter().eq(vm.nics.iter().map(|nic| &nic.tap)) {
            let recorded = format!("{:?}", vm.nics.iter().map(|nic| &nic.tap).collect::<Vec<_>>());
            broken.push(Broken::NotMet { vm: vm.id.to_string(), recorded, found: format!("{:?}", process.taps) });
        }
    }
    let mut unowned = |what: String| broken.push(Broken::Unowned { what });
    for process in found.processes.iter().filter(|process| !durable.vms.contains_key(&process.vm)) {
        unowned(format!("the machine of {}", process.vm));
    }
    for disk in found.disks.iter().filter(|disk| !durable.vms.contains_key(disk)) {
        unowned(format!("the disk of {disk}"));
    }
    for image in found.images.iter().filter(|image| !durable.images.contains_key(image)) {
        unowned(format!("the files of {image}"));
    }
    for tap in &found.taps {
        let owner = durable.vms.values().find(|vm| vm.nics.iter().any(|nic| nic.tap == *tap));
        // What a run used is given back with its end, not with the VM's.
        if !owner.is_some_and(|vm| vm.state.machine().is_some() || vm.may_be_left()) {
            unowned(format!("the interface {tap}"));
        }
    }
}

fn is(vm: &Vm, code: ReasonCode) -> bool {
    vm.reason.as_ref().is_some_and(|reason| reason.code == code)
}
