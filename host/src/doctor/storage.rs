//! Checks of the data directory: reflink and free space.

use super::{Check, Status};
use nix::{errno::Errno, libc, sys::statvfs::statvfs};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::Path,
};

const GIB: u64 = 1 << 30;
/// A kernel, a root file system and a handful of VMs' changes.
const DISK_LOW: u64 = 5 * GIB;
/// Below this not even an image can be imported.
const DISK_NONE: u64 = GIB;

pub(super) fn checks(data_dir: &Path) -> Vec<Check> {
    let folder = nearest(data_dir);
    vec![reflink(folder), free_disk(folder)]
}

/// The folder itself, or the one in which it will be made.
fn nearest(path: &Path) -> &Path {
    let there = path.ancestors().find(|ancestor| ancestor.is_dir());
    // A relative path ends in the empty one, which is the current folder.
    there.unwrap_or(Path::new("."))
}

fn reflink(folder: &Path) -> Check {
    let (id, title) = ("reflink", "Reflink copies");
    let place = folder.display();
    match try_reflink(folder) {
        Ok(()) => {
            Check::ok(id, title, format!("{place} copies files by reference: Firecracker VMs share what they do not change"))
        }
        Err(error) => {
            let detail = format!(
                "{place} has none ({error}): each Firecracker VM's disk is a sparse copy of its image (QEMU's are overlays)"
            );
            Check::new(id, title, Status::Missing, detail).remedy("for Firecracker put the data directory on XFS or btrfs")
        }
    }
}

/// Both files have no name: nothing is left, whatever happens.
fn try_reflink(folder: &Path) -> io::Result<()> {
    const FICLONE: libc::c_ulong = 0x4004_9409;
    let unnamed = || -> io::Result<File> { OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE).open(folder) };
    let (mut source, target) = (unnamed()?, unnamed()?);
    source.write_all(&[1; 4096])?;
    #[allow(unsafe_code)]
    // SAFETY: FICLONE takes the source's descriptor by value; both files are open.
    let result = unsafe { libc::ioctl(target.as_raw_fd(), FICLONE as _, source.as_raw_fd()) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

fn free_disk(folder: &Path) -> Check {
    let (id, title) = ("free-disk", "Free disk space");
    let space = match statvfs(folder) {
        Ok(space) => space,
        Err(error) => return Check::new(id, title, Status::Failed, format!("{}: {error}", folder.display())),
    };
    let free = space.blocks_available() * space.fragment_size();
    let detail = format!("{:.1} GiB free at {}", free as f64 / GIB as f64, folder.display());
    let status = match free {
        0..DISK_NONE => Status::Failed,
        DISK_NONE..DISK_LOW => Status::Warn,
        _ => return Check::ok(id, title, detail),
    };
    Check::new(id, title, status, detail).remedy("free some space, or choose another place with --data-dir")
}
