//! Snapshots of a Firecracker machine: the process writes state and memory into its room, and hearth takes them out of it. Owns what is trusted
//! of that room, which is nothing: whatever lies there under these names may be a compromised process's doing.

use super::super::{
    VmmError,
    shared::{
        blocking,
        layout::{open_folder, storage_error},
        sparse,
    },
    snapshot::{self, DISK, MEMORY, STATE, SnapshotKind},
};
use super::api::{
    Found, Microvm, Paused, Socket,
    model::{Backend, MemoryBackend, SnapshotCreate, SnapshotLoad, SnapshotType},
};
use super::{
    Firecracker,
    asking::{call_error, not_started},
    files,
};
use domain::{VmId, vm::Machine};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, renameat},
    libc,
    unistd::{Gid, Uid, fchown, getegid, geteuid},
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

/// In the room, while a snapshot is taken.
const TAKEN_STATE: &str = "taken.state";
const TAKEN_MEMORY: &str = "taken.memory";

/// What a restored machine goes on from, by its process's own view of the file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub state: PathBuf,
    pub memory: PathBuf,
}

impl Origin {
    /// The machine as it stood, still standing.
    pub async fn load(&self, socket: Socket, track_dirty_pages: bool) -> Result<Microvm<Paused>, VmmError> {
        let snapshot = SnapshotLoad {
            snapshot_path: self.state.clone(),
            mem_backend: MemoryBackend { backend_type: Backend::File, backend_path: self.memory.clone() },
            track_dirty_pages,
            network_overrides: Vec::new(),
            vsock_override: None,
            // The agent sets the guest's clock when it says hello.
            clock_realtime: false,
        };
        Microvm::fresh(socket).load(&snapshot).await.map_err(call_error)
    }
}

/// The root disk as the snapshot has it, in place of the VM's own. Blocks.
pub fn put_back_disk(from: &Path, disk: &Path) -> Result<(), VmmError> {
    let partial = disk.with_extension(format!("{:016x}.partial", rand::random::<u64>()));
    let failed = |source| storage_error(disk, source);
    let put = sparse::copy(&from.join(DISK), &partial)
        .and_then(|()| fs::rename(&partial, disk).map_err(failed))
        .and_then(|()| disk.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all()).map_err(failed));
    put.inspect_err(|_| {
        let _partial = fs::remove_file(&partial);
    })
}

impl Firecracker {
    /// See [`super::Vmm::snapshot`].
    pub(super) async fn take(&self, vm: VmId, machine: &Machine, into: &Path, kind: SnapshotKind) -> Result<(), VmmError> {
        let (_door, found) = self.found(vm, machine, "snapshot").await?;
        let paused = match found {
            Found::Paused(paused) => paused,
            Found::NotStarted(machine) => return Err(not_started("snapshot", &machine)),
            Found::Running(_) => {
                return Err(VmmError::Refused {
                    call: "snapshot",
                    detail: "the VM runs; only one that is paused stands still".into(),
                });
            }
        };
        let room = open_folder(&self.inner.room(vm)).map_err(|source| storage_error(&self.inner.room(vm), source))?;
        let snapshot = SnapshotCreate {
            snapshot_path: TAKEN_STATE.into(),
            mem_file_path: TAKEN_MEMORY.into(),
            snapshot_type: match kind {
                SnapshotKind::Full => SnapshotType::Full,
                SnapshotKind::Diff => SnapshotType::Diff,
            },
        };
        // Of one that was cut off. A full snapshot would be written over it and keep its length, a differential one its data.
        let room = blocking(move || remove_taken(&room).map(|()| room)).await?;
        let made = paused.snapshot(&snapshot).await.map_err(call_error);
        let (disk, into) = (self.inner.ground.layout.file(vm, files::DISK), into.to_owned());
        blocking(move || {
            let taken = made.and_then(|()| take_out(&room, &disk, &into));
            // What was not taken out is of no use, and as large as the guest's memory.
            remove_taken(&room).and(taken)
        })
        .await
    }
}

fn remove_taken(room: &OwnedFd) -> Result<(), VmmError> {
    for name in [TAKEN_STATE, TAKEN_MEMORY] {
        match nix::unistd::unlinkat(room, name, nix::unistd::UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(storage_error(Path::new(name), error.into())),
        }
    }
    Ok(())
}

fn take_out(room: &OwnedFd, disk: &Path, into: &Path) -> Result<(), VmmError> {
    snapshot::whole(into, |partial| {
        for (taken, name) in [(TAKEN_STATE, STATE), (TAKEN_MEMORY, MEMORY)] {
            let path = partial.join(name);
            match renameat(room.as_fd(), taken, AT_FDCWD, &path) {
                Err(Errno::EXDEV) => return Err(elsewhere(into)),
                moved => moved.map_err(|error| storage_error(&path, error.into()))?,
            }
            adopt(&path)?;
        }
        sparse::copy(disk, &partial.join(DISK))
    })
}

fn elsewhere(into: &Path) -> VmmError {
    let detail =
        format!("{} is on another file system than the VM's folder: keep snapshots in the data directory", into.display());
    VmmError::Refused { call: "snapshot", detail }
}

/// Makes it hearth's own: a plain file with one name, which nobody else can open from now on.
fn adopt(path: &Path) -> Result<(), VmmError> {
    let failed = |source: io::Error| storage_error(path, source);
    let file = File::options().read(true).custom_flags(libc::O_NOFOLLOW | OFlag::O_NONBLOCK.bits()).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() || metadata.nlink() != 1 {
        return Err(VmmError::Refused { call: "snapshot", detail: "its process wrote something that is no plain file".into() });
    }
    let (uid, gid): (Uid, Gid) = (geteuid(), getegid());
    fchown(&file, Some(uid), Some(gid)).map_err(|error| failed(error.into()))?;
    file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(failed)?;
    file.sync_all().map_err(failed)
}

/// Where a restored machine's files are in a jail.
pub fn in_jail() -> Origin {
    Origin { state: files::ROOM_STATE.into(), memory: files::ROOM_MEMORY.into() }
}

/// And for a process without one.
pub fn in_place(from: &Path) -> Origin {
    Origin { state: from.join(STATE), memory: from.join(MEMORY) }
}

/// Errors: it is not there, or not whole.
pub fn check(from: &Path) -> Result<(), VmmError> {
    for name in [STATE, MEMORY, DISK] {
        let path = from.join(name);
        fs::metadata(&path).map_err(|source| storage_error(&path, source))?;
    }
    Ok(())
}
