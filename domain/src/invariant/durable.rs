//! The durable records of one node, and what is true of them together.

use super::Broken;
use crate::{
    ImageId, OperationId, VmId,
    image::{self, Image},
    operation::{self, Operation},
    vm::{self, Mac, Vm},
};
use std::{collections::BTreeMap, net::Ipv4Addr};

/// A node's records as its journal has them at one moment.
#[derive(Debug, Clone, Default)]
pub struct Durable {
    pub vms: BTreeMap<VmId, Vm>,
    pub images: BTreeMap<ImageId, Image>,
    pub operations: BTreeMap<OperationId, Operation>,
    /// Addresses and MACs as the table of them has them, which stays when a VM's record can't be read.
    pub given: BTreeMap<VmId, Vec<(Ipv4Addr, [u8; 6])>>,
    /// Memory of the host for VMs; absent while the host is not registered.
    pub room_mib: Option<u64>,
}

impl Durable {
    /// Holds at every moment.
    pub fn check(&self, broken: &mut Vec<Broken>) {
        for vm in self.vms.values() {
            if let Err(error) = vm::invariant::check(vm) {
                broken.push(Broken::Record { what: vm.id.to_string(), detail: error.to_string() });
            }
        }
        for image in self.images.values() {
            if let Err(error) = image::invariant::check(image) {
                broken.push(Broken::Record { what: image.id.to_string(), detail: error.to_string() });
            }
        }
        for operation in self.operations.values() {
            if let Err(error) = operation::invariant::check(operation) {
                broken.push(Broken::Record { what: operation.id.to_string(), detail: error.to_string() });
            }
        }
        self.nothing_given_twice(broken);
        self.all_that_is_given_is_noted(broken);
        self.operations_have_a_target(broken);
        self.not_oversold(broken);
        self.images_are_there(broken);
    }

    fn nothing_given_twice(&self, broken: &mut Vec<Broken>) {
        let mut holders: BTreeMap<String, VmId> = BTreeMap::new();
        for vm in self.vms.values() {
            let mut given = vec![format!("the name {}/{}", vm.project, vm.name)];
            for nic in &vm.nics {
                given.push(format!("the address {}", nic.address));
                given.push(format!("the MAC {}", Mac::of(nic)));
                given.push(format!("the interface {}", nic.tap));
            }
            for what in given {
                if let Some(one) = holders.insert(what.clone(), vm.id) {
                    broken.push(Broken::GivenTwice { what, one: one.to_string(), other: vm.id.to_string() });
                }
            }
        }
        let mut names: BTreeMap<String, ImageId> = BTreeMap::new();
        for image in self.images.values() {
            let what = format!("the image name {}/{}", image.project, image.name);
            if let Some(one) = names.insert(what.clone(), image.id) {
                broken.push(Broken::GivenTwice { what, one: one.to_string(), other: image.id.to_string() });
            }
        }
    }

    /// The table of addresses and the records change together.
    fn all_that_is_given_is_noted(&self, broken: &mut Vec<Broken>) {
        for vm in self.vms.values() {
            let has: Vec<_> = vm.nics.iter().map(|nic| (nic.address, nic.mac)).collect();
            let noted = self.given.get(&vm.id).map_or(&[][..], Vec::as_slice);
            if has != noted {
                let detail = format!("has the addresses and MACs {has:02x?}, noted are {noted:02x?}");
                broken.push(Broken::Record { what: vm.id.to_string(), detail });
            }
        }
        for id in self.given.keys().filter(|id| !self.vms.contains_key(id)) {
            broken.push(Broken::Unowned { what: format!("the note of the addresses of {id}") });
        }
    }

    /// The operation that a record works on runs, and each that runs is worked on by the record that it names: they change together.
    fn operations_have_a_target(&self, broken: &mut Vec<Broken>) {
        let vms = self.vms.values().filter_map(|vm| vm.operation.map(|in_flight| (in_flight.id, vm.id.to_string())));
        let images = self.images.values().filter_map(|image| image.operation.map(|id| (id, image.id.to_string())));
        let worked_on: BTreeMap<OperationId, String> = vms.chain(images).collect();
        for (id, target) in &worked_on {
            let detail = match self.operations.get(id) {
                None => "is worked on and is not there".to_owned(),
                Some(operation) if operation.status.is_final() => "is worked on and has ended".to_owned(),
                Some(operation) if operation.target.id != *target => format!("names another target than {target}"),
                Some(_) => continue,
            };
            broken.push(Broken::Operation { operation: id.to_string(), detail });
        }
        for operation in self.operations.values().filter(|operation| !operation.status.is_final()) {
            if !worked_on.contains_key(&operation.id) {
                let detail = format!("({}) runs and nobody works on it", operation.kind.as_str());
                broken.push(Broken::Operation { operation: operation.id.to_string(), detail });
            }
        }
    }

    fn not_oversold(&self, broken: &mut Vec<Broken>) {
        let Some(room_mib) = self.room_mib else { return };
        let holding = self.vms.values().filter(|vm| vm.state.holds_capacity());
        let held_mib = holding.map(|vm| u64::from(vm.held_mem_mib())).sum();
        if held_mib > room_mib {
            broken.push(Broken::Oversold { held_mib, room_mib });
        }
    }

    /// A VM's images stay as long as the VM.
    fn images_are_there(&self, broken: &mut Vec<Broken>) {
        for vm in self.vms.values() {
            for image in [vm.boot.kernel, vm.boot.rootfs] {
                if !self.images.contains_key(&image) {
                    broken.push(Broken::Record { what: vm.id.to_string(), detail: format!("its image {image} is gone") });
                }
            }
        }
    }
}
