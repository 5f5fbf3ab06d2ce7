//! What lies in a jail before the jailer comes: other names (hard links) of files that hearth has, and empty things to write to. Copies
//! nothing; where a file can't have a second name, its blocks are shared if the file system can do that, else it is refused.

use super::{VmmError, make_folder, storage_error, unable};
use nix::{errno::Errno, libc, sys::stat::Mode, unistd::mkfifo};
use std::{
    fs, io,
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown},
    },
    path::{Component, Path, PathBuf},
};

/// The folders that the jailer makes, and the one that it needs for a moment.
const JAILERS: [&str; 4] = ["dev", "run", "old_root", "sys"];
const READ_BY_ALL: u32 = 0o444;

nix::ioctl_write_int!(clone_from, 0x94, 9);

/// One thing in the jail's root. `name` is one plain name that the jailer does not use itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum File {
    /// A file that others may have as well, to read only: kernel, initramfs, a snapshot's memory. It becomes readable for all users of the
    /// machine who can reach it; in a data directory nobody can.
    Shared { source: PathBuf, name: String },
    /// A file that is this VM's alone, to read and write: its disk. It becomes the jailed uid's, and stays so when the jail is gone.
    Own { source: PathBuf, name: String },
    /// An empty file to write to.
    Empty { name: String },
    /// A pipe to write to.
    Fifo { name: String },
    /// An empty folder to write in.
    Folder { name: String },
}

/// Makes the root and fills it. The root must not exist; on an error a part of it is left.
pub fn fill(root: &Path, files: &[File], uid: u32, program: &str) -> Result<(), VmmError> {
    make_folder(root)?;
    files.iter().try_for_each(|file| put(root, file, uid, program))
}

fn put(root: &Path, file: &File, uid: u32, program: &str) -> Result<(), VmmError> {
    let (File::Shared { name, .. } | File::Own { name, .. } | File::Empty { name } | File::Fifo { name } | File::Folder { name }) =
        file;
    if !may_be_named(name, program) {
        return Err(unable(format!("{name:?} can't be the name of a file in a jail")));
    }
    let path = root.join(name);
    let failed = |source: io::Error| storage_error(&path, source);
    match file {
        File::Shared { source, .. } => return share(source, &path),
        File::Own { source, .. } => link(source, &path).map_err(|error| refused(source, root, error))?,
        File::Empty { .. } => {
            let _made = fs::File::options().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        }
        File::Fifo { .. } => mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|error| failed(error.into()))?,
        File::Folder { .. } => fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed)?,
    }
    chown(&path, Some(uid), Some(uid)).map_err(failed)
}

fn may_be_named(name: &str, program: &str) -> bool {
    let mut parts = Path::new(name).components();
    let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(only)), None) if only == name);
    plain && name != program && name.strip_suffix(".pid") != Some(program) && !JAILERS.contains(&name)
}

/// The source's own second name, whatever links lead to it. Only plain files: a jailed process must not get a device or a folder so.
fn link(source: &Path, path: &Path) -> io::Result<()> {
    let source = source.canonicalize()?;
    if !source.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file"));
    }
    fs::hard_link(source, path)
}

fn share(source: &Path, path: &Path) -> Result<(), VmmError> {
    let root = path.parent().unwrap_or(path);
    let readable = |path: &Path| -> io::Result<()> {
        let mode = path.metadata()?.permissions().mode();
        if mode & READ_BY_ALL == READ_BY_ALL {
            Ok(())
        } else {
            fs::set_permissions(path, fs::Permissions::from_mode(mode | READ_BY_ALL))
        }
    };
    match link(source, path) {
        Ok(()) => readable(path).map_err(|error| storage_error(path, error)),
        // On btrfs another subvolume is another file system to link(2), not to FICLONE; and ext4 gives a file 65,000 names.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EXDEV | libc::EMLINK)) => match reflink(source, path) {
            Ok(()) => readable(path).map_err(|error| storage_error(path, error)),
            Err(_) => Err(refused(source, root, error)),
        },
        Err(error) => Err(refused(source, root, error)),
    }
}

/// A file of its own that has the same blocks. Errors: the file system can't, or it is another one; nothing is left.
#[allow(unsafe_code)]
fn reflink(source: &Path, path: &Path) -> io::Result<()> {
    let from = fs::File::open(source)?;
    let to = fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
    // SAFETY: FICLONE takes the other descriptor as an integer; both are open.
    let cloned = unsafe { clone_from(to.as_raw_fd(), from.as_raw_fd() as nix::sys::ioctl::ioctl_param_type) };
    cloned.map(drop).map_err(|error: Errno| {
        let _partial = fs::remove_file(path);
        error.into()
    })
}

fn refused(source: &Path, root: &Path, error: io::Error) -> VmmError {
    match error.raw_os_error() {
        Some(libc::EXDEV) => unable(format!(
            "{} is on another file system than the jail {}, which needs a second name of it: keep images and data directory on one file \
             system, or use --no-jailer",
            source.display(),
            root.display()
        )),
        Some(libc::EMLINK) => {
            unable(format!("{} has as many names as its file system allows: fewer VMs can use it at once", source.display()))
        }
        Some(libc::ENOSPC | libc::EDQUOT | libc::EMFILE | libc::ENFILE | libc::ENOMEM) => storage_error(root, error),
        _ => unable(format!("{} can't be put into the jail: {error}", source.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_that_are_free_are_taken() {
        for name in ["kernel", "disk.ext4", "vsock", "firecracker.log", "..data", "pid"] {
            assert!(may_be_named(name, "firecracker"), "{name}");
        }
        let taken = ["", ".", "..", "/", "/etc", "a/b", "a/", "./a", "dev", "run", "old_root", "firecracker", "firecracker.pid"];
        for name in taken {
            assert!(!may_be_named(name, "firecracker"), "{name}");
        }
    }

    #[test]
    fn another_file_system_is_told_with_the_remedy() {
        let told =
            refused(Path::new("/images/disk"), Path::new("/data/jail"), io::Error::from_raw_os_error(libc::EXDEV)).to_string();
        assert!(told.contains("another file system") && told.contains("--no-jailer") && !told.contains('\n'), "{told}");
        let full = refused(Path::new("/images/disk"), Path::new("/data/jail"), io::Error::from_raw_os_error(libc::ENOSPC));
        assert!(matches!(full, VmmError::DiskFull { .. }));
    }
}
