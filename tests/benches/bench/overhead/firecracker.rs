//! Firecracker, where HEARTH_FIRECRACKER and HEARTH_JAILER name it and its guests boot: by hand is the program alone, without a jail and
//! without its API, with all that hearth told it (`firecracker.json` in the VM's folder) as its configuration file, and a copy of the VM's disk.
//! Also what hearth and the process take of memory beside the guest's.

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
use host::{guest::Guest, vmm::firecracker::vsock};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Between two tries at the agent by hand.
const AGAIN: Duration = Duration::from_millis(2);
const MEM_MIB: u64 = 192;
/// At once, for what one costs the server.
const MANY: usize = 8;
/// FIGURES: hearth's own memory for an idle VM.
const OWN_KIB: f64 = 256.0;

pub async fn run() -> Result<Vec<Row>> {
    let Some(program) = std::env::var_os("HEARTH_FIRECRACKER").map(PathBuf::from) else {
        say("   SKIPPED: HEARTH_FIRECRACKER names no Firecracker")?;
        return Ok(Vec::new());
    };
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), "firecracker", &["--no-network"])?;
    let mut http = Http::connect(&server).await?;
    let kernel = images::busybox(&mut http).await?;
    let vm = create(&mut http, "bench").await?;
    let folder = dir.path().join("data/vms").join(&vm);
    let (mut ours, mut by_hand, mut own) = (Samples::default(), Samples::default(), Samples::default());
    let (mut jailed, mut bare) = (Samples::default(), Samples::default());
    let mut hand = None;
    for turn in 0..=turns()? {
        let (took, own_ms, pid) = start(&mut http, &vm).await?;
        let hand = match &mut hand {
            Some(hand) => hand,
            none => none.insert(Hand::of(&program, pid, &folder, &dir.path().join("by-hand"))?),
        };
        let kib = beside_guest_kib(pid)?;
        http.want("POST", "/v1/vms/bench/stop?wait=60", r#"{"force":true}"#).await?;
        hand.copy_disk(&folder)?;
        let (reference, hand_kib) = hand.boot().await?;
        // The first of each fills the caches.
        if turn > 0 {
            ours.add_ms(took);
            own.add(own_ms);
            by_hand.add_ms(reference);
            jailed.add(kib);
            bare.add(hand_kib);
        }
        say(&format!("   {turn}: {:.0} ms, of these own {own_ms:.0} ms, by hand {:.0} ms", ms(took), ms(reference)))?;
    }
    let each_kib = many(&mut http, &server).await?;
    server.stop()?;
    let ratio = ours.median() / by_hand.median();
    Ok(vec![
        Row::of(format!("Firecracker by hand to the agent's hello ({kernel})"), "ms", &by_hand),
        Row::of("API call to the agent's hello, jailed", "ms", &ours)
            .beside("by hand", ratio)
            .target("<= 1.10 x by hand", ratio <= RATIO),
        Row::of("of these, hearth before Firecracker may run and after the hello", "ms", &own)
            .target("<= 25 ms", own.median() <= OWN_MS),
        Row::of("memory of the process by hand, the guest's apart", "KiB", &bare),
        Row::of("memory of the jailed process, the guest's apart", "KiB", &jailed)
            .beside("by hand", jailed.median() / bare.median()),
        Row::one(format!("memory of the server a VM, {MANY} at once"), "KiB", each_kib).target("<= 256 KiB", each_kib <= OWN_KIB),
    ])
}

async fn create(http: &mut Http, name: &str) -> Result<String> {
    let body = json!({"name": name, "spec": {"vcpus": 1, "mem_mib": MEM_MIB, "image": "rootfs", "networks": []}});
    text(&http.want("POST", "/v1/vms?wait=60", &body.to_string()).await?, "/id")
}

/// What the server grows by with each VM that runs.
async fn many(http: &mut Http, server: &Server) -> Result<f64> {
    let before = server.rss_kib()?;
    for number in 0..MANY {
        let vm = create(http, &format!("many-{number}")).await?;
        start(http, &vm).await?;
    }
    let after = server.rss_kib()?;
    for number in 0..MANY {
        http.want("POST", &format!("/v1/vms/many-{number}/stop?wait=60"), r#"{"force":true}"#).await?;
    }
    Ok((after - before) / MANY as f64)
}

/// What of a process is resident, but for its largest mapping: the guest's memory.
fn beside_guest_kib(pid: u32) -> Result<f64> {
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps"))?;
    let kib = |line: &str, field: &str| -> Option<f64> { line.strip_prefix(field)?.trim().trim_end_matches(" kB").parse().ok() };
    let (mut size, mut largest, mut of_largest, mut all) = (0.0, 0.0, 0.0, 0.0);
    for line in smaps.lines() {
        if let Some(kib) = kib(line, "Size:") {
            size = kib;
        }
        if let Some(kib) = kib(line, "Rss:") {
            all += kib;
            if size > largest {
                (largest, of_largest) = (size, kib);
            }
        }
    }
    ensure!(largest >= (MEM_MIB * 1024) as f64, "no mapping of {pid} is as large as its guest's memory");
    Ok(all - of_largest)
}

/// The same Firecracker without hearth.
struct Hand {
    program: PathBuf,
    folder: PathBuf,
}

impl Hand {
    /// Takes the configuration of the running machine and the files that it names.
    fn of(program: &Path, pid: u32, vm: &Path, folder: &Path) -> Result<Hand> {
        std::fs::create_dir(folder)?;
        let told: Value = serde_json::from_slice(&std::fs::read(vm.join("firecracker.json"))?)?;
        for pointer in ["/boot/kernel_image_path", "/boot/initrd_path"] {
            let name = text(&told, pointer)?;
            std::fs::copy(format!("/proc/{pid}/root/{name}"), folder.join(&name))
                .with_context(|| format!("{pointer}: {name}"))?;
        }
        let config = json!({
            "machine-config": told["machine"],
            "boot-source": told["boot"],
            "drives": [told["root"]],
            "vsock": told["vsock"],
            "balloon": told["balloon"],
        });
        std::fs::write(folder.join("config.json"), config.to_string())?;
        Ok(Hand { program: program.to_owned(), folder: folder.to_owned() })
    }

    fn copy_disk(&self, vm: &Path) -> Result<()> {
        std::fs::copy(vm.join("disk.raw"), self.folder.join("disk.raw"))?;
        Ok(())
    }

    /// From the start of the process to the agent's hello; and its memory beside the guest's.
    async fn boot(&self) -> Result<(Duration, f64)> {
        let socket = self.folder.join("v.sock");
        let _ = std::fs::remove_file(&socket);
        let log = std::fs::File::create(self.folder.join("log"))?;
        let began = Instant::now();
        let process = Command::new(&self.program)
            .args(["--no-api", "--config-file", "config.json"])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let process = Ending(process);
        let stream = loop {
            match vsock::connect(&socket, api::guest::VSOCK_PORT, HELLO_WITHIN).await {
                Ok(stream) => break stream,
                Err(_) if began.elapsed() < HELLO_WITHIN => tokio::time::sleep(AGAIN).await,
                Err(error) => {
                    let said = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                    return Err(error).with_context(|| format!("by hand: {said}"));
                }
            }
        };
        let guest = Guest::connect(stream, HELLO_WITHIN).await?;
        let took = began.elapsed();
        let kib = beside_guest_kib(process.0.id())?;
        drop(guest);
        drop(process);
        Ok((took, kib))
    }
}
