//! Taking a snapshot of a Firecracker machine: the process writes state and memory into its room, and hearth takes them out of it. Owns what is
//! trusted of that room, which is nothing: whatever lies there under these names may be a compromised process's doing. What goes on from a
//! snapshot: `restore`.

#[cfg(test)]
mod tests;

use super::super::{
    VmmError,
    shared::{
        blocking,
        layout::{open_folder, storage_error, through},
        sparse,
    },
    snapshot::{
        DISK, MEMORY, NicNote, Note, SEED, STATE, SnapshotKind,
        making::{Awaited, Making},
    },
};
use super::api::{
    Found, Microvm, Paused,
    model::{NetworkInterface, SnapshotCreate, SnapshotType},
};
use super::{
    Firecracker, Inner,
    asking::{call_error, not_started},
    config::{Config, Port},
    door::Door,
    files,
    start::read_config,
};
use domain::{VmId, vm::Machine};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, renameat},
    libc,
    sys::stat::fstat,
    unistd::{Gid, Uid, UnlinkatFlags, fchown, getegid, geteuid, unlinkat},
};
use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
        },
    },
    path::Path,
};

/// Begins the names of what is written into the room while a snapshot is taken.
const TAKEN: &str = "taken-";

/// A snapshot that is being taken.
struct Taking {
    room: OwnedFd,
    /// In the room, for this one alone: a snapshot that was given up may still be written.
    state: String,
    memory: String,
    note: Note,
    making: Making,
}

impl Firecracker {
    /// See [`super::Vmm::snapshot`].
    pub(super) async fn take(&self, vm: VmId, machine: &Machine, into: &Path, kind: SnapshotKind) -> Result<(), VmmError> {
        let awaited = Awaited::default();
        let _waiting = awaited.waits();
        let (_door, paused) = self.standing(vm, machine).await?;
        let (inner, into, version) = (self.inner.clone(), into.to_owned(), machine.version.clone());
        let path = into.clone();
        // All that can be refused is, before as much as the guest's memory is written.
        let taking = blocking(move || Taking::begin(&inner, vm, version, &into, kind)).await?;
        let wanted = SnapshotCreate {
            snapshot_path: taking.state.clone().into(),
            mem_file_path: taking.memory.clone().into(),
            snapshot_type: match kind {
                SnapshotKind::Full => SnapshotType::Full,
                SnapshotKind::Diff => SnapshotType::Diff,
            },
        };
        let made = paused.snapshot(&wanted).await.map_err(|error| create_error(call_error(error), &path));
        let folder = self.inner.ground.folder(vm);
        blocking(move || taking.finish(made, &folder, &awaited)).await
    }

    /// Errors: it does not stand still.
    async fn standing(&self, vm: VmId, machine: &Machine) -> Result<(Door, Microvm<Paused>), VmmError> {
        match self.found(vm, machine, "snapshot").await? {
            (door, Found::Paused(paused)) => Ok((door, paused)),
            (_door, Found::NotStarted(machine)) => Err(not_started("snapshot", &machine)),
            (_door, Found::Running(_)) => Err(refused("the VM runs; only one that is paused stands still".into())),
        }
    }
}

impl Taking {
    fn begin(inner: &Inner, vm: VmId, version: String, into: &Path, kind: SnapshotKind) -> Result<Self, VmmError> {
        let config = read_config(&inner.ground.folder(vm))?;
        if kind == SnapshotKind::Diff && !config.machine.track_dirty_pages {
            return Err(refused("what its guest writes is not kept, so that there is no differential one".into()));
        }
        if !config.drives.is_empty() {
            return Err(refused("the VM has data drives, which would not be in it".into()));
        }
        if config.memory.is_some() {
            return Err(refused(
                "the VM can be given memory while it runs (mem_max_mib), which is not tried with snapshots".into(),
            ));
        }
        let path = inner.room(vm);
        let room = open_folder(&path).map_err(|source| storage_error(&path, source))?;
        // What others left that were cut off is of no use any more.
        remove_taken(&room)?;
        let making = Making::begin(into)?;
        let beside = fs::metadata(making.folder()).map_err(|source| storage_error(into, source))?.dev();
        if fstat(&room).map_err(|error| storage_error(&path, error.into()))?.st_dev != beside {
            return Err(elsewhere(into));
        }
        let number = rand::random::<u64>();
        let [state, memory] = [STATE, MEMORY].map(|name| format!("{TAKEN}{number:016x}.{name}"));
        let note = note(vm, version, &config, inner.place(vm).exists());
        Ok(Self { room, state, memory, note, making })
    }

    fn finish(self, made: Result<(), VmmError>, vm: &Path, awaited: &Awaited) -> Result<(), VmmError> {
        let filled = made.and_then(|()| self.fill(vm, awaited));
        // What was not taken out is of no use, and as large as the guest's memory. The first error is the one to tell.
        let _left = remove_taken(&self.room);
        filled.and_then(|()| self.making.publish(awaited))
    }

    /// Takes what was written out of the room, and the VM's disks beside it.
    fn fill(&self, vm: &Path, awaited: &Awaited) -> Result<(), VmmError> {
        let into = self.making.folder();
        for (taken, name) in [(&self.state, STATE), (&self.memory, MEMORY)] {
            take_out(&self.room, taken, &into.join(name))?;
        }
        for (source, name) in [(files::DISK, DISK)].into_iter().chain(self.note.has_seed.then_some((SEED, SEED))) {
            // It may take its time, for nobody.
            awaited.check()?;
            sparse::copy(&vm.join(source), &into.join(name))?;
        }
        self.note.write(into)
    }
}

/// By what its process was told, whichever hearth told it.
fn note(vm: VmId, version: String, config: &Config, is_jailed: bool) -> Note {
    Note {
        vm,
        version,
        vcpus: config.machine.vcpu_count.into(),
        mem_mib: u32::try_from(config.machine.mem_size_mib).unwrap_or(u32::MAX),
        has_nic: config.nic.is_some(),
        nics: config.nics().zip(config.ports()).map(nic).collect(),
        has_seed: config.seed.is_some(),
        has_metadata: config.metadata.is_some(),
        is_jailed,
    }
}

fn nic((nic, port): (&NetworkInterface, Option<&Port>)) -> NicNote {
    let address = port.and_then(|port| port.address);
    NicNote { tap: nic.host_dev_name.clone(), mac: nic.guest_mac.clone().unwrap_or_default(), address }
}

fn refused(detail: String) -> VmmError {
    VmmError::Refused { call: "snapshot", detail }
}

fn elsewhere(into: &Path) -> VmmError {
    refused(format!("{} is on another file system than the VM's folder: keep snapshots in the data directory", into.display()))
}

/// A full disk is told by the process in words only: its C library's.
fn create_error(error: VmmError, into: &Path) -> VmmError {
    match error {
        VmmError::Refused { detail, .. }
            if ["No space left on device", "uota exceeded"].iter().any(|full| detail.contains(full)) =>
        {
            VmmError::DiskFull { path: into.to_owned() }
        }
        other => other,
    }
}

/// What any snapshot left in the room.
fn remove_taken(room: &OwnedFd) -> Result<(), VmmError> {
    let place = through(room, ".");
    let failed = |source| storage_error(Path::new("the VM's room"), source);
    for entry in fs::read_dir(place).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if !name.as_bytes().starts_with(TAKEN.as_bytes()) {
            continue;
        }
        match unlinkat(room, name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(storage_error(Path::new(&name), error.into())),
        }
    }
    Ok(())
}

fn take_out(room: &OwnedFd, taken: &str, path: &Path) -> Result<(), VmmError> {
    match renameat(room.as_fd(), taken, AT_FDCWD, path) {
        Err(Errno::EXDEV) => return Err(elsewhere(path)),
        moved => moved.map_err(|error| storage_error(path, error.into()))?,
    }
    adopt(path)
}

/// Makes it hearth's own, and on the disk: a plain file with one name, which nobody else can open from now on. Its process may have kept it open
/// all the same, and write to it still: what it writes goes to its own VM only (see [`Note::vm`]), as all that it wrote before.
fn adopt(path: &Path) -> Result<(), VmmError> {
    let failed = |source: io::Error| storage_error(path, source);
    let file = File::options().read(true).custom_flags(libc::O_NOFOLLOW | OFlag::O_NONBLOCK.bits()).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() || metadata.nlink() != 1 {
        return Err(refused("its process wrote something that is no plain file".into()));
    }
    let (uid, gid): (Uid, Gid) = (geteuid(), getegid());
    fchown(&file, Some(uid), Some(gid)).map_err(|error| failed(error.into()))?;
    file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(failed)?;
    file.sync_all().map_err(failed)
}
