//! Ending the guest: asks the init in its own language, and ends the machine by force shortly before the host's deadline.
use crate::{kmsg, machine::PowerOff};
use api::guest::{POWER_OFF_LINE, ShutdownKind};
use nix::{
    mount::{MsFlags, mount},
    sys::{
        reboot::{RebootMode, reboot},
        signal::{Signal, kill},
    },
    unistd::{Pid, sync},
};
use std::{fs, path::Path, time::Duration};
use tokio::time::Instant;

/// Kept back from the deadline for syncing and switching off.
const FORCE_MARGIN: Duration = Duration::from_secs(2);
/// Without an init that does it: between asking all processes to end and making them.
const TERM_GRACE: Duration = Duration::from_secs(3);
/// How often it is looked whether they have ended; there is no event for "no process is left".
const LOOK: Duration = Duration::from_millis(20);
/// systemd(1), SIGNALS: SIGRTMIN+4 starts poweroff.target, SIGRTMIN+5 reboot.target. SIGRTMIN is the image's C library's: 34 with glibc,
/// which systemd is built on. Ours is musl, whose SIGRTMIN is 35: counted from that, a poweroff came out as a reboot.
const GLIBC_SIGRTMIN: i32 = 34;
const SYSTEMD_POWEROFF: i32 = GLIBC_SIGRTMIN + 4;
const SYSTEMD_REBOOT: i32 = GLIBC_SIGRTMIN + 5;

/// Who is PID 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    Systemd,
    Busybox,
    /// Our own keeper: the image has no init.
    Agent,
    Other,
}

impl Init {
    /// By PID 1's executable and first word. A script run by busybox's shell is no busybox init.
    pub fn running() -> Self {
        let exe = fs::read_link("/proc/1/exe").unwrap_or_default();
        let cmdline = fs::read("/proc/1/cmdline").unwrap_or_default();
        let word = cmdline.split(|byte| *byte == 0).next().unwrap_or_default();
        let word = String::from_utf8_lossy(word);
        let exe = exe.file_name().unwrap_or_default().to_string_lossy();
        match (exe.as_ref(), Path::new(word.as_ref()).file_name().and_then(|name| name.to_str())) {
            ("systemd", _) => Self::Systemd,
            ("busybox", Some("init" | "linuxrc")) => Self::Busybox,
            // The rest of an executable whose file the initramfs still holds: `/init`, moved out of sight.
            _ if is_us() => Self::Agent,
            _ => Self::Other,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Busybox => "busybox",
            Self::Agent => "agent",
            Self::Other => "other",
        }
    }
}

fn is_us() -> bool {
    use std::os::unix::fs::MetadataExt;
    let file = |path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    matches!((file("/proc/1/exe"), file("/proc/self/exe")), (Ok(init), Ok(own)) if init == own)
}

/// Does not return in a guest that obeys.
pub async fn run(kind: ShutdownKind, power_off: PowerOff, deadline: Duration) {
    let force_at = Instant::now() + deadline.saturating_sub(FORCE_MARGIN);
    let init = Init::running();
    kmsg::log(&format!("the host asks for {kind:?}; init is {}", init.name()));
    if init == Init::Agent {
        end_processes(force_at.min(Instant::now() + TERM_GRACE)).await;
        return force(kind, power_off);
    }
    if !deadline.is_zero() {
        let last = Last::of(kind, power_off);
        if let Some(line) = last.line {
            kmsg::to_the_host(line);
        }
        ask(init, if last.mode == RebootMode::RB_AUTOBOOT { ShutdownKind::Reboot } else { kind });
        // The init's own end of it ends us, too.
        tokio::time::sleep_until(force_at).await;
    }
    kmsg::log("the init did not do it in time");
    force(kind, power_off);
}

fn ask(init: Init, kind: ShutdownKind) {
    let poweroff = kind == ShutdownKind::Poweroff;
    match init {
        Init::Systemd => {
            let signal = if poweroff { SYSTEMD_POWEROFF } else { SYSTEMD_REBOOT };
            #[allow(unsafe_code)]
            // SAFETY: kill takes numbers only.
            let _ = unsafe { libc::kill(1, signal) };
        }
        // busybox init: SIGUSR2 powers off, SIGTERM reboots (init/init.c).
        Init::Busybox => drop(kill(Pid::from_raw(1), if poweroff { Signal::SIGUSR2 } else { Signal::SIGTERM })),
        Init::Agent | Init::Other => {
            let name = if poweroff { "poweroff" } else { "reboot" };
            let places = ["/sbin", "/usr/sbin", "/bin", "/usr/bin"];
            let program = places.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists());
            if let Some(program) = program
                && let Err(error) = tokio::process::Command::new(&program).spawn()
            {
                kmsg::log(&format!("{} can't be run: {error}", program.display()));
            }
        }
    }
}

/// SIGTERM to all, and waits until they are gone or the time is over.
async fn end_processes(until: Instant) {
    let all = Pid::from_raw(-1);
    let _ = kill(all, Signal::SIGTERM);
    // Shells ignore SIGTERM and heed this.
    let _ = kill(all, Signal::SIGHUP);
    let _ = kill(all, Signal::SIGCONT);
    while others_are_left() && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
    let _ = kill(all, Signal::SIGKILL);
}

/// Processes of users, that is with an executable, but PID 1 and us.
fn others_are_left() -> bool {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else { return false };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != 1 && *pid != own).any(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok())
}

/// The last thing that a machine is told.
#[derive(Debug, PartialEq, Eq)]
struct Last {
    /// What the host must read before it, because the machine's end looks like something else.
    line: Option<&'static str>,
    mode: RebootMode,
}

impl Last {
    fn of(kind: ShutdownKind, power_off: PowerOff) -> Self {
        match (kind, power_off) {
            (ShutdownKind::Reboot, _) => Self { line: None, mode: RebootMode::RB_AUTOBOOT },
            (_, PowerOff::Itself) => Self { line: None, mode: RebootMode::RB_POWER_OFF },
            (_, PowerOff::ByRestart) => Self { line: Some(POWER_OFF_LINE), mode: RebootMode::RB_AUTOBOOT },
        }
    }
}

/// Syncs, makes the root read-only, and switches off.
fn force(kind: ShutdownKind, power_off: PowerOff) {
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    sync();
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    if mount(None::<&str>, "/", None::<&str>, read_only, None::<&str>).is_err() {
        // Something still writes: the kernel's emergency way does not ask it.
        let _ = fs::write("/proc/sysrq-trigger", "u");
    }
    sync();
    let last = Last::of(kind, power_off);
    if let Some(line) = last.line {
        kmsg::to_the_host(line);
    }
    match reboot(last.mode) {
        Ok(never) => match never {},
        Err(error) => kmsg::log(&format!("the machine can't be switched off: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_that_is_a_power_off_says_so_and_no_other_does() {
        let last = |kind, power_off| {
            let last = Last::of(kind, power_off);
            (last.line, last.mode)
        };
        use ShutdownKind::{Poweroff, Reboot};
        assert_eq!(last(Poweroff, PowerOff::Itself), (None, RebootMode::RB_POWER_OFF));
        assert_eq!(last(Reboot, PowerOff::Itself), (None, RebootMode::RB_AUTOBOOT));
        assert_eq!(last(Poweroff, PowerOff::ByRestart), (Some("hearth: power off"), RebootMode::RB_AUTOBOOT));
        assert_eq!(last(Reboot, PowerOff::ByRestart), (None, RebootMode::RB_AUTOBOOT));
    }
}
