//! Where the files of a VM are, and how its sockets are reached. Owns names; decides nothing.
//!
//! Unix socket paths end at 107 bytes and a data directory may be longer, so sockets are bound and connected through an open folder
//! (`/proc/self/fd/N/name`), and the VMM gets them as listening descriptors.

use super::super::VmmError;
use domain::VmId;
use nix::{
    fcntl::{OFlag, open},
    libc,
    sys::stat::Mode,
};
use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

/// What the guest printed on its serial port, over all launches.
pub const CONSOLE_LOG: &str = "console.log";
/// The process of the newest launch, so that `clean` needs no record.
pub const NOTE: &str = "machine.json";

/// The folders under the data directory.
#[derive(Debug, Clone)]
pub struct Layout {
    data: PathBuf,
}

impl Layout {
    pub fn new(data: PathBuf) -> Self {
        Self { data }
    }

    pub fn vms(&self) -> PathBuf {
        self.data.join("vms")
    }

    /// Initramfs images that VMs with the same kernel share.
    pub fn boot(&self) -> PathBuf {
        self.data.join("boot")
    }

    pub fn vm(&self, vm: VmId) -> PathBuf {
        self.vms().join(vm.to_string())
    }

    pub fn file(&self, vm: VmId, name: &str) -> PathBuf {
        self.vm(vm).join(name)
    }

    /// The VMs that have a folder.
    pub fn present(&self) -> io::Result<Vec<VmId>> {
        let entries = match fs::read_dir(self.vms()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            found.extend(entry?.file_name().to_str().and_then(|name| name.parse::<VmId>().ok()));
        }
        Ok(found)
    }
}

/// Makes a folder that only its owner may enter, and those above it.
pub fn make_folder(path: &Path) -> Result<(), VmmError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| storage_error(path, source))
}

/// Whether it is hearth that has no descriptor or memory left: such an error says nothing about what was looked for.
pub fn is_short(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// `otherwise`, unless hearth is short of what it needs.
pub fn short_or(error: &io::Error, otherwise: VmmError) -> VmmError {
    if is_short(error) { VmmError::Short { detail: error.to_string() } } else { otherwise }
}

/// "No space" is told apart: it has a remedy of its own.
pub fn storage_error(path: &Path, source: io::Error) -> VmmError {
    match source.kind() {
        _ if is_short(&source) => VmmError::Short { detail: source.to_string() },
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => VmmError::DiskFull { path: path.into() },
        _ => VmmError::Folder { path: path.into(), source },
    }
}

/// A disk of a VM's, for reading and writing, if it is as hearth makes them: a plain file with one name. What a guest, its VMM or somebody else put
/// in its place is not opened.
///
/// Errors: `DiskAltered`, and those of [`storage_error`]; a `Folder` of kind `NotFound` where there is none.
pub fn open_disk(path: &Path) -> Result<fs::File, VmmError> {
    let (file, names) = open_plain(path)?;
    if names == 1 { Ok(file) } else { Err(VmmError::DiskAltered { path: path.into(), detail: NOT_ONE_NAME.into() }) }
}

/// Likewise, of a machine that runs: its process may have a name of its own for it, or as many as it likes.
pub fn open_running_disk(path: &Path) -> Result<fs::File, VmmError> {
    open_plain(path).map(|(file, _names)| file)
}

const NOT_ONE_NAME: &str = "it is not a file with one name";

/// With the number of names that it has.
fn open_plain(path: &Path) -> Result<(fs::File, u64), VmmError> {
    let failed = |source| storage_error(path, source);
    let altered = |detail: &str| VmmError::DiskAltered { path: path.into(), detail: detail.into() };
    // Not waiting: somebody may have put a pipe there.
    let opened = fs::File::options().read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let file = match opened {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Err(altered("it is a symbolic link")),
        opened => opened.map_err(failed)?,
    };
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(altered(NOT_ONE_NAME));
    }
    Ok((file, found.nlink()))
}

/// Absent is no error.
pub fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// A path to what has that name in an open folder, however deep that lies. Good for as long as it is open.
pub fn through(folder: &OwnedFd, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))
}

/// A listening socket; an older file of that name is replaced.
pub fn listen(folder: &OwnedFd, name: &str) -> io::Result<UnixListener> {
    let path = through(folder, name);
    remove_file(&path)?;
    UnixListener::bind(path)
}

/// Blocks for no time worth the name: a full backlog is an error, not a wait.
pub fn connect(folder: &Path, name: &str) -> io::Result<UnixStream> {
    let folder = open_folder(folder)?;
    let stream = UnixStream::connect(through(&folder, name))?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// The last lines of a small text file, at most `bytes` of it; empty when there is none.
pub fn tail_text(path: &Path, bytes: usize) -> String {
    String::from_utf8_lossy(&tail(path, bytes).unwrap_or_default()).trim().to_owned()
}

/// The last bytes of a file, however long it is or says that it is: a stranger may have made it so.
pub fn tail(path: &Path, bytes: usize) -> io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    let len = file.metadata()?.len();
    let wanted = len.min(bytes as u64);
    let mut content = vec![0; wanted as usize];
    let read = file.read_at(&mut content, len - wanted)?;
    content.truncate(read);
    Ok(content)
}
