//! That the root file system is as large as its disk: at boot, and while the guest runs, when its disk has grown. Owns the file system's size;
//! other disks are for who uses the guest.

use crate::{kmsg, network::uevent::Uevents};
use nix::{
    errno::Errno,
    sys::{
        statfs::{EXT4_SUPER_MAGIC, statfs},
        statvfs::{FsFlags, statvfs},
    },
};
use std::{
    convert::Infallible,
    fs, io,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::Path,
    thread,
    time::Duration,
};

/// `EXT4_IOC_RESIZE_FS`, `_IOW('f', 16, u64)` of the kernel's `fs/ext4/ext4.h`: how many blocks the mounted file system shall have.
const RESIZE: libc::c_ulong = 0x4008_6610;
const SECTOR: u64 = 512;
/// It reads a number and makes a call.
const STACK: usize = 64 * 1024;

/// Makes a mounted ext4 as large as its disk. The kernel does nothing where it is so already. Blocks while new block groups are written, which
/// others need not wait for.
#[allow(unsafe_code)]
pub fn fill(mounted: &Path) -> io::Result<()> {
    let blocks: u64 = size(mounted)? / (statvfs(mounted)?.block_size() as u64).max(1);
    let root = fs::File::open(mounted)?;
    // SAFETY: the kernel reads eight bytes from a number that lives longer than the call.
    let done = unsafe { libc::ioctl(root.as_raw_fd(), RESIZE as _, &blocks) };
    Errno::result(done).map(drop).map_err(io::Error::from)
}

/// Of the disk that a file system is on, bytes.
fn size(mounted: &Path) -> io::Result<u64> {
    let device = fs::metadata(mounted)?.dev();
    let place = format!("/sys/dev/block/{}:{}/size", nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let sectors: u64 = fs::read_to_string(place)?.trim().parse().map_err(io::Error::other)?;
    Ok(sectors * SECTOR)
}

/// From now on, by a thread of its own: at once, as it may have grown while nobody watched, and after each announcement of the kernel's by which
/// its disk has another size. Nothing is done where the root is no ext4, or may not be written to then.
pub fn keep() {
    let root = Path::new("/");
    if statfs(root).is_ok_and(|found| found.filesystem_type() != EXT4_SUPER_MAGIC) {
        return;
    }
    let watch = || {
        let Err(error) = watch(Path::new("/"));
        kmsg::log(&format!("the root file system is not made larger with its disk any more: {error}"));
    };
    if let Err(error) = thread::Builder::new().stack_size(STACK).spawn(watch) {
        kmsg::log(&format!("the root file system is not made larger with its disk: {error}"));
    }
}

fn watch(root: &Path) -> io::Result<Infallible> {
    // Open before the first look, so that nothing falls between.
    let uevents = Uevents::open()?;
    let mut last = None;
    loop {
        let now = size(root)?;
        if last.replace(now) != Some(now)
            && !statvfs(root)?.flags().contains(FsFlags::ST_RDONLY)
            && let Err(error) = fill(root)
        {
            // The next size is another chance.
            kmsg::log(&format!("the root file system is not made as large as its disk: {error}"));
        }
        uevents.wait(Duration::MAX)?;
    }
}
