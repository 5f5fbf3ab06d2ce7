//! Whether a guest really boots with this Firecracker on this KVM. Owns how it is called for the try and what its outcome is in words; the try
//! itself is every driver's (`shared::selftest`). Who keeps the outcome, and what follows from it, is decided elsewhere.

pub use super::super::shared::selftest::Verdict;

use super::super::shared::selftest::{self, PATIENCE, Patience, Sign, Tried};
use crate::doctor::kvm_remedy;
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::json;
use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};
use tokio::process::Command;

const MEM_MIB: u32 = 128;

/// Why nothing was found out. Another time it may be: not to be kept.
#[derive(Debug, thiserror::Error)]
pub enum Untried {
    #[error("/dev/kvm can't be opened ({source}): {}", kvm_remedy(.source.kind()))]
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
/// at most. Leaves no process and no file, whatever ends it; hearth's own end by `kill -9` too. Cancel: a dropped call ends the process.
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
    let mut command = Command::new(binary);
    command.args(["--no-api", "--config-file"]).arg(path_of(&settings)).current_dir("/");
    Ok(verdict(&selftest::boot(command, patience).await.map_err(start)?))
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

fn verdict(tried: &Tried) -> Verdict {
    let printed = guest_bytes(&tried.console);
    match tried.sign {
        Sign::Seen => {
            let reason = format!("a guest boots with firecracker on kvm, in {} ms", tried.after.as_millis());
            Verdict { works: true, reason }
        }
        Sign::Ended => {
            let words = last_words(&tried.console, &tried.words);
            Verdict::no(format!("firecracker ended before a guest had booted: {words}"))
        }
        Sign::Silence(silent) => Verdict::no(format!(
            "a guest stands still with firecracker ({printed} bytes printed, then nothing for {} s): this kvm runs no guests",
            silent.as_secs_f32()
        )),
        Sign::Late(in_all) => Verdict::no(format!(
            "a guest did not boot with firecracker within {} s ({printed} bytes printed)",
            in_all.as_secs_f32()
        )),
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

#[cfg(test)]
mod tests;
