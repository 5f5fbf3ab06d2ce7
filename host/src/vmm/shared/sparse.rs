//! Large files that are mostly holes: copies, whose blocks are shared where the file system can (reflink: XFS, btrfs), else what is data is copied;
//! and growth.

use super::{super::VmmError, layout::storage_error};
use nix::{
    libc,
    unistd::{Whence, lseek64},
};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
};

/// A file of hearth's alone with the same content, on the disk. `to` must not be there. On an error a part of it is left.
pub fn copy(from: &Path, to: &Path) -> Result<(), VmmError> {
    let source = File::open(from).map_err(|error| storage_error(from, error))?;
    let made = || {
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(to)?;
        let size = source.metadata()?.len();
        if !reflink(&source, &file)? {
            file.set_len(size)?;
            copy_data(&source, &file, size)?;
        }
        file.sync_all()
    };
    made().map_err(|error| storage_error(to, error))
}

/// Makes a file as large as is wanted, by a hole, and its size safe on the disk; one that is as large or larger stays as it is.
pub fn grow(file: &File, wanted: u64) -> io::Result<()> {
    if file.metadata()?.len() >= wanted {
        return Ok(());
    }
    file.set_len(wanted)?;
    file.sync_all()
}

/// False: this file system can't, or the two are not on the same.
#[allow(unsafe_code)]
pub fn reflink(from: &File, to: &File) -> io::Result<bool> {
    // SAFETY: FICLONE takes a descriptor by value; both are open for the length of the call.
    let result = unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONE as _, from.as_raw_fd()) };
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        _ if result == 0 => Ok(true),
        Some(libc::EOPNOTSUPP | libc::EXDEV | libc::EINVAL | libc::ENOTTY | libc::ENOSYS) => Ok(false),
        _ => Err(error),
    }
}

/// Only what is data: holes stay holes.
pub fn copy_data(from: &File, to: &File, size: u64) -> io::Result<()> {
    let seek = |at: u64, whence| match lseek64(from.as_fd(), at as i64, whence) {
        Ok(found) => Ok(Some(found as u64)),
        // No more data.
        Err(nix::errno::Errno::ENXIO) => Ok(None),
        Err(error) => Err(io::Error::from(error)),
    };
    let mut at = 0;
    while let Some(start) = seek(at, Whence::SeekData)?.filter(|&start| start < size) {
        at = seek(start, Whence::SeekHole)?.unwrap_or(size).min(size);
        copy_range(from, to, start, at)?;
    }
    Ok(())
}

/// The kernel copies between the two files where it can, by itself.
fn copy_range(mut from: &File, mut to: &File, start: u64, end: u64) -> io::Result<()> {
    from.seek(SeekFrom::Start(start))?;
    to.seek(SeekFrom::Start(start))?;
    match io::copy(&mut from.take(end - start), &mut to)? {
        copied if copied == end - start => Ok(()),
        // The image was cut under our hands: the store never does that.
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
