//! Whether a guest really boots with this Firecracker on this KVM. Owns the try and its sign; who keeps the outcome, and what follows from
//! it, is decided elsewhere.
//!
//! A KVM that is there and does not run guests (a VM in a VM without help of the hardware) answers every call of the API well while its guest
//! stands still: only a guest that prints something tells. The waiting for the sign is as in `qemu::detect`, whose sign it is.

use nix::{
    libc,
    sys::memfd::{MFdFlags, memfd_create},
};
use serde_json::json;
use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::timeout,
};

/// How long a guest may take. One that stands still says nothing at all; one that is only slow goes on printing: in a KVM under software
/// emulation, on a busy machine, it took up to 15 s with pauses of up to 2.7 s (measured). On working hardware it has looked for its root
/// after 0.3 s.
const PATIENCE: Patience = Patience { silent: Duration::from_secs(5), in_all: Duration::from_secs(30) };
/// How long one that ended may take to hand over its last words.
const WORDS_WITHIN: Duration = Duration::from_secs(1);
/// More than a kernel prints until it looks for its root.
const MOST_SERIAL: usize = 256 * 1024;
/// Only a kernel that has run all its initialisation says this: it has no root to mount.
const SIGN: &[u8] = b"Unable to mount root fs";
const MEM_MIB: u32 = 128;

#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Without a word.
    silent: Duration,
    in_all: Duration,
}

/// The outcome, for the caller to keep: it holds until the machine, its kernel or Firecracker changes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Verdict {
    pub works: bool,
    /// A sentence, for people.
    pub reason: String,
}

/// Why nothing was found out. Another time it may be: not to be kept.
#[derive(Debug, thiserror::Error)]
pub enum Untried {
    #[error("/dev/kvm can't be opened: {source}")]
    Kvm {
        #[source]
        source: io::Error,
    },
    #[error("no kernel to try firecracker with yet")]
    NoKernel,
    #[error("the self-test of firecracker can't be started: {source}")]
    Start {
        #[source]
        source: io::Error,
    },
}

/// Boots the kernel without a root and waits until it misses it: well under a second where all is well, five where a guest stands still, thirty
/// at most. Leaves no process and no file, whatever ends it; hearth's
/// own end by `kill -9` too. Cancel: a dropped call ends the process.
///
/// # Errors
/// Nothing could be tried; see [`Untried`].
pub async fn run(binary: &Path, kernel: Option<&Path>) -> Result<Verdict, Untried> {
    File::options().read(true).write(true).open("/dev/kvm").map_err(|source| Untried::Kvm { source })?;
    let kernel = kernel.ok_or(Untried::NoKernel)?;
    boot(binary, kernel, PATIENCE).await
}

async fn boot(binary: &Path, kernel: &Path, patience: Patience) -> Result<Verdict, Untried> {
    let start = |source| Untried::Start { source };
    let settings = settings(kernel).map_err(start)?;
    let begun = Instant::now();
    let mut child = spawn(binary, &path_of(&settings)).map_err(start)?;
    let verdict = watch(&mut child, begun, patience).await;
    // Ends and reaps it; one that ended by itself is reaped all the same.
    let _ended = child.kill().await;
    Ok(verdict)
}

/// What the microVM is to be, in memory: a file in a folder would stay behind if hearth were killed in the middle of the test.
fn settings(kernel: &Path) -> io::Result<File> {
    let kernel = std::path::absolute(kernel)?;
    let text = json!({
        "boot-source": { "kernel_image_path": kernel, "boot_args": "console=ttyS0 reboot=k panic=-1" },
        "drives": [],
        "machine-config": { "vcpu_count": 1, "mem_size_mib": MEM_MIB },
    });
    let mut file = File::from(memfd_create(c"hearth-selftest", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(text.to_string().as_bytes())?;
    Ok(file)
}

/// As another process of ours may open it, for as long as we hold it.
fn path_of(file: &File) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into()
}

fn spawn(binary: &Path, settings: &Path) -> io::Result<Child> {
    let mut command = Command::new(binary);
    command.args(["--no-api", "--config-file"]).arg(settings).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    ends_with_us(&mut command);
    command.spawn()
}

/// A guest that hangs would go on for ever if hearth were killed in the middle of the test. The signal comes when the thread that starts it
/// ends: that of a runtime, as here, ends with the process.
#[allow(unsafe_code)]
fn ends_with_us(command: &mut Command) {
    let us = std::process::id();
    let die_with_parent = move || {
        // SAFETY: two system calls on integers, which are safe between fork and exec.
        let gone = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 || libc::getppid().cast_unsigned() != us };
        if gone { Err(io::Error::from_raw_os_error(libc::ESRCH)) } else { Ok(()) }
    };
    // SAFETY: the closure allocates nothing and takes no lock.
    unsafe { command.pre_exec(die_with_parent) };
}

async fn watch(child: &mut Child, begun: Instant, patience: Patience) -> Verdict {
    let no = |reason: String| Verdict { works: false, reason };
    let (Some(mut serial), Some(mut words)) = (child.stdout.take(), child.stderr.take()) else {
        return no("the self-test of firecracker has no console".into());
    };
    let mut seen = Vec::new();
    let waited = timeout(patience.in_all, wait_for_sign(&mut serial, &mut seen, patience.silent)).await;
    let printed = guest_bytes(&seen);
    match waited {
        Ok(Waited::Sign) => {
            let reason = format!("a guest boots with firecracker on kvm, in {} ms", begun.elapsed().as_millis());
            Verdict { works: true, reason }
        }
        Ok(Waited::Ended) => {
            let mut text = Vec::new();
            let _partial = timeout(WORDS_WITHIN, (&mut words).take(4096).read_to_end(&mut text)).await;
            no(format!("firecracker ended before a guest had booted: {}", last_words(&seen, &text)))
        }
        Ok(Waited::Silence) => {
            let seconds = patience.silent.as_secs_f32();
            no(format!(
                "a guest stands still with firecracker ({printed} bytes printed, then nothing for {seconds} s): this kvm runs no guests"
            ))
        }
        Err(_) => {
            let seconds = patience.in_all.as_secs_f32();
            no(format!("a guest did not boot with firecracker within {seconds} s ({printed} bytes printed)"))
        }
    }
}

/// Firecracker's log goes where the console goes, a line each with the time and the instance's name.
fn is_log(line: &str) -> bool {
    line.contains("[anonymous-instance:")
}

fn guest_bytes(seen: &[u8]) -> usize {
    String::from_utf8_lossy(seen).lines().filter(|line| !is_log(line)).map(str::len).sum()
}

/// Why it gave up: the last error of its log, else what it said on stderr.
fn last_words(seen: &[u8], stderr: &[u8]) -> String {
    let (seen, stderr) = (String::from_utf8_lossy(seen), String::from_utf8_lossy(stderr));
    let lines = || seen.lines().chain(stderr.lines()).map(str::trim).filter(|line| !line.is_empty());
    let told = lines().rfind(|line| line.to_ascii_lowercase().contains("error")).or_else(|| lines().next_back());
    let told = told.map(|line| line.split_once("] ").map_or(line, |(_, rest)| rest));
    told.unwrap_or("it said nothing").chars().filter(|c| !c.is_control()).take(200).collect()
}

#[derive(Debug, PartialEq, Eq)]
enum Waited {
    Sign,
    Ended,
    Silence,
}

async fn wait_for_sign(serial: &mut (impl AsyncRead + Unpin), seen: &mut Vec<u8>, silent: Duration) -> Waited {
    let mut buffer = [0; 4096];
    loop {
        match timeout(silent, serial.read(&mut buffer)).await {
            Err(_) => return Waited::Silence,
            Ok(Ok(read)) if read > 0 && seen.len() < MOST_SERIAL => {
                seen.extend_from_slice(buffer.get(..read).unwrap_or_default())
            }
            Ok(_) => return Waited::Ended,
        }
        if seen.windows(SIGN.len()).any(|window| window == SIGN) {
            return Waited::Sign;
        }
    }
}

#[cfg(test)]
mod tests;
