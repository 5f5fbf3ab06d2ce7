//! The files of a VM's data drives in its folder: raw, sparse, empty when they are made, and larger when their drive has grown. Owns their making and
//! their removal; what the guest writes later is the guest's. Nothing of what is in them is ever read here.
//!
//! ```text
//!  vms/<vm>/drive-<number>.raw    a drive; the number is the drive's own, so that none has the file of an earlier one of its name
//!  vms/<vm>/drives                below which number all have been made: one of those that is not there is lost, and not to be made anew
//! ```

use super::super::{DiskPlan, VmmError};
use super::{
    layout::{open_disk, remove_file, storage_error},
    sparse,
};
use domain::vm::{Drive, Drives};
use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

const MIB: u64 = 1024 * 1024;
const NOTE: &str = "drives";
const NOTE_PARTIAL: &str = "drives.partial";

/// The file's name.
pub fn file(number: u32) -> String {
    format!("drive-{number}.raw")
}

fn number(name: &str) -> Option<u32> {
    name.strip_prefix("drive-")?.strip_suffix(".raw")?.parse().ok().filter(|number| file(*number) == name)
}

/// Makes the files what the plan says: those of new drives are made, those of larger ones grow, and those of drives that the VM has no more are
/// removed. One that is larger than its drive stays so. Only while no process has them open. Blocks.
///
/// Errors: `DriveLost`; `DiskAltered` where one is not as hearth made it; `DiskFull`, `Folder`. What this call made stays, empty, and is
/// taken by the next: to take it away could take it from a launch that came in between.
pub fn settle(plan: &DiskPlan, folder: &Path) -> Result<(), VmmError> {
    let drives = &plan.drives;
    if *drives == Drives::default() {
        return Ok(());
    }
    let had = noted(folder)?;
    // What goes makes room for what comes.
    remove_others(drives, folder)?;
    drives.all().iter().try_for_each(|drive| settle_one(drive, had, folder))?;
    note(had.max(drives.next_number()), had, folder)
}

fn settle_one(drive: &Drive, had: u32, folder: &Path) -> Result<(), VmmError> {
    let path = folder.join(file(drive.number));
    let failed = |source| storage_error(&path, source);
    let file = match open_disk(&path) {
        Err(VmmError::Folder { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            if drive.number < had {
                return Err(VmmError::DriveLost { name: drive.name.to_string(), path });
            }
            File::options().read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?
        }
        opened => opened?,
    };
    sparse::grow(&file, drive.size_mib.saturating_mul(MIB)).map_err(failed)
}

/// Files of drives that the VM had and has no more. One whose number was not given out yet is of a record that is not this one, and stays.
fn remove_others(drives: &Drives, folder: &Path) -> Result<(), VmmError> {
    for entry in fs::read_dir(folder).map_err(|source| storage_error(folder, source))? {
        let entry = entry.map_err(|source| storage_error(folder, source))?;
        if entry.file_name().to_str().and_then(number).is_some_and(|number| drives.had(number)) {
            remove_file(&entry.path()).map_err(|source| storage_error(&entry.path(), source))?;
        }
    }
    Ok(())
}

fn noted(folder: &Path) -> Result<u32, VmmError> {
    let path = folder.join(NOTE);
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|error| storage_error(&path, io::Error::other(error))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(storage_error(&path, error)),
    }
}

/// Once all files are on the disk. That it has its name is the last that can fail.
fn note(next: u32, had: u32, folder: &Path) -> Result<(), VmmError> {
    if next == had {
        return Ok(());
    }
    let (path, partial) = (folder.join(NOTE), folder.join(NOTE_PARTIAL));
    let write = || {
        File::open(folder)?.sync_all()?;
        let mut file = File::create(&partial)?;
        file.write_all(next.to_string().as_bytes())?;
        file.sync_all()?;
        fs::rename(&partial, &path)
    };
    write().map_err(|source| storage_error(&path, source))
}

#[cfg(test)]
mod tests {
    use super::super::mounted::mounted;
    use super::*;
    use domain::{
        VmId,
        vm::{DriveChange, DrivesChange},
    };
    use std::os::unix::fs::{FileExt, MetadataExt, symlink};

    fn drives(asked: &[(&str, u64)]) -> Drives {
        let change =
            |&(name, size): &(&str, u64)| DriveChange { name: name.parse().unwrap(), size_mib: Some(size), read_only: None };
        Drives::new(&asked.iter().map(change).collect::<Vec<_>>())
    }

    fn settled(drives: &Drives, folder: &Path) -> Result<(), VmmError> {
        let plan = DiskPlan { vm: VmId::from_bits(1), base: "/base".into(), size_bytes: None, drives: drives.clone() };
        settle(&plan, folder)
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn they_are_empty_then_larger_and_what_is_in_them_stays() {
        let folder = tempfile::tempdir().unwrap();
        settled(&Drives::default(), folder.path()).unwrap();
        assert_eq!(names(folder.path()), Vec::<String>::new());
        settled(&drives(&[("a", 4096), ("b", 1)]), folder.path()).unwrap();
        assert_eq!(names(folder.path()), ["drive-0.raw", "drive-1.raw", "drives"]);
        let path = folder.path().join("drive-0.raw");
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.len(), found.blocks(), found.mode() & 0o777), (4096 * MIB, 0, 0o600));
        File::options().write(true).open(&path).unwrap().write_all_at(b"kept", 7).unwrap();
        for size in [4097, 1] {
            settled(&drives(&[("a", size), ("b", 1)]), folder.path()).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().len(), 4097 * MIB, "it never shrinks");
        }
        let mut read = [0; 4];
        File::open(&path).unwrap().read_exact_at(&mut read, 7).unwrap();
        assert_eq!(&read, b"kept");
    }

    #[test]
    fn only_what_the_vm_had_and_has_no_more_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        settled(&drives(&[("a", 1), ("b", 1)]), folder.path()).unwrap();
        for other in ["drive-01.raw", "drive-2.raw", "drive-.raw", "drive-1.raw.old", "disk.raw"] {
            fs::write(folder.path().join(other), b"mine").unwrap();
        }
        let mut less = drives(&[("a", 1), ("b", 1)]);
        less.apply(&DrivesChange { set: vec![], remove: vec!["b".parse().unwrap()] });
        settled(&less, folder.path()).unwrap();
        let left = ["disk.raw", "drive-.raw", "drive-0.raw", "drive-01.raw", "drive-1.raw.old", "drive-2.raw", "drives"];
        assert_eq!(names(folder.path()), left);
    }

    #[test]
    fn a_lost_one_is_told_and_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        settled(&drives(&[("a", 1)]), folder.path()).unwrap();
        fs::remove_file(folder.path().join("drive-0.raw")).unwrap();
        let two = drives(&[("a", 1), ("b", 1)]);
        let told = settled(&two, folder.path()).unwrap_err().to_string();
        assert!(told.contains("drive \"a\"") && told.contains("drive-0.raw") && told.contains("backup"), "{told}");
        assert_eq!(names(folder.path()), ["drives"]);
        // One that was added since is made.
        fs::write(folder.path().join("drives"), "1").unwrap();
        fs::write(folder.path().join("drive-0.raw"), b"").unwrap();
        settled(&two, folder.path()).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("drives")).unwrap(), "2");
    }

    #[test]
    fn what_is_no_file_of_hearths_is_not_opened_and_what_was_made_is_taken_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other");
        fs::write(&other, b"").unwrap();
        let second = folder.path().join("drive-1.raw");
        for make in
            [|from: &Path, to: &Path| symlink(from, to).unwrap(), |from: &Path, to: &Path| fs::hard_link(from, to).unwrap()]
        {
            make(&other, &second);
            let error = settled(&drives(&[("a", 1), ("b", 1)]), folder.path()).unwrap_err();
            assert!(matches!(error, VmmError::DiskAltered { ref path, .. } if *path == second), "{error:?}");
            fs::remove_file(&second).unwrap();
            assert_eq!(names(folder.path()), ["drive-0.raw", "other"]);
        }
        settled(&drives(&[("a", 1), ("b", 1)]), folder.path()).unwrap();
        assert_eq!(names(folder.path()), ["drive-0.raw", "drive-1.raw", "drives", "other"]);
        assert_eq!(fs::metadata(&other).unwrap().len(), 0);
        assert!(matches!(settled(&drives(&[("a", 1)]), &folder.path().join("no")), Err(VmmError::Folder { .. })));
    }

    #[test]
    fn a_full_disk_is_told_and_the_next_call_makes_the_rest() {
        // The top, two drives, and no room for the note.
        mounted("size=1m,nr_inodes=3", |data| {
            let folder = data.join("other");
            let two = drives(&[("a", 1), ("b", 1)]);
            let full = settled(&two, &folder).unwrap_err();
            assert!(matches!(full, VmmError::DiskFull { .. }), "{full:?}");
            assert_eq!(names(&folder), ["drive-0.raw", "drive-1.raw"]);
            File::options().write(true).open(folder.join("drive-0.raw")).unwrap().write_all_at(b"kept", 7).unwrap();
            nix::mount::mount(None::<&str>, &folder, None::<&str>, nix::mount::MsFlags::MS_REMOUNT, Some("size=1m,nr_inodes=9"))
                .unwrap();
            settled(&two, &folder).unwrap();
            assert_eq!(names(&folder), ["drive-0.raw", "drive-1.raw", "drives"]);
            let mut read = [0; 4];
            File::open(folder.join("drive-0.raw")).unwrap().read_exact_at(&mut read, 7).unwrap();
            assert_eq!(&read, b"kept", "what was made is not made anew");
        });
    }
}
