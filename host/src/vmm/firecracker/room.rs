//! Where a Firecracker process lives: its jail, or for one without a jail a folder of the VM. Owns the making and the removal of that folder.

use super::super::{
    VmmError,
    shared::{
        drives,
        layout::{self, storage_error},
        seed::SEED,
    },
    snapshot::{MEMORY, STATE},
};
use super::config::Paths;
use super::files::{
    API_SOCKET, DISK, METRICS, RESTORED_DISK, ROOM_INITRD, ROOM_KERNEL, ROOM_MEMORY, ROOM_STATE, RUN, VMM_LOG, VSOCK_SOCKET,
};
use super::jail::{File, Jail};
use domain::vm::Drives;
use std::path::{Path, PathBuf};

/// What a launch brings.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    /// The VM's own; its disk, its log and its file of metrics must be there, its seed where it has one, and its restored disk where it goes on from a snapshot.
    pub folder: &'a Path,
    pub kernel: &'a Path,
    pub initrd: &'a Path,
    pub has_seed: bool,
    /// Their files must be there, too.
    pub drives: &'a Drives,
    /// The folder of the snapshot that the machine goes on from.
    pub from: Option<&'a Path>,
}

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
fn own_arguments<'a>(log: &'a str, metrics: &'a str) -> [&'a str; 8] {
    ["--api-sock", API_SOCKET, "--log-path", log, "--level", "Info", "--metrics-path", metrics]
}

/// A jail with the VM's files in it. Blocks.
pub fn jailed(jail: &Jail, files: &Files<'_>) -> Result<Room, VmmError> {
    let shared = |source: &Path, name: &str| File::Shared { source: source.into(), name: name.into() };
    let own = |source: &str, name: &str| File::Own { source: files.folder.join(source), name: name.into() };
    let disk = own(if files.from.is_some() { RESTORED_DISK } else { DISK }, DISK);
    let mut inside = vec![shared(files.kernel, ROOM_KERNEL), shared(files.initrd, ROOM_INITRD), disk, own(VMM_LOG, VMM_LOG)];
    inside.push(own(METRICS, METRICS));
    inside.extend(files.has_seed.then(|| own(SEED, SEED)));
    inside.extend(files.drives.all().iter().map(|drive| drives::file(drive.number)).map(|name| own(&name, &name)));
    if let Some(from) = files.from {
        inside.extend([shared(&from.join(STATE), ROOM_STATE), shared(&from.join(MEMORY), ROOM_MEMORY)]);
    }
    jail.prepare(&inside)?;
    let mut arguments = vec!["jailer".to_owned()];
    arguments.extend(jail.arguments(own_arguments(VMM_LOG, METRICS)));
    let paths = Paths {
        kernel: ROOM_KERNEL.into(),
        initrd: ROOM_INITRD.into(),
        disk: DISK.into(),
        seed: files.has_seed.then(|| SEED.into()),
        drives: PathBuf::new(),
        vsock: VSOCK_SOCKET.into(),
    };
    Ok(Room { works_in: files.folder.into(), paths, arguments, program: jail.jailer().into() })
}

/// A folder in the VM's, for a machine that boots: only in a jail does one go on from a snapshot. Blocks.
pub fn open(binary: &Path, id: &str, files: &Files<'_>) -> Result<Room, VmmError> {
    let run = files.folder.join(RUN);
    remove_open(files.folder)?;
    layout::make_folder(&run)?;
    let (log, metrics) = (format!("../{VMM_LOG}"), format!("../{METRICS}"));
    let mut arguments = vec!["firecracker".to_owned(), "--id".into(), id.to_owned()];
    arguments.extend(own_arguments(&log, &metrics).map(str::to_owned));
    let paths = Paths {
        kernel: files.kernel.into(),
        initrd: files.initrd.into(),
        disk: files.folder.join(DISK),
        seed: files.has_seed.then(|| files.folder.join(SEED)),
        drives: files.folder.into(),
        vsock: VSOCK_SOCKET.into(),
    };
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
