//! How QEMU ended, by its events and its last words.

use super::super::{
    VmmError,
    shared::{
        layout::{is_short, storage_error, tail_text},
        process::Ended,
    },
};
use super::files::{EVENTS_LOG, VMM_LOG};
use super::qmp::{self, Farewell};
use domain::vm::Exit;
use nix::{libc, sys::signal::Signal};
use std::path::Path;

/// QEMU's last lines, as much as fits an error.
const TAIL_BYTES: usize = 600;

/// Why it ended: QEMU's own events first, then the status. A process that is not our child gives no status; it ran and left no event, and
/// QEMU leaves one on every way out but a deadly signal, so it is taken as killed by SIGKILL.
///
/// Errors: `Short`.
pub fn explain(folder: &Path, ended: Ended) -> Result<Exit, VmmError> {
    let path = folder.join(EVENTS_LOG);
    let events = match std::fs::read(&path) {
        Err(error) if is_short(&error) => return Err(storage_error(&path, error)),
        read => read.unwrap_or_default(),
    };
    Ok(match (qmp::farewell(&String::from_utf8_lossy(&events)), ended) {
        (Some(Farewell::Panic), _) => Exit::GuestPanic,
        (Some(Farewell::Shutdown), _) => Exit::GuestShutdown,
        (Some(Farewell::Reset), _) => Exit::GuestReboot,
        (Some(Farewell::Told), _) => Exit::Killed { signal: Signal::SIGTERM as i32 },
        // What the kernel sends for a system call that the filter refuses.
        (None, Ended::Signal(libc::SIGSYS)) => Exit::Seccomp,
        (None, Ended::Signal(signal)) => Exit::Killed { signal },
        (None, Ended::Code(0)) => Exit::Unknown,
        (None, Ended::Code(code)) => Exit::Failed { code, detail: last_words(folder) },
        (None, Ended::Untold) => Exit::Killed { signal: Signal::SIGKILL as i32 },
    })
}

/// QEMU's own last lines, or a hint where there are none.
pub fn last_words(folder: &Path) -> String {
    let tail = tail_text(&folder.join(VMM_LOG), TAIL_BYTES);
    if tail.is_empty() { "qemu said nothing".into() } else { tail }
}
