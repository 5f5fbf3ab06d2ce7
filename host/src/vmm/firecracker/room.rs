//! Where a Firecracker process lives: its jail, or for one without a jail a folder of the VM. Owns the making and the removal of that folder.

use super::super::{
    VmmError,
    shared::layout::{self, storage_error},
};
use super::config::Paths;
use super::files::{API_SOCKET, DISK, ROOM_INITRD, ROOM_KERNEL, RUN, VMM_LOG, VSOCK_SOCKET};
use super::jail::{File, Jail};
use std::path::{Path, PathBuf};

/// What a launch needs of it.
#[derive(Debug)]
pub struct Room {
    /// Where the program is started.
    pub works_in: PathBuf,
    /// Where its files are, as the process sees it.
    pub paths: Paths,
    /// The process's arguments, the program's own name first.
    pub arguments: Vec<String>,
    pub program: PathBuf,
}

/// The arguments that the process gets either way; relative names, since it works in its room.
fn own_arguments(log: &str) -> [&str; 6] {
    ["--api-sock", API_SOCKET, "--log-path", log, "--level", "Info"]
}

/// A jail with the VM's files in it. The disk and the log must be there. Blocks.
pub fn jailed(jail: &Jail, folder: &Path, kernel: &Path, initrd: &Path) -> Result<Room, VmmError> {
    let shared = |source: &Path, name: &str| File::Shared { source: source.into(), name: name.into() };
    let own = |name: &str| File::Own { source: folder.join(name), name: name.into() };
    let files = [shared(kernel, ROOM_KERNEL), shared(initrd, ROOM_INITRD), own(DISK), own(VMM_LOG)];
    jail.prepare(&files)?;
    let mut arguments = vec!["jailer".to_owned()];
    arguments.extend(jail.arguments(own_arguments(VMM_LOG)));
    let paths = Paths { kernel: ROOM_KERNEL.into(), initrd: ROOM_INITRD.into(), disk: DISK.into(), vsock: VSOCK_SOCKET.into() };
    Ok(Room { works_in: folder.into(), paths, arguments, program: jail.jailer().into() })
}

/// A folder in the VM's. Blocks.
pub fn open(binary: &Path, id: &str, folder: &Path, kernel: &Path, initrd: &Path) -> Result<Room, VmmError> {
    let run = folder.join(RUN);
    remove_open(folder)?;
    layout::make_folder(&run)?;
    let log = format!("../{VMM_LOG}");
    let mut arguments = vec!["firecracker".to_owned(), "--id".into(), id.to_owned()];
    arguments.extend(own_arguments(&log).map(str::to_owned));
    let paths = Paths { kernel: kernel.into(), initrd: initrd.into(), disk: folder.join(DISK), vsock: VSOCK_SOCKET.into() };
    Ok(Room { works_in: run, paths, arguments, program: binary.into() })
}

/// The folder of a process without a jail, with all in it; absent is no error.
pub fn remove_open(folder: &Path) -> Result<(), VmmError> {
    let run = folder.join(RUN);
    match std::fs::remove_dir_all(&run) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(storage_error(&run, error)),
        _ => Ok(()),
    }
}
