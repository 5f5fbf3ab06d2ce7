//! What a user asks a VM to be, with its bounds.

use super::{
    devices::Devices,
    drives::DiskSizes,
    nic::{self, Interface},
};
use serde::{Deserialize, Serialize};

/// Firecracker's own limit (its SPECIFICATION and API document, machine-config.vcpu_count).
pub const VCPUS_MAX: u32 = 32;
/// Less than this and a Linux guest with an initramfs does not boot (Debian's cloud kernel, measured on QEMU 7.2).
pub const MEM_MIB_MIN: u32 = 64;
/// 4 TiB: beyond any host that we know, below any overflow.
pub const MEM_MIB_MAX: u32 = 4 * 1024 * 1024;
/// 64 TiB: ext4 in a qcow2 overlay stays well below its limits.
pub const DISK_MIB_MAX: u64 = 64 * 1024 * 1024;
/// The kernel's COMMAND_LINE_SIZE on x86 is 2048; ours needs about half.
pub const CMDLINE_MAX: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmSpec {
    /// The host to run on, by name or id; absent: chosen.
    pub host: Option<String>,
    pub vcpus: u32,
    pub mem_mib: u32,
    /// As the user named them; [`super::BootImages`] holds what they meant.
    pub kernel: Option<String>,
    pub image: String,
    /// Size of the root disk; absent: the image's own.
    pub disk_mib: Option<u64>,
    /// Appended to the kernel command line.
    pub cmdline: Option<String>,
    /// The interfaces in the guest's order. Absent in the request: one in the default network. Empty: none.
    pub networks: Vec<Interface>,
    pub restart: RestartPolicy,
    pub devices: Devices,
}

impl VmSpec {
    /// What a machine that can be given memory while it runs is to have.
    pub fn plugged_mem_mib(&self) -> Option<u32> {
        self.devices.mem_max_mib.map(|_| self.mem_mib)
    }

    pub fn disk_sizes(&self) -> DiskSizes {
        let written = self.devices.drives.all().iter().filter(|drive| !drive.read_only);
        DiskSizes { root_mib: self.disk_mib, drives_mib: written.map(|drive| (drive.number, drive.size_mib)).collect() }
    }
}

/// What follows when a VM ends without being asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum RestartPolicy {
    Never,
    /// After a panic, a VMM that was killed, failed, ran out of memory or made a forbidden system call; not after an orderly shutdown from inside.
    #[default]
    OnFailure,
    Always,
}

/// One reason why a spec is impossible: which field, and the sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecProblem {
    pub field: &'static str,
    pub detail: String,
}

/// All problems of a spec that need no knowledge of the host or of other resources.
pub fn check(spec: &VmSpec) -> Vec<SpecProblem> {
    let mut problems = Vec::new();
    let mut add = |field, detail: String| problems.push(SpecProblem { field, detail });
    if spec.vcpus == 0 || spec.vcpus > VCPUS_MAX {
        add("spec.vcpus", format!("must be 1 to {VCPUS_MAX}, not {}", spec.vcpus));
    }
    if spec.mem_mib < MEM_MIB_MIN || spec.mem_mib > MEM_MIB_MAX {
        add("spec.mem_mib", format!("must be {MEM_MIB_MIN} to {MEM_MIB_MAX}, not {}", spec.mem_mib));
    }
    if let Some(disk_mib) = spec.disk_mib
        && (disk_mib == 0 || disk_mib > DISK_MIB_MAX)
    {
        add("spec.disk_mib", format!("must be 1 to {DISK_MIB_MAX}, not {disk_mib}"));
    }
    if let Some(cmdline) = &spec.cmdline {
        if cmdline.len() > CMDLINE_MAX {
            add("spec.cmdline", format!("must not be longer than {CMDLINE_MAX} bytes"));
        }
        if !cmdline.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            add("spec.cmdline", "may hold only printable ASCII characters".to_owned());
        }
    }
    if spec.devices.metadata.is_some() && spec.networks.is_empty() {
        add("spec.metadata", "is read by the network: give the VM one, or leave it out".to_owned());
    }
    let limits = &spec.devices.rate_limits;
    for (field, limit) in
        [("spec.rate_limits.rx_mbit_per_s", limits.rx_mbit_per_s), ("spec.rate_limits.tx_mbit_per_s", limits.tx_mbit_per_s)]
    {
        if limit.is_some() && spec.networks.is_empty() {
            add(field, "is of a network interface: give the VM a network, or leave it out".to_owned());
        }
    }
    // A seed is a drive, and memory that is given while the VM runs comes by a device.
    let beside = usize::from(spec.devices.cloud_init.is_some()) + usize::from(spec.devices.mem_max_mib.is_some());
    problems.extend(nic::check(&spec.networks, spec.devices.drives.all().len() + beside));
    problems.extend(spec.devices.check(spec.mem_mib));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::{DriveChange, Drives, RateLimits, nic::DEFAULT_NETWORK, step::tests::fixture};

    #[test]
    fn a_seed_and_room_for_memory_take_the_place_of_an_interface() {
        let mut spec = fixture::draft(false, RestartPolicy::Never).spec;
        spec.networks = vec![DEFAULT_NETWORK.into(); 5];
        let drive = |n| DriveChange { name: format!("d{n}").parse().unwrap(), size_mib: Some(1), read_only: None };
        spec.devices.drives = Drives::new(&(0..8).map(drive).collect::<Vec<_>>());
        assert_eq!(check(&spec), []);
        spec.devices.cloud_init = Some(Box::default());
        assert_eq!(check(&spec).into_iter().map(|problem| problem.field).collect::<Vec<_>>(), ["spec.networks"]);
        spec.devices.cloud_init = None;
        spec.devices.mem_max_mib = Some(spec.mem_mib);
        assert_eq!(check(&spec).into_iter().map(|problem| problem.field).collect::<Vec<_>>(), ["spec.networks"]);
    }

    #[test]
    fn what_is_of_the_network_needs_one() {
        let mut spec = fixture::draft(false, RestartPolicy::Never).spec;
        spec.networks = vec![DEFAULT_NETWORK.into()];
        let disk = RateLimits { disk_mib_per_s: Some(1), ..RateLimits::default() };
        spec.devices.rate_limits = RateLimits { rx_mbit_per_s: Some(2), tx_mbit_per_s: Some(3), ..disk };
        spec.devices.metadata = Some("{}".into());
        assert_eq!(check(&spec), []);
        spec.networks.clear();
        let fields: Vec<_> = check(&spec).into_iter().map(|problem| problem.field).collect();
        assert_eq!(fields, ["spec.metadata", "spec.rate_limits.rx_mbit_per_s", "spec.rate_limits.tx_mbit_per_s"]);
        spec.devices.metadata = None;
        spec.devices.rate_limits = disk;
        assert_eq!(check(&spec), []);
    }
}
