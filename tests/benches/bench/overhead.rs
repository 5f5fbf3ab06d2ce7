//! What the platform adds to a boot: from the API call to the agent's hello, beside the same QEMU started by hand, in turns.
//!
//! By hand takes the very arguments that hearth gave (`/proc/PID/cmdline`) with listening sockets of its own in place of hearth's, and
//! without `-S`, which by hand would need a monitor. The disk is a copy of the VM's. Both end with the agent's hello on the same client.

use super::{
    http::{Http, text},
    images, say,
    server::Server,
    stats::{Row, Samples},
};
use anyhow::{Context, Result, ensure};
use host::guest::Guest;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde_json::Value;
use std::{
    os::{fd::AsRawFd, unix::net::UnixListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

const TURNS: usize = 12;
/// An emulated guest on a busy machine.
const HELLO_WITHIN: Duration = Duration::from_secs(120);
/// FIGURES.
const RATIO: f64 = 1.10;
const OWN_MS: f64 = 25.0;
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
    for turn in 0..=TURNS {
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

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

/// How long the call took, how much of it was neither QEMU's nor the guest's, and the process.
async fn start(http: &mut Http, vm: &str) -> Result<(Duration, f64, u32)> {
    let called_at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e3;
    let before = Instant::now();
    let started = http.want("POST", &format!("/v1/vms/{vm}/start?wait=120"), "{}").await?;
    let took = before.elapsed();
    ensure!(text(&started, "/status/state")? == "running", "{started}");
    let pid = started.pointer("/status/vmm/pid").and_then(Value::as_u64).context("no pid")?;
    let operations = http.want("GET", "/v1/operations?limit=100", "").await?;
    let newest = operations["items"].as_array().context("no operations")?.iter().find(|operation| {
        operation["kind"] == "vm-start"
            && operation["status"] == "succeeded"
            && stamp(operation, "/created_at") >= called_at.floor()
    });
    let newest = newest.with_context(|| format!("no operation of this start: {operations}"))?;
    let boot = newest["steps"].as_array().context("no steps")?.iter().find(|step| step["name"] == "boot").context("no boot")?;
    let before_boot = stamp(boot, "/started_at") - called_at;
    let after_hello = called_at + ms(took) - stamp(newest, "/updated_at");
    Ok((took, before_boot + after_hello, pid.try_into()?))
}

/// Milliseconds since 1970; the API's times have no more.
fn stamp(value: &Value, pointer: &str) -> f64 {
    let parsed = value.pointer(pointer).and_then(Value::as_str).and_then(|text| text.parse::<jiff::Timestamp>().ok());
    parsed.map_or(f64::NAN, |at| at.as_millisecond() as f64)
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

/// No process outlives its turn.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
