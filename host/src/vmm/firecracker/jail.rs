//! The jail of a Firecracker: its own uid, and a folder that is its whole file system. Owns which uid a VM has, what lies in the folder, and
//! the arguments of upstream's `jailer`, which makes the rest: mount namespace, `pivot_root`, device nodes, and the fall to the uid. Starts
//! nothing; the gate execs the jailer, which execs Firecracker in place, so the pid stays.
//!
//! ```text
//!  vms/<vm>/uid                             the VM's uid, which is its gid too
//!  vms/<vm>/jail/<firecracker>/<id>/root    "/" of the jailed process; <id> is hearth-<owner>-<vm>, with a hyphen for the underscore
//!       firecracker, firecracker.pid        made by the jailer: a copy of the program (so that no two VMs share its memory), and its pid
//!       dev/{kvm,net/tun,urandom,…}, run/   made by the jailer
//!       kernel, initramfs, disk, …          put there by `prepare`: other names of the same files, never copies
//! ```
//! What the jailer is deliberately not asked for, by its source (1.16, 1.17): `--daemonize` and `--new-pid-ns` fork, and the pid would not be
//! the one that hearth wrote down; the gate makes the session and the pid namespace. Without `--cgroup` and with its default
//! `--cgroup-version 1` it leaves the process in the cgroup that it is in; with version 2 it would move it to a cgroup named as the program,
//! were there one. It closes every descriptor but the standard three, empties the environment, and gives up all supplementary groups.
//!
//! A jailed process can make only plain files in its folder: Firecracker's seccomp filters know no `mkdir`, `symlink`, `link` or `mknod`.
//! Nothing here relies on that; the folder is taken as whatever a stranger might have left.

mod check;
mod clean;
mod fill;
#[cfg(test)]
mod tests;

pub use fill::File;

use super::super::{
    VmmError,
    shared::{
        dashed_mark,
        layout::{make_folder, storage_error},
        uid::{self, Uids},
    },
};
use domain::VmId;
use std::{
    io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

/// See there.
pub const DEFAULT_UIDS: RangeInclusive<u32> = uid::DEFAULT;

/// Descriptors of a jailed process. Its vsock alone may hold 1,023 connections, each with a Unix socket; the jailer's own default, given so
/// that it stays when upstream's changes. Firecracker makes its descriptor table that large at once: 16 KiB of pointers.
const NO_FILE: u32 = 2048;

/// The folder in the VM's folder. Nobody but root may enter it; the jailed process is in it from the start.
const FOLDER: &str = "jail";

/// What is common to all jails of this hearth, as it is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder of the VMs' folders; made if it is not there.
    pub vms: PathBuf,
    pub firecracker: PathBuf,
    /// Which hearth this is; stands in the process's arguments, by which a sweep knows its own.
    pub owner: String,
    /// Of the same release.
    pub jailer: PathBuf,
    pub uids: RangeInclusive<u32>,
}

/// What is common to all jails of this hearth, found and checked.
#[derive(Debug)]
pub struct Jails {
    vms: PathBuf,
    owner: String,
    /// The path behind every link, as the jailer sees it; its last part names a folder of the jail.
    firecracker: PathBuf,
    jailer: PathBuf,
    uids: Uids,
}

/// Where a VM's jail is, whether it exists or not. All that cleaning needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    base: PathBuf,
    program: String,
    id: String,
}

/// The jail of one VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jail {
    place: Place,
    firecracker: PathBuf,
    jailer: PathBuf,
    uid: u32,
}

impl Jails {
    /// Finds the jailer and checks that jails can be made here.
    ///
    /// Errors: no root, no jailer, one of another release, a range of uids with anyone else in it, a data directory on a file system without
    /// device nodes or programs. Each names the remedy. Cancel: nothing is left but the folder of the VMs.
    pub fn open(options: Options) -> Result<Self, VmmError> {
        check::root()?;
        let firecracker = options.firecracker.canonicalize().map_err(|source| refused(&options.firecracker, &source))?;
        let jailer = options.jailer.canonicalize().map_err(|source| refused(&options.jailer, &source))?;
        make_folder(&options.vms)?;
        let vms = options.vms.canonicalize().map_err(|source| storage_error(&options.vms, source))?;
        let uids = Uids::open(vms.clone(), options.uids)?;
        check::file_system(&vms)?;
        for path in [&vms, &firecracker, &jailer] {
            check::text(path)?;
        }
        Ok(Self { vms, owner: options.owner, firecracker, jailer, uids })
    }

    /// The resolved program that the gate starts.
    pub fn jailer(&self) -> &Path {
        &self.jailer
    }

    pub fn place(&self, vm: VmId) -> Place {
        Place::of(&self.vms, &self.firecracker, &self.owner, vm)
    }

    /// The VM's jail with its uid, which is allotted at the first call and kept in the VM's folder until that is removed. Blocks: reads one
    /// small file of every VM, so that no two share a uid even if somebody copied a folder.
    ///
    /// Errors: the VM has no folder, or there is no uid left.
    pub fn jail(&self, vm: VmId) -> Result<Jail, VmmError> {
        let uid = self.uids.of(vm)?;
        Ok(Jail { place: self.place(vm), firecracker: self.firecracker.clone(), jailer: self.jailer.clone(), uid })
    }
}

impl Place {
    /// Where a jail would be, also for a hearth that makes none: an earlier start of it may have.
    pub fn of(vms: &Path, firecracker: &Path, owner: &str, vm: VmId) -> Self {
        let program = firecracker.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self { base: vms.join(vm.to_string()).join(FOLDER), program, id: dashed_mark(owner, vm) }
    }

    /// Whether there is one.
    pub fn exists(&self) -> bool {
        self.base.exists()
    }

    /// The uid that was allotted to the VM, if it can be read. Reads one small file.
    pub fn uid(&self) -> Option<u32> {
        uid::allotted(self.base.parent()?)
    }

    /// What the jailed process calls `/`, as hearth sees it. An upgrade of Firecracker may have given the program another name since a
    /// process was started that still runs: its folder goes before one that is not there.
    pub fn root(&self) -> PathBuf {
        let root = |program: &Path| program.join(&self.id).join("root");
        let newest = root(&self.base.join(&self.program));
        if newest.exists() {
            return newest;
        }
        let others = std::fs::read_dir(&self.base).into_iter().flatten().flatten();
        others.map(|entry| root(&entry.path())).find(|path| path.exists()).unwrap_or(newest)
    }

    /// Removes the jail with all that is in it; absent is no error. The process must be gone. The disk stays: its name in the VM's folder is
    /// not in the jail. So does the uid. Blocks.
    ///
    /// Errors: something is mounted in it, or the file system refuses. What was not removed is removed by the next call.
    pub fn clean(&self) -> Result<(), VmmError> {
        clean::remove(&self.base)
    }
}

impl Jail {
    /// The uid of the jailed process, and its only gid.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    pub fn jailer(&self) -> &Path {
        &self.jailer
    }

    /// See [`Place::root`].
    pub fn root(&self) -> PathBuf {
        self.place.root()
    }

    /// The name of the VM in Firecracker's own messages: letters, digits and hyphens, which is all that the jailer takes.
    pub fn id(&self) -> &str {
        &self.place.id
    }

    /// See [`Place::clean`].
    pub fn clean(&self) -> Result<(), VmmError> {
        self.place.clean()
    }

    /// Makes the jail's root anew, with these files in it and nothing else, and gives its path. What an earlier launch left is removed
    /// first; its process must be gone. Blocks.
    ///
    /// Errors: a file is on another file system than the data directory, or can't be read; a name that is not one plain name or that the
    /// jailer takes for itself. Nothing is left then.
    pub fn prepare(&self, files: &[File]) -> Result<PathBuf, VmmError> {
        self.clean()?;
        let root = self.place.base.join(&self.place.program).join(&self.place.id).join("root");
        fill::fill(&root, files, self.uid, &self.place.program).inspect_err(|_| {
            // The first error is the one to tell; the next `prepare` or `clean` removes what this one can't.
            let _left = self.clean();
        })?;
        Ok(root)
    }

    /// The jailer's arguments without the program's own name, and behind them Firecracker's. The jailer gives Firecracker `--id` itself.
    ///
    /// No limit of a file's size: a disk and a snapshot of the guest's memory are as large as they are, and one file's bound would not keep
    /// a hostile process from making many.
    pub fn arguments<'a>(&self, firecracker: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let uid = self.uid.to_string();
        let (program, base) = (self.firecracker.to_string_lossy(), self.place.base.to_string_lossy());
        let limit = format!("no-file={NO_FILE}");
        let own = ["--id", &self.place.id, "--exec-file", &program, "--uid", &uid, "--gid", &uid];
        let rest = ["--chroot-base-dir", &base, "--resource-limit", &limit, "--"];
        own.iter().chain(&rest).map(ToString::to_string).chain(firecracker.into_iter().map(str::to_owned)).collect()
    }
}

/// Why nothing can be started, in one sentence with the remedy.
fn unable(detail: impl Into<String>) -> VmmError {
    VmmError::Spawn { detail: detail.into() }
}

fn refused(program: &Path, source: &io::Error) -> VmmError {
    unable(format!("{} can't be used ({source}): give the path of Firecracker with --firecracker", program.display()))
}
