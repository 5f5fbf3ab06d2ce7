//! Snapshots of a machine as drivers make them: one folder with the machine's state, its memory and its disks, all of one moment, and a note that
//! says whose they are. Owns the files' names, the note, and the laying of a differential snapshot upon an earlier one; who takes and keeps
//! them is above the drivers.

pub(super) mod making;

pub use making::sweep;

use super::{NicPlan, VmmError, mac_text, shared::sparse, storage_error};
use domain::VmId;
use making::{Awaited, Making};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::Write,
    net::Ipv4Addr,
    path::Path,
};

/// Registers, devices, what the VMM itself knows.
pub const STATE: &str = "state";
/// The guest's memory; of a differential snapshot what changed of it, the rest are holes.
pub const MEMORY: &str = "memory";
/// The root disk, whole either way.
pub const DISK: &str = "disk.raw";
/// The drive that cloud-init in the guest reads, where the machine has one.
pub const SEED: &str = "seed.iso";
/// See [`Note`].
pub const NOTE: &str = "machine.json";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotKind {
    Full,
    /// Of the memory only what may have changed since the machine's last snapshot, or since it was restored.
    Diff,
}

/// What a snapshot says of its machine, in the file [`NOTE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The only VM that it may be restored to.
    #[serde(with = "text")]
    pub vm: VmId,
    /// The VMM's that wrote it.
    pub version: String,
    pub vcpus: u32,
    pub mem_mib: u32,
    pub has_nic: bool,
    /// In the guest's order. Empty where an earlier hearth took it, which knew one: `has_nic`.
    #[serde(default)]
    pub nics: Vec<NicNote>,
    pub has_seed: bool,
    pub has_metadata: bool,
    /// Whether its process found its files by the names that they have in a jail: the machine's state says them.
    pub is_jailed: bool,
}

/// A network interface as the machine has it: by its state, which nobody can change, and by what its guest was told at its boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicNote {
    pub tap: String,
    /// `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
    /// The guest goes on using it. Absent where an earlier hearth started the machine or took the snapshot.
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
}

impl NicNote {
    /// Whether the VM's interface is this one. A MAC of the user's choice may be another one's by now, with another address, which the guest would
    /// not know.
    pub(super) fn is(&self, nic: &NicPlan) -> bool {
        self.tap == nic.tap && self.mac == mac_text(nic.mac) && self.address.is_none_or(|address| address == nic.address)
    }
}

/// An id as everybody else reads it.
mod text {
    use domain::VmId;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(vm: &VmId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(vm)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<VmId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Note {
    /// Into a snapshot's folder that has none, and on the disk. Blocks.
    pub fn write(&self, folder: &Path) -> Result<(), VmmError> {
        let path = folder.join(NOTE);
        let failed = |source| storage_error(&path, source);
        let text = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        let mut file = File::create_new(&path).map_err(failed)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)
    }

    /// Errors: there is none, or one that can't be read. Blocks.
    pub fn read(folder: &Path) -> Result<Self, VmmError> {
        let path = folder.join(NOTE);
        let failed = |source| storage_error(&path, source);
        serde_json::from_slice(&fs::read(&path).map_err(failed)?).map_err(|error| failed(error.into()))
    }
}

/// Makes a full snapshot in `into`, which must not exist, of a differential one and the full one that it followed. Those two stay. `into` is
/// there whole or not at all. Blocks, for as long as the memory takes to copy where the file system can't share it.
///
/// Errors: a file of either can't be read; they are two VMs', or the memories differ in size: the two don't belong together.
pub fn lay_upon(diff: &Path, base: &Path, into: &Path) -> Result<(), VmmError> {
    let (note, earlier) = (Note::read(diff)?, Note::read(base)?);
    if note.vm != earlier.vm {
        return Err(apart(format!("it is one of {}, and the one before it of {}", note.vm, earlier.vm)));
    }
    let making = Making::begin(into)?;
    let memory = making.folder().join(MEMORY);
    sparse::copy(&base.join(MEMORY), &memory)?;
    lay(&diff.join(MEMORY), &memory)?;
    for name in [STATE, DISK].into_iter().chain(note.has_seed.then_some(SEED)) {
        sparse::copy(&diff.join(name), &making.folder().join(name))?;
    }
    note.write(making.folder())?;
    making.publish(&Awaited::default())
}

fn apart(detail: String) -> VmmError {
    VmmError::Refused { call: "the differential snapshot", detail }
}

fn lay(diff: &Path, memory: &Path) -> Result<(), VmmError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| storage_error(&path, source)
    };
    let from = File::open(diff).map_err(failed(diff))?;
    let to = File::options().write(true).open(memory).map_err(failed(memory))?;
    let (size, other) = (length(&from, diff)?, length(&to, memory)?);
    if size != other {
        return Err(apart(format!("its memory has {size} bytes and that of the one before it {other}")));
    }
    sparse::copy_data(&from, &to, size).and_then(|()| to.sync_all()).map_err(failed(memory))
}

fn length(file: &File, path: &Path) -> Result<u64, VmmError> {
    file.metadata().map(|meta| meta.len()).map_err(|source| storage_error(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt};

    fn snapshot(folder: &Path, pages: &[(u64, u8)], size: u64, state: &str) {
        fs::create_dir(folder).unwrap();
        let memory = File::create(folder.join(MEMORY)).unwrap();
        memory.set_len(size).unwrap();
        for (page, byte) in pages {
            memory.write_all_at(&[*byte; 4096], page * 4096).unwrap();
        }
        for name in [STATE, DISK, SEED] {
            fs::write(folder.join(name), state).unwrap();
        }
        note(7, state).write(folder).unwrap();
    }

    fn note(vm: u128, version: &str) -> Note {
        Note {
            vm: VmId::from_bits(vm),
            version: version.into(),
            vcpus: 1,
            mem_mib: 64,
            has_nic: false,
            nics: Vec::new(),
            has_seed: true,
            has_metadata: false,
            is_jailed: true,
        }
    }

    #[test]
    fn what_changed_lies_upon_what_was() {
        let top = tempfile::tempdir().unwrap();
        let [base, diff, into] = ["base", "diff", "into"].map(|name| top.path().join(name));
        snapshot(&base, &[(0, 1), (1, 1), (1000, 1)], 64 << 20, "old");
        // A page that became zeroes is data of the difference too.
        snapshot(&diff, &[(1, 2), (1000, 0), (2000, 2)], 64 << 20, "new");
        lay_upon(&diff, &base, &into).unwrap();
        let memory = File::open(into.join(MEMORY)).unwrap();
        for (page, byte) in [(0, 1), (1, 2), (2, 0), (1000, 0), (2000, 2)] {
            let mut read = [9; 4096];
            memory.read_exact_at(&mut read, page * 4096).unwrap();
            assert!(read.iter().all(|&found| found == byte), "page {page} is {}", read[0]);
        }
        assert!(memory.metadata().unwrap().blocks() * 512 < 1 << 20, "holes stay holes");
        for name in [STATE, DISK, SEED] {
            assert_eq!(fs::read(into.join(name)).unwrap(), b"new", "{name}");
        }
        assert_eq!(Note::read(&into).unwrap(), note(7, "new"));
        assert!(fs::read_to_string(into.join(NOTE)).unwrap().starts_with("{\"vm\":\"vm_00000000000000000000000007\""));
        assert_eq!(fs::read(base.join(STATE)).unwrap(), b"old");
        assert!(matches!(lay_upon(&diff, &base, &into), Err(VmmError::Folder { .. })), "it is there already");
    }

    #[test]
    fn two_that_do_not_belong_together_leave_nothing() {
        let top = tempfile::tempdir().unwrap();
        let [base, diff, into] = ["base", "diff", "into"].map(|name| top.path().join(name));
        snapshot(&base, &[(0, 1)], 8192, "old");
        snapshot(&diff, &[(0, 2)], 4096, "new");
        let told = lay_upon(&diff, &base, &into).unwrap_err().to_string();
        assert!(told.contains("4096 bytes") && told.contains("8192"), "{told}");
        fs::remove_file(base.join(NOTE)).unwrap();
        note(8, "old").write(&base).unwrap();
        let told = lay_upon(&diff, &base, &into).unwrap_err().to_string();
        assert!(
            told.contains("one of vm_00000000000000000000000007, and the one before it of vm_00000000000000000000000008"),
            "{told}"
        );
        fs::remove_file(diff.join(NOTE)).unwrap();
        assert!(matches!(lay_upon(&diff, &base, &into), Err(VmmError::Folder { path, .. }) if path.ends_with(NOTE)));
        assert_eq!(fs::read_dir(top.path()).unwrap().count(), 2);
    }
}
