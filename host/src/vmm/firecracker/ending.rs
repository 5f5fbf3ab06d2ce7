//! How a Firecracker ended: by the kernel's word, by its own log, and by what the guest printed last.
//!
//! Firecracker ends in the same way when a guest reboots, panics (`panic=-1`) or resets: with code 0. Which it was, only the guest tells, on
//! its console: kernels say at their end what they do, with the highest level, so that `quiet` hides none of it. A guest that lies about it
//! lies about itself.

use super::super::{
    VmmError,
    shared::{
        layout::{CONSOLE_LOG, is_short, storage_error, tail, tail_text},
        process::Ended,
    },
};
use super::files::{ERRORS, VMM_LOG};
use domain::vm::Exit;
use nix::sys::signal::Signal;
use std::path::Path;

/// Firecracker's last lines, as much as fits an error.
const TAIL_BYTES: usize = 600;
/// A kernel's last words: a panic prints up to some 4 KiB of registers and stack behind its first line.
const LAST_WORDS: usize = 8 * 1024;
/// Stands in the console's log before each launch.
const LAUNCH: &str = "[hearth: firecracker starts]";
/// Firecracker's line at an end in good order.
const ENDED_WELL: &str = "exiting successfully";
/// Firecracker's code when a thread asked the kernel for what its filter forbids.
const FORBIDDEN_CALL: i32 = 148;

/// What goes into the console's log before a launch, so that the words of one launch are not taken for those of the next.
pub fn launch_line() -> String {
    format!("{LAUNCH}\r\n")
}

/// What the guest said of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    PowerOff,
    Reboot,
    Panic,
}

/// The newest launch's farewell in the console's last words. The last one counts, but for a panic, which is followed by the words of a reboot.
pub fn farewell(console: &str) -> Option<Farewell> {
    let launch = console.rfind(LAUNCH).map_or(console, |at| &console[at..]);
    if launch.contains("Kernel panic - not syncing") {
        return Some(Farewell::Panic);
    }
    let signs = [
        ("hearth: power off", Farewell::PowerOff),
        ("reboot: Power down", Farewell::PowerOff),
        ("reboot: System halted", Farewell::PowerOff),
        ("reboot: Restarting system", Farewell::Reboot),
    ];
    // The agent's power-off is followed by the kernel's word for a reboot, which is what it makes of it.
    if launch.contains("hearth: power off") {
        return Some(Farewell::PowerOff);
    }
    signs.iter().filter_map(|&(sign, farewell)| Some((launch.rfind(sign)?, farewell))).max_by_key(|&(at, _)| at).map(|(_, it)| it)
}

/// Whether the console ends with a kernel's own last line, after which nothing comes. A prompt may stand before it on the line, and its time is
/// missing where the guest's kernel is told to leave it out. Anyone who may write to the console can write this: it is a reason to ask.
pub fn stands_still(console: &str) -> bool {
    let launch = console.rfind(LAUNCH).map_or(console, |at| &console[at..]);
    let last = launch.trim_end().rsplit('\n').next().unwrap_or_default();
    ["reboot: Power down", "reboot: System halted"].iter().any(|sign| {
        let Some(before) = last.strip_suffix(sign) else { return false };
        let time = before.strip_suffix("] ").and_then(|before| before.rsplit('[').next());
        before.is_empty()
            || time.is_some_and(|time| time.contains('.') && time.trim().bytes().all(|b| b == b'.' || b.is_ascii_digit()))
    })
}

/// The end of the console's log. Errors: `Short`.
pub fn last_words_of_guest(folder: &Path) -> Result<String, VmmError> {
    let path = folder.join(CONSOLE_LOG);
    match tail(&path, LAST_WORDS) {
        Err(error) if is_short(&error) => Err(storage_error(&path, error)),
        read => Ok(String::from_utf8_lossy(&read.unwrap_or_default()).into_owned()),
    }
}

/// Why it ended. Errors: `Short`.
pub fn explain(folder: &Path, ended: Ended) -> Result<Exit, VmmError> {
    let console = last_words_of_guest(folder)?;
    Ok(match (ended, farewell(&console)) {
        // A guest that stood still was ended by us.
        (Ended::Signal(_) | Ended::Untold, Some(Farewell::PowerOff)) => Exit::GuestShutdown,
        (Ended::Signal(signal), _) => Exit::Killed { signal },
        (Ended::Code(FORBIDDEN_CALL), _) => {
            // The next launch begins a log of its own.
            tracing::warn!(folder = %folder.display(), words = last_words(folder), "firecracker made a system call that its filter forbids");
            Exit::Seccomp
        }
        (Ended::Code(code), _) if code != 0 => Exit::Failed { code, detail: last_words(folder) },
        // Nobody has its code; one that ended in good order says so.
        (Ended::Untold, _) if !last_words(folder).contains(ENDED_WELL) => Exit::Killed { signal: Signal::SIGKILL as i32 },
        (_, Some(Farewell::PowerOff)) => Exit::GuestShutdown,
        (_, Some(Farewell::Panic)) => Exit::GuestPanic,
        (_, Some(Farewell::Reboot)) => Exit::GuestReboot,
        // Without a word: a triple fault, a reset by hand, or nobody knows.
        (_, None) if last_words(folder).contains(ENDED_WELL) => Exit::GuestReboot,
        (_, None) => Exit::Unknown,
    })
}

/// Firecracker's own last lines, or a hint where there are none.
pub fn last_words(folder: &Path) -> String {
    // The jailer, and Firecracker before it has a log, speak elsewhere.
    let said = [VMM_LOG, ERRORS].map(|name| tail_text(&folder.join(name), TAIL_BYTES));
    said.into_iter().find(|words| !words.is_empty()).unwrap_or_else(|| "firecracker said nothing".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_launchs_farewell_counts() {
        let restart = "[  3.1] reboot: Restarting system\r\n";
        assert_eq!(farewell(restart), Some(Farewell::Reboot));
        assert_eq!(farewell(&format!("hearth: power off\r\n{restart}")), Some(Farewell::PowerOff));
        assert_eq!(farewell("[ 1.0] Kernel panic - not syncing: x\r\n[ 1.1] Rebooting in 1 seconds.."), Some(Farewell::Panic));
        assert_eq!(farewell(&format!("{restart}{}nothing", launch_line())), None);
        assert_eq!(farewell(&format!("Kernel panic - not syncing{}{restart}", launch_line())), Some(Farewell::Reboot));
        assert_eq!(farewell("[ 9.9] reboot: Power down"), Some(Farewell::PowerOff));
        assert_eq!(farewell(""), None);
    }

    #[test]
    fn only_a_guest_at_its_end_stands_still() {
        assert!(stands_still("...\r\n[    2.5] reboot: Power down\r\n"));
        assert!(stands_still("/ # [    2.5] reboot: System halted"));
        assert!(stands_still("reboot: System halted\r\n"));
        assert!(!stands_still("GET /?q=reboot: Power down"));
        assert!(!stands_still("[note] reboot: Power down"));
        assert!(!stands_still("reboot: Power down\r\nlogin: "));
        assert!(!stands_still(&format!("reboot: Power down\r\n{}", launch_line())));
    }

    #[test]
    fn each_end_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let told = |console: &str, log: &str, ended| {
            std::fs::write(folder.path().join(CONSOLE_LOG), console).unwrap();
            std::fs::write(folder.path().join(VMM_LOG), log).unwrap();
            explain(folder.path(), ended).unwrap()
        };
        let well = "2026 [x] Firecracker exiting successfully. exit_code=0";
        let (reboot, panic, off) =
            ("reboot: Restarting system", "Kernel panic - not syncing: attempted to kill init", "reboot: Power down");
        assert_eq!(told(reboot, well, Ended::Code(0)), Exit::GuestReboot);
        assert_eq!(told(panic, well, Ended::Code(0)), Exit::GuestPanic);
        assert_eq!(told(off, "", Ended::Signal(9)), Exit::GuestShutdown);
        assert_eq!(told("login:", "", Ended::Signal(9)), Exit::Killed { signal: 9 });
        assert_eq!(told(reboot, "", Ended::Signal(11)), Exit::Killed { signal: 11 });
        assert!(matches!(told("", "why", Ended::Code(1)), Exit::Failed { code: 1, detail } if detail == "why"));
        assert_eq!(told("", "", Ended::Code(148)), Exit::Seccomp);
        // Of a process that was adopted, only the log tells that it was not killed.
        assert_eq!(told("login:", "", Ended::Untold), Exit::Killed { signal: 9 });
        assert_eq!(told(reboot, well, Ended::Untold), Exit::GuestReboot);
        assert_eq!(told("", well, Ended::Untold), Exit::GuestReboot);
        assert_eq!(told("", "", Ended::Code(0)), Exit::Unknown);
    }
}
