//! What a driver is asked to make of a VM's record.

use crate::shared::Shared;
use domain::{
    image::State as ImageState,
    vm::{Vm, VmSpec},
};
use host::vmm::{DiskPlan, MachinePlan, NicPlan, Tuning};

pub fn disk_plan(shared: &Shared, record: &Vm) -> DiskPlan {
    DiskPlan {
        vm: record.id,
        base: shared.images.path(record.boot.rootfs),
        size_bytes: record.spec.disk_mib.map(|mib| mib * 1024 * 1024),
        drives: record.spec.devices.drives.clone(),
    }
}

pub fn machine_plan(shared: &Shared, record: &Vm) -> MachinePlan {
    let kernel = record.boot.kernel;
    let has_initrd = shared.view.image(kernel).is_some_and(|image| match &image.state {
        ImageState::Ready(files) => files.initrd_digest.is_some(),
        _ => false,
    });
    // The record keeps its interfaces when the machine can't give it any this time: the VM then runs without.
    let nics = record.nics.iter().filter(|_| shared.network.is_some()).map(|nic| NicPlan {
        tap: nic.tap.clone(),
        mac: nic.mac,
        address: nic.address,
        prefix: nic.prefix,
        gateway: nic.gateway,
        dns: shared.dns.clone(),
    });
    MachinePlan {
        vm: record.id,
        hostname: record.name.to_string(),
        vcpus: record.spec.vcpus,
        mem_mib: record.spec.mem_mib,
        mem_max_mib: record.spec.devices.mem_max_mib,
        kernel: shared.images.path(kernel),
        initrd: has_initrd.then(|| shared.images.initrd_path(kernel)),
        disk: disk_plan(shared, record),
        nics: nics.collect(),
        cmdline: record.spec.cmdline.clone(),
        cloud_init: record.spec.devices.cloud_init.clone(),
        metadata: record.spec.devices.metadata.clone(),
        tuning: tuning(record),
        cpu_template: record.spec.devices.cpu_template,
        dirty_tracking: false,
    }
}

pub fn tuning(record: &Vm) -> Tuning {
    let VmSpec { devices, .. } = &record.spec;
    let mem_mib = record.spec.plugged_mem_mib();
    Tuning { rate_limits: devices.rate_limits, balloon_mib: devices.balloon_mib, mem_mib, disks: record.spec.disk_sizes() }
}
