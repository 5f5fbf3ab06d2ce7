//! QEMU: by hand takes the very arguments that hearth gave (`/proc/PID/cmdline`) with listening sockets of its own in place of hearth's, and
//! without `-S`, which by hand would need a monitor. The disk is a copy of the VM's. Both end with the agent's hello on the same client.

use super::{
    super::{
        http::{Http, text},
        images, say,
        server::Server,
        stats::{Row, Samples},
    },
    Ending, HELLO_WITHIN, OWN_MS, RATIO, ms, start, turns,
};
use anyhow::{Context, Result, ensure};
use host::guest::Guest;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use std::{
    os::{fd::AsRawFd, unix::net::UnixListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// The agent's among the sockets that hearth hands over, in this order.
const AGENT: usize = 2;

pub async fn run() -> Result<Vec<Row>> {
    let dir = tempfile::tempdir()?;
    let list = images::folder()?.join("images.json");
    let more = ["--no-network", "--images", list.to_str().context("a path that is no text")?];
    let server = Server::start(dir.path(), "qemu", &more)?;
    let mut http = Http::connect(&server).await?;
    let kernel = images::busybox(&mut http).await?;
    let body = r#"{"name":"bench","spec":{"vcpus":1,"mem_mib":192,"image":"rootfs","networks":[]}}"#;
    let vm = text(&http.want("POST", "/v1/vms?wait=60", body).await?, "/id")?;
    let (mut ours, mut by_hand, mut own) = (Samples::default(), Samples::default(), Samples::default());
    let mut hand = None;
    for turn in 0..=turns()? {
        let (took, own_ms, pid) = start(&mut http, &vm).await?;
        if hand.is_none() {
            hand = Some(Hand::of(pid, &dir.path().join("data/vms").join(&vm), &dir.path().join("by-hand"))?);
        }
        http.want("POST", "/v1/vms/bench/stop?wait=60", r#"{"force":true}"#).await?;
        let hand = hand.as_ref().context("taken in the first turn")?;
        hand.copy_disk(&dir.path().join("data/vms").join(&vm))?;
        let reference = hand.boot().await?;
        // The first of each fills the caches.
        if turn > 0 {
            ours.add_ms(took);
            own.add(own_ms);
            by_hand.add_ms(reference);
        }
        say(&format!("   {turn}: {:.0} ms, of these own {own_ms:.0} ms, by hand {:.0} ms", ms(took), ms(reference)))?;
    }
    let accelerator = text(&http.want("GET", "/v1/hosts", "").await?, "/items/0/status/acceleration").unwrap_or_default();
    server.stop()?;
    let ratio = ours.median() / by_hand.median();
    Ok(vec![
        Row::of(format!("QEMU by hand to the agent's hello ({accelerator}, {kernel})"), "ms", &by_hand),
        Row::of("API call to the agent's hello", "ms", &ours)
            .beside("by hand", ratio)
            .target("<= 1.10 x by hand", ratio <= RATIO),
        Row::of("of these, hearth before QEMU may run and after the hello", "ms", &own)
            .target("<= 25 ms", own.median() <= OWN_MS),
    ])
}

/// The same QEMU without hearth.
struct Hand {
    program: PathBuf,
    arguments: Vec<String>,
    folder: PathBuf,
}

impl Hand {
    /// Takes the arguments of the process and lays its files beside.
    fn of(pid: u32, vm: &Path, folder: &Path) -> Result<Hand> {
        let program = std::fs::read_link(format!("/proc/{pid}/exe"))?;
        let raw = std::fs::read(format!("/proc/{pid}/cmdline"))?;
        let words = raw.split(|byte| *byte == 0).filter(|word| !word.is_empty()).skip(1);
        let arguments: Vec<String> = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        ensure!(arguments.iter().any(|word| word.contains("fd=")), "no sockets in {arguments:?}");
        // The agent's initramfs and the kernel may be named from the VM's folder.
        ensure!(vm.is_dir(), "{} is no folder", vm.display());
        std::fs::create_dir(folder)?;
        // The empty folder that becomes the process's root.
        let root = arguments.iter().find(|word| word.trim_start_matches("chroot=").starts_with("root-"));
        if let Some(root) = root {
            std::fs::create_dir(folder.join(root.trim_start_matches("chroot=")))?;
        }
        Ok(Hand { program, arguments: arguments.into_iter().filter(|word| word != "-S").collect(), folder: folder.to_owned() })
    }

    fn copy_disk(&self, vm: &Path) -> Result<()> {
        std::fs::copy(vm.join("disk.qcow2"), self.folder.join("disk.qcow2"))?;
        Ok(())
    }

    /// From the start of the process to the agent's hello.
    async fn boot(&self) -> Result<Duration> {
        let mut sockets = Vec::new();
        let mut arguments = self.arguments.clone();
        for (index, name) in ["control", "events", "agent", "console"].iter().enumerate() {
            let path = self.folder.join(name);
            let _ = std::fs::remove_file(&path);
            let listener = UnixListener::bind(&path)?;
            fcntl(&listener, FcntlArg::F_SETFD(FdFlag::empty()))?;
            let word = arguments.iter_mut().find(|word| word.starts_with(&format!("socket,id={name},")));
            let word = word.with_context(|| format!("no socket {name}"))?;
            let old = word.split(',').find(|part| part.starts_with("fd=")).context("no descriptor")?.to_owned();
            *word = word.replace(&old, &format!("fd={}", listener.as_raw_fd()));
            ensure!(index != AGENT || *name == "agent", "the order of sockets");
            sockets.push(listener);
        }
        let log = std::fs::File::create(self.folder.join("qemu.log"))?;
        let began = Instant::now();
        let qemu = Command::new(&self.program)
            .args(&arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let qemu = Ending(qemu);
        let stream = tokio::net::UnixStream::connect(self.folder.join("agent")).await?;
        let guest = Guest::connect(stream, HELLO_WITHIN).await;
        let took = began.elapsed();
        let said = std::fs::read_to_string(self.folder.join("qemu.log")).unwrap_or_default();
        drop(guest.with_context(|| format!("by hand: {said}"))?);
        drop(qemu);
        Ok(took)
    }
}
