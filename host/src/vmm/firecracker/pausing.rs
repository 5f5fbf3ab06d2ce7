//! Which machine may be paused, and for what. Some releases lose a guest's vsock by a pause that no snapshot follows (see [`Version`]), and what
//! counts is the release that the machine's process runs, not the one that is installed by now. A resume is nobody's to refuse: what was paused
//! before, by whomever, goes on.

#[cfg(test)]
mod tests;

use super::super::VmmError;
use super::api::Found;
use super::{
    Firecracker,
    asking::{call_error, not_started},
    version::Version,
};
use domain::{VmId, vm::Machine};

/// What follows a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The guest goes on as it stood.
    Rest,
    /// The snapshot ends the guest's connections and has it acknowledge that, whatever the release.
    Snapshot,
}

impl Firecracker {
    /// One that stands already stays, whatever for.
    pub(super) async fn stand(&self, vm: VmId, machine: &Machine, purpose: Purpose) -> Result<(), VmmError> {
        match self.found(vm, machine, "pause").await? {
            (_door, Found::Running(running)) => {
                allowed(machine, purpose)?;
                running.pause().await.map(drop).map_err(call_error)
            }
            (_door, Found::Paused(_)) => Ok(()),
            (_door, Found::NotStarted(machine)) => Err(not_started("pause", &machine)),
        }
    }
}

fn allowed(machine: &Machine, purpose: Purpose) -> Result<(), VmmError> {
    if purpose == Purpose::Snapshot || Version::parse(&machine.version).pauses_well() {
        return Ok(());
    }
    let detail = format!(
        "Firecracker {}, which the VM runs on, would lose the guest's agent by it: install a release after 1.16.1, then stop and start the VM",
        machine.version
    );
    Err(VmmError::Refused { call: "pause", detail })
}
