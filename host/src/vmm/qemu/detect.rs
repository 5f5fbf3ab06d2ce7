//! What QEMU this machine has, and whether KVM really runs a guest here. Owns the self-test; the choice is told with its reason.

use super::super::VmmError;
use super::command::Acceleration;
use super::tsc;
use nix::libc;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{io::AsyncReadExt, process::Command, time::timeout};

pub const BINARY: &str = "qemu-system-x86_64";
const VERSION_DEADLINE: Duration = Duration::from_secs(10);
/// A kernel on working KVM has looked for its root after 0.3 s; on a busy machine after some more.
const SELF_TEST_DEADLINE: Duration = Duration::from_secs(4);
/// More than a kernel prints until it looks for its root.
const MOST_SERIAL: usize = 256 * 1024;
/// Only a kernel that has run all its initialisation says this: it has no root to mount.
const SIGN: &[u8] = b"Unable to mount root fs";

/// The outcome of the self-test, for the caller to keep: it holds until the machine or its kernel changes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KvmVerdict {
    pub works: bool,
    pub reason: String,
}

/// The wish for an acceleration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AccelerationChoice {
    /// KVM if a guest boots on it, else TCG.
    #[default]
    Auto,
    Kvm,
    Tcg,
}

/// The program's resolved path: what `/proc/PID/exe` will say.
pub fn find_binary(named: Option<&Path>) -> Result<PathBuf, VmmError> {
    let candidates: Vec<PathBuf> = match named {
        Some(path) => vec![path.into()],
        None => {
            let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
            std::env::split_paths(&path).map(|folder| folder.join(BINARY)).collect()
        }
    };
    candidates
        .iter()
        .find_map(|path| path.canonicalize().ok().filter(|path| path.is_file()))
        .ok_or_else(|| VmmError::ProgramMissing { program: BINARY.into(), hint: "install the package qemu-system-x86".into() })
}

pub async fn version(binary: &Path) -> Result<String, VmmError> {
    let run = Command::new(binary).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match timeout(VERSION_DEADLINE, run).await {
        Err(_) => return Err(VmmError::Timeout { call: "--version", after_ms: VERSION_DEADLINE.as_millis() as u64 }),
        Ok(Err(error)) => return Err(VmmError::Spawn { detail: error.to_string() }),
        Ok(Ok(output)) => output,
    };
    parse_version(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| VmmError::Spawn { detail: format!("{} tells no version", binary.display()) })
}

pub(super) fn parse_version(text: &str) -> Option<String> {
    let word = text.split_once("version ")?.1.split_whitespace().next()?;
    word.starts_with(|first: char| first.is_ascii_digit()).then(|| word.to_owned())
}

/// Decides, measuring only what the decision needs.
pub async fn choose(
    choice: AccelerationChoice,
    known: Option<KvmVerdict>,
    binary: &Path,
    kernel: Option<&Path>,
) -> (Acceleration, String, Option<KvmVerdict>) {
    let verdict = match choice {
        AccelerationChoice::Kvm => return (Acceleration::Kvm, "kvm was asked for".into(), known),
        AccelerationChoice::Tcg => return (emulated().await, "tcg was asked for".into(), known),
        AccelerationChoice::Auto => match known {
            Some(verdict) => verdict,
            None => self_test(binary, kernel).await,
        },
    };
    let acceleration = if verdict.works { Acceleration::Kvm } else { emulated().await };
    (acceleration, verdict.reason.clone(), Some(verdict))
}

async fn emulated() -> Acceleration {
    Acceleration::Tcg { tsc_khz: tokio::task::spawn_blocking(tsc::measure_khz).await.ok().flatten() }
}

/// Boots the kernel on KVM without a root and waits until it misses it.
pub async fn self_test(binary: &Path, kernel: Option<&Path>) -> KvmVerdict {
    let no = |reason: String| KvmVerdict { works: false, reason };
    if let Err(error) = std::fs::File::options().read(true).write(true).open("/dev/kvm") {
        return no(format!("/dev/kvm can't be opened: {error}"));
    }
    let Some(kernel) = kernel else { return no("no kernel to try kvm with yet".into()) };
    let mut command = Command::new(binary);
    command.args(["-M", "microvm,x-option-roms=off,isa-serial=on", "-accel", "kvm", "-cpu", "host", "-m", "128"]);
    command.args(["-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-serial", "stdio", "-kernel"]).arg(kernel);
    command.args(["-append", "console=ttyS0 panic=-1 reboot=t"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    ends_with_us(&mut command);
    let mut child = match command.spawn() {
        Err(error) => return no(format!("the self-test can't be started: {error}")),
        Ok(child) => child,
    };
    let (Some(mut serial), Some(mut words)) = (child.stdout.take(), child.stderr.take()) else {
        return no("the self-test has no serial port".into());
    };
    let mut seen = Vec::new();
    let verdict = match timeout(SELF_TEST_DEADLINE, wait_for_sign(&mut serial, &mut seen)).await {
        Ok(true) => KvmVerdict { works: true, reason: "a guest boots on kvm".into() },
        Ok(false) => {
            let mut text = Vec::new();
            let _partial = timeout(VERSION_DEADLINE, (&mut words).take(400).read_to_end(&mut text)).await;
            // The first line says it; what follows is the abort's own noise.
            let text = String::from_utf8_lossy(&text);
            no(format!("a guest ended early on kvm: {}", text.lines().next().unwrap_or("qemu said nothing")))
        }
        Err(_) => {
            let seconds = SELF_TEST_DEADLINE.as_secs();
            no(format!("/dev/kvm is there, but a guest did not boot on it within {seconds} s ({} bytes printed)", seen.len()))
        }
    };
    // Ends and reaps it; one that ended by itself is reaped all the same.
    let _ended = child.kill().await;
    verdict
}

/// A guest that hangs on KVM would go on for ever if hearth were killed in the middle of the test. The signal comes when the thread that
/// starts it ends: that of a runtime, as here, ends with the process.
#[allow(unsafe_code)]
fn ends_with_us(command: &mut Command) {
    let us = std::process::id();
    let die_with_parent = move || {
        // SAFETY: two system calls on integers, which are safe between fork and exec.
        let gone = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 || libc::getppid() as u32 != us };
        if gone { Err(std::io::Error::from_raw_os_error(libc::ESRCH)) } else { Ok(()) }
    };
    // SAFETY: the closure allocates nothing and takes no lock.
    unsafe { command.pre_exec(die_with_parent) };
}

async fn wait_for_sign(serial: &mut (impl tokio::io::AsyncRead + Unpin), seen: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match serial.read(&mut buffer).await {
            Ok(read) if read > 0 && seen.len() < MOST_SERIAL => seen.extend_from_slice(&buffer[..read]),
            _ => return false,
        }
        if seen.windows(SIGN.len()).any(|window| window == SIGN) {
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found() {
        let text = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright (c) 2003-2022";
        assert_eq!(parse_version(text).as_deref(), Some("7.2.22"));
        assert_eq!(parse_version("version none"), None);
        assert_eq!(parse_version(""), None);
    }

    #[tokio::test]
    async fn a_missing_program_and_a_missing_kernel_are_named() {
        assert!(matches!(find_binary(Some(Path::new("/nowhere/qemu"))), Err(VmmError::ProgramMissing { .. })));
        let verdict = self_test(Path::new("/nowhere/qemu"), None).await;
        assert!(!verdict.works && !verdict.reason.is_empty());
    }

    #[tokio::test]
    async fn the_sign_is_found_over_the_edge_of_two_reads() {
        let (mut near, mut far) = tokio::io::duplex(64);
        let (mut seen, text) = (Vec::new(), b"VFS: Unable to mount root fs on unknown-block(0,0)");
        let write = async {
            for part in text.chunks(7) {
                tokio::io::AsyncWriteExt::write_all(&mut far, part).await.unwrap();
            }
            drop(far);
        };
        assert!(tokio::join!(wait_for_sign(&mut near, &mut seen), write).0);
    }
}
