//! What a run leaves, and its removal without any record but what is on the machine itself: the folder's note, the cgroup, and the mark
//! in a process's arguments.

use super::super::{Vmm, VmmError};
use super::layout::{self, NOTE};
use super::process::{self, Ended};
use super::{Ground, blocking, of_mark, run::Nature};
use domain::{
    VmId,
    vm::{Exit, Machine},
};
use nix::sys::signal::Signal;
use std::{fs, io, path::Path, sync::Arc, time::Duration};

/// Ends the names of files in the making.
const PARTIAL: &str = "partial";
/// After SIGKILL, or after the gate's owner died: the kernel's own work.
const END_DEADLINE: Duration = Duration::from_secs(10);

/// `None`: there is none, or half of one. Errors: it can't be read, and may name a process that runs.
fn note(folder: &Path) -> Result<Option<Machine>, VmmError> {
    let path = folder.join(NOTE);
    match fs::read(&path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(layout::storage_error(&path, error)),
    }
}

/// Leaves the note by which [`clean`] finds the process.
pub fn write_note(folder: &Path, machine: &Machine) -> Result<(), VmmError> {
    let note = folder.join(NOTE);
    let text = serde_json::to_vec(machine).map_err(|error| VmmError::Spawn { detail: error.to_string() })?;
    fs::write(&note, text).map_err(|source| layout::storage_error(&note, source))
}

/// How a machine ended that is not there any more, by what it left in its folder.
pub async fn told_exit(ground: &Ground, nature: Nature, vm: VmId, machine: &Machine) -> Result<Exit, VmmError> {
    // A process that an earlier hearth held is ending by itself: wait for it, so that "gone" is true.
    if let Some(pidfd) = process::find(machine)?
        && !process::gone_within(&pidfd, END_DEADLINE).await?
    {
        return Err(VmmError::Timeout { call: "end", after_ms: END_DEADLINE.as_millis() as u64 });
    }
    let folder = ground.folder(vm);
    // The log of another launch says nothing about this one. Without a word in the log nobody knows: nobody watched.
    match note(&folder)?.filter(|noted| noted == machine).map(|_| (nature.explain)(&folder, Ended::Code(0))) {
        Some(exit) => exit,
        None => Ok(Exit::Unknown),
    }
}

pub fn failed(what: impl ToString) -> impl FnOnce(io::Error) -> VmmError {
    move |error| VmmError::Clean { what: what.to_string(), detail: error.to_string() }
}

/// Ends the noted process, if it is there.
async fn end(machine: &Machine) -> Result<(), VmmError> {
    process::reap_zombie(machine);
    let Some(pidfd) = process::find(machine)? else { return Ok(()) };
    process::signal(&pidfd, Signal::SIGKILL).map_err(failed(format!("process {}", machine.pid)))?;
    if process::gone_within(&pidfd, END_DEADLINE).await? {
        // Only a child of ours has a status to take; anyone else's is its parent's.
        let _status = process::reap(&pidfd);
        return Ok(());
    }
    Err(VmmError::Timeout { call: "kill", after_ms: END_DEADLINE.as_millis() as u64 })
}

/// Processes, cgroup, these files of the VM's folder, and those in it that were being made when something crashed. All else in it stays.
pub async fn clean(ground: &Ground, vm: VmId, files: &[&str]) -> Result<(), VmmError> {
    let folder = ground.folder(vm);
    if let Some(machine) = note(&folder)? {
        end(&machine).await?;
    }
    ground.cgroups.remove(vm).await.map_err(failed(format!("the cgroup of {vm}")))?;
    for name in files {
        let path = folder.join(name);
        layout::remove_file(&path).map_err(failed(path.display()))?;
    }
    blocking(move || remove_partials(&folder)).await
}

/// A file gets its own name only when all of it is there. One that is made at this moment fails by it, and does no harm: nobody who prepares a
/// disk has it cleaned up as well.
fn remove_partials(folder: &Path) -> Result<(), VmmError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed(folder.display()))?,
    };
    for entry in entries {
        let path = entry.map_err(failed(folder.display()))?.path();
        if path.extension().is_some_and(|extension| extension == PARTIAL)
            && path.symlink_metadata().is_ok_and(|found| found.is_file())
        {
            layout::remove_file(&path).map_err(failed(path.display()))?;
        }
    }
    Ok(())
}

pub async fn remove_folder(ground: &Ground, vm: VmId) -> Result<(), VmmError> {
    let folder = ground.folder(vm);
    blocking(move || match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(folder.display())(error)),
        _ => Ok(()),
    })
    .await
}

/// See [`Vmm::sweep`]; `vmm` removes the folders.
pub async fn sweep(vmm: &dyn Vmm, ground: &Arc<Ground>, known: &[VmId]) -> Result<Vec<String>, VmmError> {
    let mut removed = sweep_processes(ground, known).await?;
    for vm in unknown_folders(ground, known).await? {
        vmm.remove(vm).await?;
        removed.push(format!("folder of {vm}"));
    }
    removed.extend(sweep_cgroups(ground, known).await?);
    Ok(removed)
}

/// Ends processes of this owner's whose VM is not in `known`; says what was ended.
async fn sweep_processes(ground: &Ground, known: &[VmId]) -> Result<Vec<String>, VmmError> {
    let mut removed = Vec::new();
    for (pid, vm) in marked_processes(&ground.owner) {
        if !known.contains(&vm) && end_marked(pid).await? {
            removed.push(format!("process {pid} of {vm}"));
        }
    }
    Ok(removed)
}

/// The VMs that have a folder and are not in `known`.
async fn unknown_folders(ground: &Arc<Ground>, known: &[VmId]) -> Result<Vec<VmId>, VmmError> {
    let ours = Arc::clone(ground);
    let folders = blocking(move || ours.layout.present().map_err(failed(ours.layout.vms().display()))).await?;
    Ok(folders.into_iter().filter(|vm| !known.contains(vm)).collect())
}

/// Removes cgroups of this owner's whose VM is not in `known`, and the owner's own when it is empty; says what was removed.
async fn sweep_cgroups(ground: &Ground, known: &[VmId]) -> Result<Vec<String>, VmmError> {
    let mut removed = Vec::new();
    for vm in ground.cgroups.present().into_iter().filter(|vm| !known.contains(vm)) {
        ground.cgroups.remove(vm).await.map_err(failed(format!("the cgroup of {vm}")))?;
        removed.push(format!("cgroup of {vm}"));
    }
    // One in which VMs run is not empty.
    let _in_use = ground.cgroups.remove_root();
    Ok(removed)
}

/// Processes that say in their arguments that they are this owner's.
fn marked_processes(owner: &str) -> Vec<(u32, VmId)> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let of_process = |pid| {
        let arguments = process::arguments(pid);
        // The mark is its name or id, never merely a word of another program's.
        let named = arguments.windows(2).find(|pair| matches!(pair[0].as_str(), "-name" | "--id"))?;
        Some((pid, of_mark(owner, &named[1])?))
    };
    pids.filter_map(of_process).collect()
}

async fn end_marked(pid: u32) -> Result<bool, VmmError> {
    let Ok(pidfd) = process::open_pidfd(pid) else { return Ok(false) };
    process::signal(&pidfd, Signal::SIGKILL).map_err(failed(format!("process {pid}")))?;
    let gone = process::gone_within(&pidfd, END_DEADLINE).await?;
    let _status = process::reap(&pidfd);
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::super::{dashed_mark, mark};
    use super::*;

    #[test]
    fn what_was_in_the_making_goes_and_all_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["disk.raw", "disk.0123456789abcdef.partial", "seed.partial", "uid", "partial"] {
            fs::write(folder.path().join(name), b"x").unwrap();
        }
        remove_partials(folder.path()).unwrap();
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, ["disk.raw", "partial", "uid"]);
        remove_partials(&folder.path().join("absent")).unwrap();
    }

    #[test]
    fn a_mark_is_read_in_both_spellings_and_only_its_owners() {
        let vm = VmId::from_bits(77);
        for text in [mark("0a1b2c3d", vm), dashed_mark("0a1b2c3d", vm)] {
            assert_eq!(of_mark("0a1b2c3d", &text), Some(vm), "{text}");
            assert_eq!(of_mark("0a1b2c3e", &text), None);
            assert_eq!(of_mark("0a1b2c3d", &format!("{text}0")), None);
        }
        assert!(!dashed_mark("0a1b2c3d", vm).contains('_') && dashed_mark("0a1b2c3d", vm).len() <= 64);
    }
}
