//! What QEMU this machine has, and whether KVM really runs a guest with it. Owns how it is called for that try and the choice that follows,
//! which is told with its reason; the try itself is every driver's (`shared::selftest`).

/// The outcome of the self-test.
pub use super::super::shared::selftest::Verdict as KvmVerdict;

use super::super::{
    VmmError,
    shared::selftest::{self, PATIENCE, Patience, Sign, Tried},
};
use super::command::Acceleration;
use super::tsc;
use crate::doctor::kvm_remedy;
use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{process::Command, time::timeout};

pub const BINARY: &str = "qemu-system-x86_64";
const VERSION_DEADLINE: Duration = Duration::from_secs(10);

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
    parse_version(&said(binary, "--version").await?)
        .ok_or_else(|| VmmError::Spawn { detail: format!("{} tells no version", binary.display()) })
}

/// What it says of its options.
pub async fn help(binary: &Path) -> Result<String, VmmError> {
    said(binary, "--help").await
}

async fn said(binary: &Path, call: &'static str) -> Result<String, VmmError> {
    let run = Command::new(binary).arg(call).stdin(Stdio::null()).kill_on_drop(true).output();
    match timeout(VERSION_DEADLINE, run).await {
        Err(_) => Err(VmmError::Timeout { call, after_ms: VERSION_DEADLINE.as_millis() as u64 }),
        Ok(Err(error)) => Err(VmmError::Spawn { detail: error.to_string() }),
        Ok(Ok(output)) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
    }
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

/// Boots the kernel on KVM; see [`selftest::boot`] for how long that takes.
pub async fn self_test(binary: &Path, kernel: Option<&Path>) -> KvmVerdict {
    if let Err(error) = std::fs::File::options().read(true).write(true).open("/dev/kvm") {
        return closed(&error);
    }
    match kernel {
        None => KvmVerdict::no("no kernel to try kvm with yet"),
        Some(kernel) => boot(binary, kernel, PATIENCE).await,
    }
}

fn closed(error: &io::Error) -> KvmVerdict {
    KvmVerdict::no(format!("/dev/kvm can't be opened ({error}): {}", kvm_remedy(error.kind())))
}

async fn boot(binary: &Path, kernel: &Path, patience: Patience) -> KvmVerdict {
    let mut command = Command::new(binary);
    command.args(["-M", "microvm,x-option-roms=off,isa-serial=on", "-accel", "kvm", "-cpu", "host", "-m", "128"]);
    command.args(["-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-serial", "stdio", "-kernel"]).arg(kernel);
    command.args(["-append", "console=ttyS0 panic=-1 reboot=t"]);
    match selftest::boot(command, patience).await {
        Ok(tried) => verdict(&tried),
        Err(error) => KvmVerdict::no(format!("the self-test can't be started: {error}")),
    }
}

fn verdict(tried: &Tried) -> KvmVerdict {
    let printed = tried.console.len();
    match tried.sign {
        Sign::Seen => KvmVerdict { works: true, reason: "a guest boots on kvm".into() },
        Sign::Ended => {
            // The first line says it; what follows is the abort's own noise.
            let text = String::from_utf8_lossy(&tried.words);
            KvmVerdict::no(format!("a guest ended early on kvm: {}", text.lines().next().unwrap_or("qemu said nothing")))
        }
        Sign::Silence(silent) => KvmVerdict::no(format!(
            "/dev/kvm is there, but a guest stands still on it ({printed} bytes printed, then nothing for {} s)",
            silent.as_secs_f32()
        )),
        Sign::Late(in_all) => KvmVerdict::no(format!(
            "/dev/kvm is there, but a guest did not boot on it within {} s ({printed} bytes printed)",
            in_all.as_secs_f32()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::shared::selftest::tests::{SHORT, program};
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

    #[test]
    fn a_kvm_that_is_not_permitted_is_told_with_what_to_do() {
        let told = closed(&io::Error::from_raw_os_error(nix::libc::EACCES));
        let remedy = "run as root (the jailer needs it), or put the user into the group kvm: usermod -aG kvm USER";
        assert_eq!(told, KvmVerdict::no(format!("/dev/kvm can't be opened (Permission denied (os error 13)): {remedy}")));
    }

    async fn verdict_of(body: &str) -> KvmVerdict {
        let folder = tempfile::tempdir().unwrap();
        boot(&program(folder.path(), body), Path::new("/kernel"), SHORT).await
    }

    /// Longer than any silence that is borne.
    #[tokio::test]
    async fn a_slow_kvm_is_not_called_broken() {
        let told = verdict_of("for i in 1 2 3 4 5; do sleep 0.5; echo $i; done; echo 'Unable to mount root fs'; sleep 600").await;
        assert_eq!(told, KvmVerdict { works: true, reason: "a guest boots on kvm".into() });
    }

    #[tokio::test]
    async fn a_kvm_without_guests_is_told_from_a_qemu_that_gave_up() {
        let still = verdict_of("printf abc; exec sleep 600").await;
        assert!(
            !still.works && still.reason.ends_with("stands still on it (3 bytes printed, then nothing for 1.5 s)"),
            "{still:?}"
        );
        let early = verdict_of("printf 'no such cpu\\nabort\\n' >&2; exit 1").await;
        assert_eq!(early, KvmVerdict::no("a guest ended early on kvm: no such cpu"));
        assert_eq!(verdict_of("exit 0").await, KvmVerdict::no("a guest ended early on kvm: qemu said nothing"));
        let late = verdict_of("while :; do sleep 0.2; echo again; done").await;
        assert!(!late.works && late.reason.contains("did not boot on it within 4 s"), "{late:?}");
    }
}
