//! Making the held process of a launch, whichever VMM it is to be: forked, written down, settled. Owns the order of these steps and their
//! undoing: on an error nothing is left. Does not know the program nor what it needs in the VM's folder.

use super::super::{VmmError, limits::Needs};
use super::{
    Ground,
    gate::{self, Gate, Program},
    layout, process,
    settle::settle,
};
use domain::{
    Attempt, VmId,
    vm::{Driver, Machine},
};
use std::{
    ffi::CString,
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::Path,
};

/// A held process: what it is known by, and what it is watched and let go with.
pub type Held = (Machine, OwnedFd, Gate);

/// What is written down of the process, and what it may use.
#[derive(Debug)]
pub struct Launch<'a> {
    pub vm: VmId,
    pub attempt: Attempt,
    pub driver: Driver,
    /// The VMM's program, by which its process will be known; another one may be started first.
    pub executable: &'a Path,
    pub version: &'a str,
    pub needs: Needs,
}

/// Makes the process and holds it. `program` makes what it needs and says how it is started; `unmake` removes that, or the part of it that
/// is there. Blocks.
pub fn hold(
    ground: &Ground,
    launch: &Launch,
    program: impl FnOnce(&Path) -> Result<Program, VmmError>,
    unmake: impl Fn(&Path),
) -> Result<Held, VmmError> {
    let folder = ground.folder(launch.vm);
    layout::make_folder(&folder)?;
    let program = program(&folder).inspect_err(|_| unmake(&folder))?;
    let held = gate::hold(&program);
    // From here on only the new process listens: were a copy of a socket left here, connecting would succeed after its end.
    drop(program);
    let (pid, pidfd, gate) = held.inspect_err(|_| unmake(&folder))?;
    match record(launch, pid).and_then(|machine| settle(ground, launch.vm, &machine, &launch.needs).map(|()| machine)) {
        Ok(machine) => Ok((machine, pidfd, gate)),
        Err(error) => {
            // Without its gate it ends at once by itself.
            drop(gate);
            process::reap_when_gone(&pidfd);
            unmake(&folder);
            Err(error)
        }
    }
}

fn record(launch: &Launch, pid: u32) -> Result<Machine, VmmError> {
    let gone = || VmmError::EndedAtStart { detail: format!("no process {pid} ({})", launch.vm) };
    let start_ticks = process::stat(pid).ok_or_else(gone)?.start_ticks;
    let executable = launch.executable.to_string_lossy().into_owned();
    let (driver, version) = (launch.driver, launch.version.to_owned());
    Ok(Machine { launch: launch.attempt, driver, pid, start_ticks, executable, version })
}

/// The VMM's program was there when hearth started; exec would only say "no such file", and only after the VM's state has moved on.
pub fn still_there(binary: &Path, program: &str, remedy: &str) -> Result<(), VmmError> {
    if binary.is_file() {
        return Ok(());
    }
    let hint = format!("it was {} when hearth started; {remedy}", binary.display());
    Err(VmmError::ProgramMissing { program: program.into(), hint })
}

/// A word of a command line.
pub fn word(bytes: impl AsRef<[u8]>) -> Result<CString, VmmError> {
    CString::new(bytes.as_ref()).map_err(|_| VmmError::Spawn { detail: "an argument holds a zero byte".into() })
}

/// Nothing of hearth's own environment.
pub fn environment() -> Vec<CString> {
    vec![c"PATH=/usr/bin:/bin".into(), c"LANG=C".into()]
}

/// A log in the VM's folder, to write to its end; made if it is not there.
pub fn log(folder: &Path, name: &str) -> io::Result<File> {
    File::options().create(true).append(true).mode(0o600).open(folder.join(name))
}
