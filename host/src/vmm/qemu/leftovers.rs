//! What a run leaves, and its removal without any record but what is on the machine itself: the folder's note, the cgroup, and the mark
//! in a process's arguments.

use super::super::{Vmm, VmmError};
use super::layout::{self, NOTE, SOCKETS};
use super::process::{self, Ended};
use super::{Inner, Qemu, blocking, command, run};
use domain::{
    VmId,
    vm::{Exit, Machine},
};
use nix::sys::signal::Signal;
use std::{fs, io, path::Path, sync::Arc, time::Duration};

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

/// How a machine ended that is not there any more, by what it left in its folder.
pub async fn told_exit(inner: &Inner, vm: VmId, machine: &Machine) -> Result<Exit, VmmError> {
    // A process that an earlier hearth held is ending by itself: wait for it, so that "gone" is true.
    if let Some(pidfd) = process::find(machine)?
        && !process::gone_within(&pidfd, END_DEADLINE).await?
    {
        return Err(VmmError::Timeout { call: "end", after_ms: END_DEADLINE.as_millis() as u64 });
    }
    let folder = inner.layout.vm(vm);
    // The log of another launch says nothing about this one. Without a word in the log nobody knows: nobody watched.
    match note(&folder)?.filter(|noted| noted == machine).map(|_| run::explain(&folder, Ended::Code(0))) {
        Some(exit) => exit,
        None => Ok(Exit::Unknown),
    }
}

fn failed(what: impl ToString) -> impl FnOnce(io::Error) -> VmmError {
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

/// Processes, cgroup and sockets. The disk and the logs stay.
pub async fn clean(inner: &Arc<Inner>, vm: VmId) -> Result<(), VmmError> {
    let folder = inner.layout.vm(vm);
    if let Some(machine) = note(&folder)? {
        end(&machine).await?;
    }
    inner.cgroups.remove(vm).await.map_err(failed(format!("the cgroup of {vm}")))?;
    for name in SOCKETS {
        let path = folder.join(name);
        layout::remove_file(&path).map_err(failed(path.display()))?;
    }
    Ok(())
}

pub async fn remove_folder(inner: &Arc<Inner>, vm: VmId) -> Result<(), VmmError> {
    let folder = inner.layout.vm(vm);
    blocking(move || match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(folder.display())(error)),
        _ => Ok(()),
    })
    .await
}

/// See [`Vmm::sweep`].
pub async fn sweep(driver: &Qemu, known: &[VmId]) -> Result<Vec<String>, VmmError> {
    let mut removed = Vec::new();
    for (pid, vm) in marked_processes(&driver.inner.owner) {
        if !known.contains(&vm) && end_marked(pid).await? {
            removed.push(format!("process {pid} of {vm}"));
        }
    }
    let inner = Arc::clone(&driver.inner);
    let folders = blocking(move || inner.layout.present().map_err(failed(inner.layout.vms().display()))).await?;
    for vm in folders.into_iter().filter(|vm| !known.contains(vm)) {
        driver.remove(vm).await?;
        removed.push(format!("folder of {vm}"));
    }
    for vm in driver.inner.cgroups.present().into_iter().filter(|vm| !known.contains(vm)) {
        driver.inner.cgroups.remove(vm).await.map_err(failed(format!("the cgroup of {vm}")))?;
        removed.push(format!("cgroup of {vm}"));
    }
    // One in which VMs run is not empty.
    let _in_use = driver.inner.cgroups.remove_root();
    Ok(removed)
}

/// QEMU processes that say in their arguments that they are this owner's.
fn marked_processes(owner: &str) -> Vec<(u32, VmId)> {
    let of_vm = |argument: &String| {
        let vm: VmId = argument.rsplit('-').next()?.parse().ok()?;
        (*argument == command::mark(owner, vm)).then_some(vm)
    };
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| {
        let arguments = process::arguments(pid);
        let name = arguments.iter().position(|argument| argument == "-name")?;
        Some((pid, of_vm(arguments.get(name + 1)?)?))
    })
    .collect()
}

async fn end_marked(pid: u32) -> Result<bool, VmmError> {
    let Ok(pidfd) = process::open_pidfd(pid) else { return Ok(false) };
    process::signal(&pidfd, Signal::SIGKILL).map_err(failed(format!("process {pid}")))?;
    let gone = process::gone_within(&pidfd, END_DEADLINE).await?;
    let _status = process::reap(&pidfd);
    Ok(gone)
}
