//! What a machine goes on from: a snapshot that is this VM's and whole, and its disk, which takes the place of the VM's own only once the machine
//! was loaded. Until then a failure, of hearth too, leaves the VM with the disk that it had.
//!
//! ```text
//!  launch: disk.restored, a copy of the snapshot's, is what the jail has as its disk; disk.raw is the VM's own
//!  release: loaded --> disk.restored becomes disk.raw, on the disk --> the vCPUs run
//! ```

use super::super::{
    MachinePlan, VmmError,
    shared::{
        layout::{remove_file, storage_error},
        sparse,
    },
    snapshot::{DISK, MEMORY, Note, SEED, STATE},
};
use super::api::{
    Microvm, Paused, Socket,
    model::{Backend, MemoryBackend, SnapshotLoad},
};
use super::{asking::call_error, files};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// What a restored machine goes on from, by its process's own view of the file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub state: PathBuf,
    pub memory: PathBuf,
}

impl Origin {
    /// Where these files are in a jail.
    pub fn in_jail() -> Self {
        Self { state: files::ROOM_STATE.into(), memory: files::ROOM_MEMORY.into() }
    }

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

/// A snapshot that was found whole and this VM's.
#[derive(Debug, Clone)]
pub struct Source {
    pub folder: PathBuf,
    pub has_seed: bool,
    pub has_metadata: bool,
}

impl Source {
    pub fn seed(&self) -> Option<PathBuf> {
        self.has_seed.then(|| self.folder.join(SEED))
    }
}

/// Looks at the snapshot, and gives the plan as it is for a machine that goes on from it: without the devices that it has not. Changes nothing.
/// Blocks.
///
/// Errors: it is not there, or not whole; another VM's; of a machine without a jail, of another size, or with an interface where the VM has none now.
pub fn open(from: &Path, plan: &MachinePlan) -> Result<(Source, MachinePlan), VmmError> {
    for name in [STATE, MEMORY, DISK] {
        there(&from.join(name))?;
    }
    let note = Note::read(from)?;
    let refused = |detail| Err(VmmError::Refused { call: "restore", detail });
    if note.vm != plan.vm {
        return refused(format!("the snapshot is one of {}, not of {}", note.vm, plan.vm));
    }
    if !note.is_jailed {
        return refused("its machine had no jail, where its files have other names".into());
    }
    if (note.vcpus, note.mem_mib) != (plan.vcpus, plan.mem_mib) {
        // What the VM may use, and what is counted as used, follow from the plan.
        let (has, wanted) = ((note.vcpus, note.mem_mib), (plan.vcpus, plan.mem_mib));
        return refused(format!("its machine has {} vCPUs and {} MiB, and the VM {} and {}", has.0, has.1, wanted.0, wanted.1));
    }
    if note.has_nic && plan.nics.is_empty() {
        return refused("its machine has a network interface, and the VM has no network now".into());
    }
    // What the state says of them can't be changed. One that the VM got since is not there until its next start.
    let has = if note.nics.is_empty() { usize::from(note.has_nic) } else { note.nics.len() };
    if plan.nics.len() < has || !note.nics.iter().zip(&plan.nics).all(|(noted, now)| noted.is(now)) {
        return refused("its machine has other network interfaces than the VM has now".into());
    }
    if !plan.disk.drives.is_empty() {
        return refused("the VM has data drives, which are of another moment than the snapshot: remove them first".into());
    }
    if plan.mem_max_mib.is_some() {
        return refused(
            "the VM can be given memory while it runs (mem_max_mib), and the snapshot's machine can't: take it off first".into(),
        );
    }
    let source = Source { folder: from.to_owned(), has_seed: note.has_seed, has_metadata: note.has_metadata };
    source.seed().as_deref().map_or(Ok(()), there)?;
    let mut plan = plan.clone();
    plan.nics.truncate(has);
    Ok((source, plan))
}

fn there(path: &Path) -> Result<(), VmmError> {
    fs::metadata(path).map(drop).map_err(|source| storage_error(path, source))
}

/// Puts a copy of the snapshot's disk beside the VM's own. Blocks.
pub fn stage(source: &Source, folder: &Path) -> Result<(), VmmError> {
    unstage(folder)?;
    sparse::copy(&source.folder.join(DISK), &folder.join(files::RESTORED_DISK))
}

/// Whether a machine was to go on and is not known to have. Blocks.
pub fn is_staged(folder: &Path) -> bool {
    folder.join(files::RESTORED_DISK).exists()
}

/// Of a machine that was not loaded, or not seen to be. Blocks.
pub fn unstage(folder: &Path) -> Result<(), VmmError> {
    let path = folder.join(files::RESTORED_DISK);
    remove_file(&path).map_err(|source| storage_error(&path, source))
}

/// Of a machine that was loaded and stands: its disk is the VM's from now on. What is so already stays. Blocks.
pub fn settle(folder: &Path) -> Result<(), VmmError> {
    let (staged, disk) = (folder.join(files::RESTORED_DISK), folder.join(files::DISK));
    match fs::rename(&staged, &disk) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed.and_then(|()| File::open(folder)?.sync_all()),
    }
    .map_err(|source| storage_error(&disk, source))
}

#[cfg(test)]
mod tests {
    use super::super::super::{
        NicPlan, mac_text, sample,
        snapshot::{NOTE, NicNote},
    };
    use super::*;
    use domain::{
        VmId,
        vm::{DriveChange, Drives},
    };

    fn note() -> Note {
        let MachinePlan { vm, vcpus, mem_mib, .. } = sample::plan();
        let version = "1.16.1".into();
        Note {
            vm,
            version,
            vcpus,
            mem_mib,
            has_nic: true,
            nics: Vec::new(),
            has_seed: true,
            has_metadata: false,
            is_jailed: true,
        }
    }

    fn snapshot(note: &Note) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in [STATE, MEMORY, DISK, SEED] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        note.write(folder.path()).unwrap();
        folder
    }

    fn plan() -> MachinePlan {
        MachinePlan { nics: vec![sample::nic()], metadata: Some("{}".into()), ..sample::plan() }
    }

    #[test]
    fn the_devices_are_the_snapshots() {
        let from = snapshot(&note());
        let (source, taken) = open(from.path(), &plan()).unwrap();
        assert_eq!(source.seed(), Some(from.path().join(SEED)));
        assert!(!taken.nics.is_empty() && !source.has_metadata, "it has no metadata service");
        let bare = snapshot(&Note { has_nic: false, has_seed: false, has_metadata: true, ..note() });
        let (source, taken) = open(bare.path(), &plan()).unwrap();
        assert!(source.seed().is_none() && taken.nics.is_empty() && source.has_metadata);
    }

    #[test]
    fn the_interfaces_are_those_that_the_state_names() {
        let two = MachinePlan { nics: sample::nics(2), ..plan() };
        let noted = |nic: &NicPlan| NicNote { tap: nic.tap.clone(), mac: mac_text(nic.mac), address: Some(nic.address) };
        let nics: Vec<NicNote> = two.nics.iter().map(noted).collect();
        let from = snapshot(&Note { nics: nics.clone(), ..note() });
        assert_eq!(open(from.path(), &two).unwrap().1.nics.len(), 2);
        let more = MachinePlan { nics: sample::nics(3), ..plan() };
        assert_eq!(open(from.path(), &more).unwrap().1.nics.len(), 2, "one that the VM got since is not there");
        let told = |plan: &MachinePlan| open(from.path(), plan).unwrap_err().to_string();
        assert!(told(&plan()).contains("other network interfaces"));
        let mut changed = two.clone();
        changed.nics[1].mac[5] ^= 1;
        assert!(told(&changed).contains("other network interfaces"));
        changed = two.clone();
        changed.nics.reverse();
        assert!(told(&changed).contains("other network interfaces"));
        // Of the same MAC, as a user may choose it again, and in the same place.
        changed = two.clone();
        changed.nics[1].address = [10, 77, 0, 99].into();
        assert!(told(&changed).contains("other network interfaces"));
        let unknown =
            snapshot(&Note { nics: nics.iter().cloned().map(|nic| NicNote { address: None, ..nic }).collect(), ..note() });
        assert_eq!(open(unknown.path(), &changed).unwrap().1.nics.len(), 2, "an earlier hearth did not note it");
        // One that an earlier hearth took has the first.
        let mut older = serde_json::to_value(note()).unwrap();
        older.as_object_mut().unwrap().remove("nics");
        fs::write(from.path().join(NOTE), older.to_string()).unwrap();
        assert_eq!(open(from.path(), &two).unwrap().1.nics.len(), 1);
    }

    #[test]
    fn what_does_not_fit_or_is_not_whole_is_refused() {
        let from = snapshot(&note());
        let told = |plan: &MachinePlan| open(from.path(), plan).unwrap_err().to_string();
        assert!(told(&MachinePlan { nics: Vec::new(), ..plan() }).contains("has a network interface"));
        let other = MachinePlan { vm: VmId::from_bits(8), ..plan() };
        assert!(told(&other).contains("is one of vm_00000000000000000000000007, not of vm_00000000000000000000000008"));
        assert!(told(&MachinePlan { mem_mib: 512, ..plan() }).contains("has 1 vCPUs and 256 MiB, and the VM 1 and 512"));
        let drive = DriveChange { name: "data".parse().unwrap(), size_mib: Some(1), read_only: None };
        let mut with_a_drive = plan();
        with_a_drive.disk.drives = Drives::new(&[drive]);
        assert!(told(&with_a_drive).contains("has data drives"));
        let bare = snapshot(&Note { is_jailed: false, ..note() });
        assert!(open(bare.path(), &plan()).unwrap_err().to_string().contains("had no jail"));
        for name in [SEED, DISK, NOTE] {
            fs::remove_file(from.path().join(name)).unwrap();
            assert!(matches!(open(from.path(), &plan()), Err(VmmError::Folder { path, .. }) if path.ends_with(name)));
            fs::write(from.path().join(name), b"{}").unwrap();
        }
        assert!(matches!(open(from.path(), &plan()), Err(VmmError::Folder { .. })), "a note that says nothing");
    }

    #[test]
    fn the_vms_own_disk_stays_until_the_other_is_settled() {
        let (from, vm) = (snapshot(&note()), tempfile::tempdir().unwrap());
        let (source, _plan) = open(from.path(), &plan()).unwrap();
        let disk = vm.path().join(files::DISK);
        fs::write(&disk, b"own").unwrap();
        for _ in 0..2 {
            stage(&source, vm.path()).unwrap();
            assert_eq!(fs::read(&disk).unwrap(), b"own");
            assert!(is_staged(vm.path()));
        }
        unstage(vm.path()).unwrap();
        assert!(!is_staged(vm.path()));
        settle(vm.path()).unwrap();
        assert_eq!(fs::read(&disk).unwrap(), b"own", "nothing was loaded");
        stage(&source, vm.path()).unwrap();
        for _ in 0..2 {
            settle(vm.path()).unwrap();
            assert_eq!(fs::read(&disk).unwrap(), DISK.as_bytes());
        }
        assert_eq!(fs::read_dir(vm.path()).unwrap().count(), 1);
    }
}
