//! What tests with real guests have in common, whatever runs them: where images and agent are, how a skipped test says so, and looks at processes.

// Helpers of tests are not seen as tests by the lint.
#![allow(clippy::unwrap_used)]

use super::contract::Images;
use host::guest::GuestSession;
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

pub fn images() -> Option<(Images, Vec<u8>)> {
    let folder = PathBuf::from(std::env::var_os("HEARTH_IMAGES")?);
    let agent = std::fs::read(std::env::var_os("HEARTH_AGENT")?).ok()?;
    let own = folder.join("hearth-kernel/vmlinux");
    let rootfs = folder.join("busybox/rootfs.ext4");
    let images = if own.exists() && std::env::var_os("HEARTH_DEBIAN_KERNEL").is_none() {
        Images { kernel: own, initrd: None, rootfs }
    } else {
        let modules = folder.join("debian-kernel/modules.cpio");
        Images { kernel: folder.join("debian-kernel/vmlinux"), initrd: Some(modules), rootfs }
    };
    Some((images, agent))
}

/// Said aloud, and counted by the run that names a log for it: libtest would call it passed.
pub fn skipped(test: &str, why: &str) {
    eprintln!("SKIPPED: {test}: {why}");
    if let Some(log) = std::env::var_os("HEARTH_SKIP_LOG") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
        std::io::Write::write_all(&mut file, format!("{test}: {why}\n").as_bytes()).unwrap();
    }
}

pub async fn output(guest: &dyn GuestSession, argv: &[&str]) -> String {
    let request = api::guest::ExecRequest { argv: argv.iter().map(|&word| word.to_owned()).collect(), ..Default::default() };
    let collected = guest.exec(request).await.unwrap().collect(4096).await.unwrap();
    String::from_utf8_lossy(&collected.stdout).trim().to_owned()
}

pub fn kill_9(pid: u32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// How much sooner than others the kernel ends it when memory runs out.
pub fn oom_score_adj(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim().to_owned()
}

/// Whether the process is there and not a zombie.
pub fn lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

pub async fn within(deadline: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let from = Instant::now();
    while !holds() {
        assert!(from.elapsed() < deadline, "{what} within {deadline:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
