//! The root disk: a raw file with the image's content, which Firecracker asks for. Shares the image's blocks where the file system can
//! (reflink: XFS, btrfs), else holds a copy of the image's data without its holes. Owns the file's making; what the guest writes later is
//! the guest's.

use super::super::{
    DiskPlan, VmmError,
    shared::{
        layout::{open_disk, open_running_disk},
        sparse::{self, copy_data, reflink},
    },
    storage_error,
};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

const SECTOR: u64 = 512;

/// Makes the disk; one that is there already stays. On an error nothing is left. Blocks.
pub fn prepare(plan: &DiskPlan, disk: &Path) -> Result<(), VmmError> {
    if disk.exists() {
        return Ok(());
    }
    let base_error = |source| VmmError::Base { path: plan.base.clone(), source };
    let base = File::open(&plan.base).map_err(base_error)?;
    let base_size = base.metadata().map_err(base_error)?.len();
    let size = plan.size_bytes.unwrap_or(base_size);
    if size < base_size {
        return Err(VmmError::DiskTooSmall { asked: size, base: base_size });
    }
    // A copy that was given up may still be at work, and must not write into what is a disk by then: each has a file of its own.
    let partial = disk.with_extension(format!("{:016x}.partial", rand::random::<u64>()));
    let written = write(&base, base_size, size.next_multiple_of(SECTOR), &partial)
        .and_then(|()| match fs::hard_link(&partial, disk) {
            // The other one was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        })
        .and_then(|()| fs::remove_file(&partial))
        .and_then(|()| disk.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all()));
    written.map_err(|source| {
        // The first error is the one to report; a file that can't be removed is replaced at the next try.
        let _removed = fs::remove_file(&partial);
        storage_error(disk, source)
    })
}

/// Makes the disk as large as it shall be, once it was looked at; one that is as large or larger stays as it is. Only while no process has it open.
///
/// Errors: those of [`open_disk`], whether or not a size is asked.
pub fn grow(plan: &DiskPlan, disk: &Path) -> Result<(), VmmError> {
    let file = open_disk(disk)?;
    let Some(wanted) = plan.size_bytes else { return Ok(()) };
    sparse::grow(&file, wanted.next_multiple_of(SECTOR)).map_err(|source| storage_error(disk, source))
}

/// Makes a disk larger that a machine has open, which does not look at its size until it is told. One that is as large or larger stays as it is.
/// Blocks.
///
/// Errors: those of [`open_running_disk`].
pub fn grow_running(disk: &Path, wanted: u64) -> Result<(), VmmError> {
    let file = open_running_disk(disk)?;
    sparse::grow(&file, wanted.next_multiple_of(SECTOR)).map_err(|source| storage_error(disk, source))
}

fn write(base: &File, base_size: u64, size: u64, path: &Path) -> io::Result<()> {
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    if !reflink(base, &file)? {
        file.set_len(base_size)?;
        copy_data(base, &file, base_size)?;
    }
    file.set_len(size)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{VmId, vm::Drives};
    use std::os::unix::fs::{FileExt, MetadataExt};

    fn plan(base: &Path, size_bytes: Option<u64>) -> DiskPlan {
        DiskPlan { vm: VmId::from_bits(1), base: base.into(), size_bytes, drives: Drives::default() }
    }

    #[test]
    fn the_disk_holds_the_images_data_and_its_holes() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base.ext4");
        let file = File::options().read(true).write(true).create_new(true).open(&base).unwrap();
        file.set_len(256 << 20).unwrap();
        file.write_all_at(&[7; 100_000], 1 << 20).unwrap();
        file.write_all_at(b"the last bytes", (256 << 20) - 14).unwrap();
        for size in [None, Some(1 << 30)] {
            let disk = folder.path().join(format!("disk-{size:?}.raw"));
            prepare(&plan(&base, size), &disk).unwrap();
            let made = File::open(&disk).unwrap();
            let metadata = made.metadata().unwrap();
            assert_eq!(metadata.len(), size.unwrap_or(256 << 20));
            assert!(metadata.blocks() * 512 < 2 << 20, "{} bytes are taken", metadata.blocks() * 512);
            let mut read = vec![0; 100_001];
            made.read_exact_at(&mut read, 1 << 20).unwrap();
            assert!(read[..100_000].iter().all(|&byte| byte == 7) && read[100_000] == 0);
            let mut end = [0; 14];
            made.read_exact_at(&mut end, (256 << 20) - 14).unwrap();
            assert_eq!(&end, b"the last bytes");
        }
    }

    #[test]
    fn a_disk_that_is_none_of_hearths_is_refused_whether_or_not_it_is_to_grow() {
        let folder = tempfile::tempdir().unwrap();
        let (base, disk) = (folder.path().join("base.ext4"), folder.path().join("disk.raw"));
        let secret = folder.path().join("secret");
        fs::write(&secret, b"another's").unwrap();
        let told = |size| grow(&plan(&base, size), &disk).unwrap_err();
        for size in [None, Some(1), Some(8192)] {
            assert!(matches!(told(size), VmmError::Folder { .. }), "it is gone: {size:?}");
            std::os::unix::fs::symlink(&secret, &disk).unwrap();
            assert!(matches!(told(size), VmmError::DiskAltered { .. }), "{size:?}");
            fs::remove_file(&disk).unwrap();
            fs::hard_link(&secret, &disk).unwrap();
            assert!(matches!(told(size), VmmError::DiskAltered { .. }), "{size:?}");
            fs::remove_file(&disk).unwrap();
        }
        assert_eq!(fs::read(&secret).unwrap(), b"another's");
        fs::write(&disk, b"precious").unwrap();
        grow(&plan(&base, None), &disk).unwrap();
        assert_eq!(fs::read(&disk).unwrap(), b"precious");
    }

    /// The jail's name for it is no reason to refuse it; a link that leads elsewhere is.
    #[test]
    fn a_disk_in_a_jail_grows_and_never_shrinks() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, jailed) = (folder.path().join("disk.raw"), folder.path().join("jailed"));
        assert!(matches!(grow_running(&disk, 512), Err(VmmError::Folder { .. })));
        fs::write(&disk, b"kept").unwrap();
        fs::hard_link(&disk, &jailed).unwrap();
        for (wanted, len) in [(1, 512), (4097, 4608), (512, 4608)] {
            grow_running(&disk, wanted).unwrap();
            assert_eq!(fs::metadata(&jailed).unwrap().len(), len);
        }
        assert!(fs::read(&jailed).unwrap().starts_with(b"kept\0"));
        fs::remove_file(&disk).unwrap();
        std::os::unix::fs::symlink(&jailed, &disk).unwrap();
        assert!(matches!(grow_running(&disk, 8192), Err(VmmError::DiskAltered { .. })));
        assert_eq!(fs::metadata(&jailed).unwrap().len(), 4608);
    }

    #[test]
    fn what_cannot_be_leaves_nothing_and_what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (base, disk) = (folder.path().join("base.ext4"), folder.path().join("disk.raw"));
        assert!(matches!(prepare(&plan(&base, None), &disk), Err(VmmError::Base { .. })));
        File::create(&base).unwrap().set_len(4096).unwrap();
        assert!(matches!(prepare(&plan(&base, Some(512)), &disk), Err(VmmError::DiskTooSmall { asked: 512, base: 4096 })));
        assert!(matches!(prepare(&plan(&base, None), &folder.path().join("no/disk")), Err(VmmError::Folder { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(&disk, b"precious").unwrap();
        prepare(&plan(&base, None), &disk).unwrap();
        assert_eq!(fs::read(&disk).unwrap(), b"precious");
    }
}
