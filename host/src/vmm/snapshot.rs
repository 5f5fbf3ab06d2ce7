//! Snapshots of a machine as drivers make them: one folder with the machine's state, its memory and its root disk, all of one moment. Owns the
//! files' names and the laying of a differential snapshot upon an earlier one; who takes and keeps them is above the drivers.

use super::{VmmError, shared::sparse, storage_error};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Registers, devices, what the VMM itself knows.
pub const STATE: &str = "state";
/// The guest's memory; of a differential snapshot what changed of it, the rest are holes.
pub const MEMORY: &str = "memory";
/// The root disk, whole either way.
pub const DISK: &str = "disk.raw";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotKind {
    Full,
    /// Of the memory only what may have changed since the machine's last snapshot, or since it was restored.
    Diff,
}

/// Makes a full snapshot in `into`, which must not exist, of a differential one and the full one that it followed. Those two stay. `into` is
/// there whole or not at all. Blocks, for as long as the memory takes to copy where the file system can't share it.
///
/// Errors: a file of either can't be read, or the memories differ in size: the two don't belong together.
pub fn lay_upon(diff: &Path, base: &Path, into: &Path) -> Result<(), VmmError> {
    whole(into, |partial| {
        let memory = partial.join(MEMORY);
        sparse::copy(&base.join(MEMORY), &memory)?;
        lay(&diff.join(MEMORY), &memory)?;
        for name in [STATE, DISK] {
            sparse::copy(&diff.join(name), &partial.join(name))?;
        }
        Ok(())
    })
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
        let detail = format!("its memory has {size} bytes and that of the one before it {other}");
        return Err(VmmError::Refused { call: "the differential snapshot", detail });
    }
    sparse::copy_data(&from, &to, size).and_then(|()| to.sync_all()).map_err(failed(memory))
}

fn length(file: &File, path: &Path) -> Result<u64, VmmError> {
    file.metadata().map(|meta| meta.len()).map_err(|source| storage_error(path, source))
}

/// Makes the folder under another name, and gives it its own once all in it is on the disk. On an error nothing is left.
pub(super) fn whole(into: &Path, make: impl FnOnce(&Path) -> Result<(), VmmError>) -> Result<(), VmmError> {
    if into.exists() {
        let source = io::Error::from(io::ErrorKind::AlreadyExists);
        return Err(VmmError::Folder { path: into.to_owned(), source });
    }
    let partial = beside(into);
    let failed = |source| storage_error(into, source);
    super::shared::layout::make_folder(&partial)?;
    let made = make(&partial).and_then(|()| {
        sync(&partial).map_err(failed)?;
        fs::rename(&partial, into).map_err(failed)?;
        into.parent().map_or(Ok(()), sync).map_err(failed)
    });
    made.inspect_err(|_| {
        // The first error is the one to tell.
        let _left = fs::remove_dir_all(&partial);
    })
}

fn beside(into: &Path) -> PathBuf {
    into.with_extension(format!("{:016x}.partial", rand::random::<u64>()))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
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
        fs::write(folder.join(STATE), state).unwrap();
        fs::write(folder.join(DISK), state).unwrap();
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
        assert_eq!(fs::read(into.join(STATE)).unwrap(), b"new");
        assert_eq!(fs::read(into.join(DISK)).unwrap(), b"new");
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
        fs::remove_file(diff.join(DISK)).unwrap();
        assert!(lay_upon(&diff, &base, &into).is_err());
        assert_eq!(fs::read_dir(top.path()).unwrap().count(), 2);
    }
}
