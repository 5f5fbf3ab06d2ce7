//! Which uid a VM has: a number in a file of its folder, nobody else's on this machine. It comes with the folder's first jail and goes with
//! the folder.

mod check;

pub use check::absent;

use super::super::VmmError;
use super::layout::storage_error;
use domain::VmId;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read},
    ops::RangeInclusive,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Above what distributions, systemd (its containers end at 1,879,048,191) and `/etc/subuid` give away, and below 2^31, from where on file
/// systems and tools disagree. As many as VMs may ever have folders at once. Source: systemd's UIDS-GIDS.
pub const DEFAULT: RangeInclusive<u32> = 1_900_000_000..=1_900_065_535;

const FILE: &str = "uid";
const PARTIAL: &str = "uid.partial";
/// The longest number with its end of line; whatever is longer is no uid.
const MOST_BYTES: u64 = 12;

/// The uids of one hearth's VMs.
#[derive(Debug)]
pub struct Uids {
    vms: PathBuf,
    range: RangeInclusive<u32>,
    /// One allotment at a time: the lowest free uid is nobody's until its file is there.
    allotting: Mutex<()>,
}

impl Uids {
    /// `vms`: the folder of the VMs' folders. Errors: the range is not free on this machine.
    pub fn open(vms: PathBuf, range: RangeInclusive<u32>) -> Result<Self, VmmError> {
        check::free(&range)?;
        Ok(Self::unchecked(vms, range))
    }

    /// As [`Uids::open`], of a range that is known to be free.
    pub fn unchecked(vms: PathBuf, range: RangeInclusive<u32>) -> Self {
        Self { vms, range, allotting: Mutex::new(()) }
    }

    /// The VM's uid, which is allotted at the first call and kept in the VM's folder until that is removed. Blocks: reads one small file of
    /// every VM, so that no two share a uid even if somebody copied a folder.
    ///
    /// Errors: the VM has no folder, or there is no uid left.
    pub fn of(&self, vm: VmId) -> Result<u32, VmmError> {
        let _one_at_a_time = self.allotting.lock().unwrap_or_else(PoisonError::into_inner);
        allot(&self.vms, vm, &self.range)
    }
}

/// Why nothing can be started, in one sentence with the remedy.
fn unable(detail: impl Into<String>) -> VmmError {
    VmmError::Spawn { detail: detail.into() }
}

/// The VM's uid; a new one if it has none, or one that is out of the range or another VM's as well.
fn allot(vms: &Path, vm: VmId, range: &RangeInclusive<u32>) -> Result<u32, VmmError> {
    let others = others(vms, vm)?;
    let own = read(&vms.join(vm.to_string()))?;
    if let Some(uid) = own.filter(|uid| range.contains(uid) && !others.contains(uid)) {
        return Ok(uid);
    }
    // Another hearth on this machine may have the same range, and a VM of this one whose file was damaged may still run.
    let running = running();
    let Some(uid) = range.clone().find(|uid| !others.contains(uid) && !running.contains(uid)) else {
        let (first, last) = (range.start(), range.end());
        return Err(unable(format!(
            "each of the uids {first}-{last} is a VM's: remove VMs that are not needed, or name a larger range (--jailer-uids FIRST-LAST)"
        )));
    };
    write(&vms.join(vm.to_string()), uid)?;
    Ok(uid)
}

/// What was allotted to the VM with this folder, if it can be read.
pub fn allotted(folder: &Path) -> Option<u32> {
    read(folder).ok().flatten()
}

/// `None`: there is none, or what is there is no number.
fn read(folder: &Path) -> Result<Option<u32>, VmmError> {
    let path = folder.join(FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(storage_error(&path, error)),
    };
    let mut bytes = Vec::new();
    match file.take(MOST_BYTES).read_to_end(&mut bytes) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => Ok(None),
        Err(error) => Err(storage_error(&path, error)),
        Ok(_) => Ok(parse(&bytes)),
    }
}

fn parse(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.strip_suffix(b"\n")?;
    // Not everything that `parse` takes was written by `write`: "+7" and "007" were not.
    let number: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == digits).then_some(number)
}

/// A crash leaves the older file, or the new one. Not flushed: a loss of power ends the process whose uid it is, and the next launch gives
/// the VM's files to the uid that it finds or allots then.
fn write(folder: &Path, uid: u32) -> Result<(), VmmError> {
    let (path, partial) = (folder.join(FILE), folder.join(PARTIAL));
    let written = File::options().write(true).create(true).truncate(true).mode(0o600).open(&partial);
    let written = written.and_then(|mut file| io::Write::write_all(&mut file, format!("{uid}\n").as_bytes()));
    written.and_then(|()| fs::rename(&partial, &path)).map_err(|source| storage_error(&path, source))
}

/// The uids of all other VMs that have a folder.
fn others(vms: &Path, vm: VmId) -> Result<BTreeSet<u32>, VmmError> {
    let own = vm.to_string();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(vms).map_err(|source| storage_error(vms, source))? {
        let entry = entry.map_err(|source| storage_error(vms, source))?;
        if entry.file_name() != own.as_str() {
            found.extend(read(&entry.path())?);
        }
    }
    Ok(found)
}

/// The uids of all processes that run now. One that forbids to be looked at counts as root's.
fn running() -> BTreeSet<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered = processes.filter(|entry| entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit));
    numbered.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.uid()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(vms: &Path, vm: VmId) -> std::path::PathBuf {
        let folder = vms.join(vm.to_string());
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn vm(bits: u128) -> VmId {
        VmId::from_bits(bits)
    }

    #[test]
    fn only_what_was_written_is_read() {
        assert_eq!(parse(b"1900000000\n"), Some(1_900_000_000));
        for bytes in ["", "\n", "7", "7\n\n", " 7\n", "+7\n", "07\n", "-1\n", "4294967296\n", "seven\n", "7\nx", "\u{e9}\n"] {
            assert_eq!(parse(bytes.as_bytes()), None, "{bytes:?}");
        }
    }

    #[test]
    fn the_lowest_free_uid_is_kept_until_the_folder_goes() {
        let vms = tempfile::tempdir().unwrap();
        let range = 1_900_000_010..=1_900_000_012;
        let allot = |bits| {
            folder(vms.path(), vm(bits));
            allot(vms.path(), vm(bits), &range)
        };
        assert_eq!([1, 2, 3].map(|bits| allot(bits).unwrap()), [1_900_000_010, 1_900_000_011, 1_900_000_012]);
        assert_eq!(allot(2).unwrap(), 1_900_000_011, "a second launch has the uid of the first");
        let full = allot(4).unwrap_err().to_string();
        let remedy = "remove VMs that are not needed, or name a larger range (--jailer-uids FIRST-LAST)";
        assert_eq!(full, format!("the VMM can't be started: each of the uids 1900000010-1900000012 is a VM's: {remedy}"));
        assert!(!vms.path().join(vm(4).to_string()).join(FILE).exists());
        fs::remove_dir_all(vms.path().join(vm(2).to_string())).unwrap();
        assert_eq!(allot(4).unwrap(), 1_900_000_011);
    }

    #[test]
    fn a_file_that_can_t_be_right_is_replaced() {
        let vms = tempfile::tempdir().unwrap();
        let range = 1_900_000_020..=1_900_000_025;
        let (first, second) = (folder(vms.path(), vm(1)), folder(vms.path(), vm(2)));
        assert_eq!(allot(vms.path(), vm(1), &range).unwrap(), 1_900_000_020);
        for wrong in ["", "0\n", "1900000026\n", "x\n", "1900000020\n"] {
            fs::write(second.join(FILE), wrong).unwrap();
            assert_eq!(allot(vms.path(), vm(2), &range).unwrap(), 1_900_000_021, "{wrong:?}");
            assert_eq!(fs::read_to_string(second.join(FILE)).unwrap(), "1900000021\n");
        }
        assert_eq!(fs::read_to_string(first.join(FILE)).unwrap(), "1900000020\n");
        assert!(!second.join(PARTIAL).exists());
    }

    #[test]
    fn a_uid_that_runs_a_process_is_nobodys_to_give() {
        let vms = tempfile::tempdir().unwrap();
        folder(vms.path(), vm(1));
        let own = nix::unistd::geteuid().as_raw();
        assert!(running().contains(&own));
        assert!(allot(vms.path(), vm(1), &(own..=own)).is_err());
    }

    #[test]
    fn a_vm_without_a_folder_has_no_uid() {
        let vms = tempfile::tempdir().unwrap();
        assert!(matches!(allot(vms.path(), vm(1), &(7..=8)), Err(VmmError::Folder { .. })));
    }
}
