//! What the drivers of real VMMs share: the held process and its end, the VM's folder, cgroup, console and initramfs. Knows no VMM by name.

#[cfg(test)]
pub(super) mod alone;
pub mod boot;
pub mod cgroup;
pub mod cmdline;
pub mod confined;
pub mod console;
pub mod drives;
pub mod gate;
pub mod hold;
pub mod layout;
pub mod leftovers;
pub mod meet;
#[cfg(test)]
pub mod mounted;
pub mod process;
pub mod run;
pub mod runs;
pub mod seed;
pub mod selftest;
pub mod settle;
pub mod sparse;
pub mod uid;

use super::VmmError;
use cgroup::Cgroups;
use domain::{VmId, host::Capabilities};
use layout::Layout;
use std::path::PathBuf;

/// What every driver of a real VMM can.
pub const CAPABILITIES: Capabilities = Capabilities {
    pause: true,
    console_input: true,
    guest_agent: true,
    power_off_told: true,
    balloon: true,
    disk_rate_limit: true,
    ..Capabilities::NONE
};

/// What a driver stands on: one data directory of one hearth.
#[derive(Debug)]
pub struct Ground {
    pub layout: Layout,
    /// Which hearth this is, unique to its data directory; letters, digits and dashes.
    pub owner: String,
    pub cgroups: Cgroups,
}

impl Ground {
    /// Makes the folder of the VMs, and the owner's cgroup where that can be.
    pub fn open(data: &std::path::Path, owner: &str) -> Result<Self, VmmError> {
        let data = std::path::absolute(data).map_err(|source| layout::storage_error(data, source))?;
        let layout = Layout::new(data);
        layout::make_folder(&layout.vms())?;
        Ok(Self { layout, owner: owner.to_owned(), cgroups: Cgroups::detect(owner) })
    }

    pub fn folder(&self, vm: VmId) -> PathBuf {
        self.layout.vm(vm)
    }

    /// See [`super::Vmm::tear_down`].
    pub fn tear_down(&self) -> Result<(), VmmError> {
        self.cgroups.remove_root().map_err(leftovers::failed("hearth's cgroup"))
    }
}

/// What a process's own arguments say about whose it is: the sweep finds remains by it.
pub fn mark(owner: &str, vm: VmId) -> String {
    format!("hearth-{owner}-{vm}")
}

/// The same for programs that take letters, digits and dashes only.
pub fn dashed_mark(owner: &str, vm: VmId) -> String {
    mark(owner, vm).replace('_', "-")
}

/// Whose a process with this argument is, if it is this owner's.
pub fn of_mark(owner: &str, argument: &str) -> Option<VmId> {
    let name = argument.strip_prefix("hearth-")?.strip_prefix(owner)?.strip_prefix('-')?;
    name.replace('-', "_").parse().ok()
}

/// Runs file and fork work off the runtime's threads.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, VmmError> + Send + 'static) -> Result<T, VmmError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(VmmError::Spawn { detail: format!("the work was given up: {error}") }),
    }
}
