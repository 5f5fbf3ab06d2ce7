//! What is done to a held process from outside, before it may run.

use super::super::VmmError;
use super::super::limits::{self, Needs};
use super::{Ground, leftovers::write_note};
use domain::{VmId, vm::Machine};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

/// Guests are ended before hearth when the machine runs out of memory; not before everything else.
const OOM_SCORE_ADJ: &str = "200";

/// Writes it down, puts it into its cgroup with its limits, and has it ended before hearth when memory runs out. Only the first can fail.
pub fn settle(ground: &Ground, vm: VmId, machine: &Machine, needs: &Needs) -> Result<(), VmmError> {
    write_note(&ground.folder(vm), machine)?;
    if let Err(error) = ground.cgroups.join(vm, machine.pid) {
        tracing::warn!(%vm, %error, "the VM runs without a cgroup of its own");
    } else if let Some(group) = ground.cgroups.group(vm) {
        let mut limits = limits::limits(needs);
        if is_in_memory(&ground.folder(vm)) {
            limits.retain(|(file, _)| *file != "memory.max");
        }
        for problem in limits::apply(&group, &limits) {
            // The same for every VM of a machine; doctor says what to do.
            tracing::debug!(%vm, problem, "a limit is not set");
        }
    }
    if let Err(error) = std::fs::write(format!("/proc/{}/oom_score_adj", machine.pid), OOM_SCORE_ADJ) {
        tracing::debug!(%vm, %error, "the VM's score for the out-of-memory killer can't be set");
    }
    Ok(())
}

/// There, what the guest writes to its disk is memory of its group, and can't be given back: a limit would end the VM for using its disk.
fn is_in_memory(folder: &std::path::Path) -> bool {
    statfs(folder).is_ok_and(|answer| answer.filesystem_type() == TMPFS_MAGIC)
}
