//! `kill -9` of hearth at random moments of random load, on real guests and on many simulated VMs, and the same on a disk that is full or
//! read-only and with hardly a file descriptor. After each an independent checker looks at the machine.
//!
//! `HEARTH_CHAOS_ROUNDS` says how often (3 when absent), `HEARTH_CHAOS_SEED` repeats the wishes of a run; the seed is printed.

use anyhow::{Context, Result, ensure};
use api::{
    client::ListQuery,
    v1::{VmSpec, VmState},
};
use checker::{Finding, Target};
use hearth_tests::{
    Guest, Machine, Need, Options, PATIENCE, Server,
    guest::{create, waiting},
    images,
    load::{Dice, Ledger, User},
    raw::Raw,
    scenario, scenario_within, small, until, within,
};
use reqwest::Method;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};
use tokio::{net::TcpStream, sync::watch};

/// Real guests boot for some seconds, so all that was begun has ended by then.
const SETTLED_WITHIN: Duration = Duration::from_secs(90);
/// A round of the longest kind on two busy cores.
const ROUND_WITHIN: Duration = Duration::from_secs(180);

fn rounds() -> u64 {
    std::env::var("HEARTH_CHAOS_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

fn seed() -> u64 {
    let fresh = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let seed = std::env::var("HEARTH_CHAOS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(fresh);
    println!("HEARTH_CHAOS_SEED={seed} HEARTH_CHAOS_ROUNDS={}", rounds());
    seed
}

fn longest() -> Duration {
    ROUND_WITHIN * u32::try_from(rounds() + 1).unwrap_or(u32::MAX)
}

/// A server with its users and what they were told.
struct Stage {
    server: Server,
    users: Vec<User>,
    ledger: PathBuf,
    _folder: tempfile::TempDir,
    bridge: Option<String>,
    dice: Dice,
}

impl Stage {
    async fn set(server: Server, users: u64, most: usize, spec: &VmSpec, bridge: Option<String>, seed: u64) -> Result<Stage> {
        let folder = tempfile::Builder::new().prefix("hearth-ledger-").tempdir()?;
        let path = folder.path().join("ledger");
        let ledger = Ledger::open(&path)?;
        let user = |n: u64| {
            let name = format!("user{n}");
            User::new(name, server.client().clone(), seed.wrapping_add(n), spec.clone(), most, ledger.clone())
        };
        let users = (0..users).map(user).collect();
        Ok(Stage { server, users, ledger: path, _folder: folder, bridge, dice: Dice::new(seed) })
    }

    fn target(&self) -> Result<Target> {
        Ok(Target {
            data_dir: self.server.data_dir().to_owned(),
            url: self.server.url(),
            token: self.server.token()?,
            bridge: self.bridge.clone(),
            ledger: Some(self.ledger.clone()),
        })
    }

    /// The users go on until `for_ms` have passed, and then `end` comes over the server while they do.
    async fn under_load(&mut self, for_ms: u64, end: impl AsyncFnOnce(&mut Server) -> Result<()>) -> Result<()> {
        let stop = watch::Sender::new(false);
        let (server, users) = (&mut self.server, &mut self.users);
        let work = users.iter_mut().map(|user| {
            let mut stop = stop.subscribe();
            async move { user.go(&mut stop).await }
        });
        let over = async {
            tokio::time::sleep(Duration::from_millis(for_ms)).await;
            let ended = end(server).await;
            stop.send_replace(true);
            ended
        };
        let (work, over) = tokio::join!(futures_util::future::join_all(work), over);
        over?;
        work.into_iter().collect()
    }

    /// Nothing is lost, nothing is left over; from here on the users know again what is there.
    async fn check(&mut self, what: &str) -> Result<()> {
        let found = checker::settle(&self.target()?, SETTLED_WITHIN).await.with_context(|| what.to_owned())?;
        ensure!(found.is_empty(), "{what}, the checker finds:\n{}", lines(&found));
        for user in &mut self.users {
            user.take_stock().await?;
        }
        Ok(())
    }

    /// One round: load, `kill -9`, perhaps another one while it recovers, a start, a look.
    async fn round(&mut self, number: u64, longest_ms: u64) -> Result<()> {
        let after = self.dice.below(longest_ms);
        self.under_load(after, async |server| server.kill().await).await?;
        if self.dice.below(3) == 0 {
            let early = self.dice.below(400);
            self.server.begin()?;
            tokio::time::sleep(Duration::from_millis(early)).await;
            self.server.kill().await?;
        }
        self.server.up().await?;
        self.check(&format!("after round {number}, killed after {after} ms")).await
    }

    async fn vms(&self) -> Result<usize> {
        let (vms, _) = self.server.client().vms().list(ListQuery::default()).collect(10_000).await?;
        Ok(vms.len())
    }
}

fn lines(found: &[Finding]) -> String {
    found.iter().map(|finding| format!("  {finding}\n")).collect()
}

async fn simulated(machine: &Machine, options: Options, seed: u64) -> Result<Stage> {
    let server = Server::start(machine, Options { images: false, ..options }).await?;
    images::pretend(&server).await?;
    Stage::set(server, 4, 40, &small(), None, seed).await
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_random_loses_nothing_and_leaves_nothing() -> Result<()> {
    let needs = [Need::Guests, Need::Network, Need::Program("nft")];
    scenario_within("kill_9_at_random_loses_nothing_and_leaves_nothing", &needs, longest(), async |machine| {
        let seed = seed();
        let server = Server::start(&machine, Options::qemu()).await?;
        let bridge = Some(server.bridge());
        let mut real = Stage::set(server, 2, 2, &small(), bridge, seed).await?;
        let mut many = simulated(&machine, Options::simulated(), seed.wrapping_add(100)).await?;
        for round in 1..=rounds() {
            let (one, other) = tokio::join!(real.round(round, 6_000), many.round(round, 1_500));
            one.context("real guests")?;
            other.context("simulated VMs")?;
            println!(
                "round {round}: {} real guests, {} simulated VMs, nothing lost, nothing left",
                real.vms().await?,
                many.vms().await?
            );
        }
        Ok(())
    })
    .await
}

/// A file system of our own for a data directory; unmounted at the end.
struct Disk {
    folder: tempfile::TempDir,
    image: Option<PathBuf>,
}

impl Disk {
    fn in_memory(mib: u32) -> Result<Disk> {
        let folder = tempfile::Builder::new().prefix("hearth-disk-").tempdir()?;
        done(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "hearth-e2e"]).arg(folder.path()))?;
        Ok(Disk { folder, image: None })
    }

    /// ext4 on a file.
    fn in_file(mib: u64) -> Result<Disk> {
        let folder = tempfile::Builder::new().prefix("hearth-disk-").tempdir()?;
        let image = folder.path().with_extension("img");
        std::fs::File::create(&image)?.set_len(mib << 20)?;
        done(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        let disk = Disk { folder, image: Some(image) };
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> Result<()> {
        let Some(image) = &self.image else { return Ok(()) };
        done(Command::new("mount").args(["-o", "loop"]).arg(image).arg(self.path())).map(drop)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    fn fill(&self) -> Result<()> {
        use std::io::Write;
        let mut file = std::fs::File::create(self.path().join("filler"))?;
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        Ok(())
    }

    fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.path().join("filler"))?)
    }

    /// As after an error of the disk: the kernel takes no more writes, also from those who have files open.
    fn fail(&self) -> Result<()> {
        done(Command::new("mount").args(["-o", "remount,abort"]).arg(self.path())).map(drop)
    }

    /// What an administrator does: check, and mount again.
    fn repair(&self) -> Result<()> {
        done(Command::new("umount").arg(self.path()))?;
        if let Some(image) = &self.image {
            // 1: errors were corrected.
            let checked = Command::new("e2fsck").args(["-f", "-y"]).arg(image).output()?;
            ensure!(matches!(checked.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&checked.stdout));
        }
        self.mount()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).output();
        if let Some(image) = &self.image {
            let _ = std::fs::remove_file(image);
        }
    }
}

fn done(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output)
}

/// A change that the server can't make durable now: said so, with what to do, and not as a bug.
async fn refused_with_a_remedy(server: &Server, codes: &[&str]) -> Result<()> {
    let body = json!({"name": "never", "spec": {"vcpus": 1, "mem_mib": 128, "image": images::ROOTFS}});
    let answer = Raw::new(server, Method::POST, "/v1/vms")?.json(&body).send().await?;
    let problem: api::problem::Problem = serde_json::from_slice(&answer.body).with_context(|| answer.text())?;
    ensure!(codes.contains(&problem.code.as_str()) && !problem.hint.is_empty(), "{} {problem:?}", answer.status);
    ensure!(answer.status.as_u16() != 500, "a full disk is no bug: {problem:?}");
    Ok(())
}

/// Starts that must fail: not again and again, but once, at once, with what to do.
async fn does_not_start(server: &Server, words: &[&str]) -> Result<()> {
    let mut command = tokio::process::Command::from(server.command());
    let output = within("a start that must fail", PATIENCE, command.kill_on_drop(true).output()).await??;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "{:?}: {told}", output.status);
    ensure!(told.contains("error: ") && told.contains("hint: "), "{told}");
    ensure!(words.iter().any(|word| told.to_lowercase().contains(word)), "none of {words:?} is in {told}");
    ensure!(!told.contains("panicked"), "{told}");
    Ok(())
}

/// The server said nothing of a bug of its own.
fn without_panic(server: &Server) -> Result<()> {
    let log = server.log();
    let line = log.lines().find(|line| line.contains("panicked at"));
    ensure!(line.is_none(), "{line:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_load_loses_nothing() -> Result<()> {
    scenario_within("a_full_disk_under_load_loses_nothing", &[Need::Mounts], longest(), async |machine| {
        let disk = Disk::in_memory(32)?;
        let options = Options { data_dir: Some(disk.data()), ..Options::simulated() };
        let mut stage = simulated(&machine, options, seed()).await?;
        for round in 1..=rounds() {
            let before = stage.dice.below(500);
            let disk = &disk;
            let full = async |server: &mut Server| {
                disk.fill()?;
                // Its own file may have room for some more.
                until("a refusal", PATIENCE, || async { Ok(refused_with_a_remedy(server, &["disk-full"]).await.ok()) }).await?;
                server.client().vms().list(ListQuery::default()).collect(10).await.context("reads go on")?;
                without_panic(server)?;
                server.kill().await
            };
            stage.under_load(before, full).await?;
            // It may come up, as far as there is room, or say why not.
            if stage.server.up().await.is_ok() {
                stage.server.kill().await?;
            } else {
                does_not_start(&stage.server, &["space", "full"]).await?;
            }
            disk.free()?;
            stage.server.up().await?;
            stage.check(&format!("round {round}, with room again")).await?;
            stage.under_load(300, async |_| Ok(())).await?;
            stage.check(&format!("round {round}, going on")).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_turns_read_only_loses_nothing() -> Result<()> {
    let needs = [Need::Mounts, Need::Program("mkfs.ext4")];
    scenario_within("a_disk_that_turns_read_only_loses_nothing", &needs, longest(), async |machine| {
        let disk = match Disk::in_file(96) {
            Ok(disk) => disk,
            Err(error) => {
                hearth_tests::machine::skipped("a_disk_that_turns_read_only_loses_nothing", &format!("{error:#}"));
                return Ok(());
            }
        };
        let options = Options { data_dir: Some(disk.data()), ..Options::simulated() };
        let mut stage = simulated(&machine, options, seed()).await?;
        for round in 1..=rounds() {
            let before = stage.dice.below(500);
            let disk = &disk;
            let fails = async |server: &mut Server| {
                disk.fail()?;
                let codes = ["journal-failed", "storage-failed", "disk-full"];
                until("a refusal", PATIENCE, || async { Ok(refused_with_a_remedy(server, &codes).await.ok()) }).await?;
                server.client().vms().list(ListQuery::default()).collect(10).await.context("reads go on")?;
                without_panic(server)?;
                server.kill().await
            };
            stage.under_load(before, fails).await?;
            does_not_start(&stage.server, &["read-only", "input/output"]).await?;
            disk.repair()?;
            stage.server.up().await?;
            stage.check(&format!("round {round}, mounted again")).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_descriptors_are_enough_to_lose_nothing() -> Result<()> {
    let needs = [Need::Guests, Need::Program("prlimit")];
    scenario_within("sixty_four_descriptors_are_enough_to_lose_nothing", &needs, longest(), async |machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        let spec = VmSpec { networks: vec![], ..small() };
        let mut stage = Stage::set(server, 2, 2, &spec, None, seed()).await?;
        for round in 1..=rounds() {
            stage.server.kill().await?;
            stage.server.start_through(&["prlimit", "--nofile=64"]);
            stage.server.up().await?;
            let before = stage.dice.below(3_000);
            let crowd = async |server: &mut Server| {
                // More than it can have open: who comes too late waits or is refused, who has a connection is served.
                let mut held = Vec::new();
                for _ in 0..100 {
                    held.push(TcpStream::connect(("127.0.0.1", server.port())).await?);
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
                let pid = server.pid().context("it ended")?;
                ensure!(Path::new(&format!("/proc/{pid}/fd")).exists(), "it ended for want of descriptors");
                drop(held);
                until("an answer again", PATIENCE, || async {
                    let answer = Raw::new(server, Method::GET, "/v1/vms")?.send().await;
                    Ok(answer.is_ok_and(|answer| answer.status == 200).then_some(()))
                })
                .await?;
                without_panic(server)
            };
            stage.under_load(before, crowd).await?;
            // With more descriptors, without a restart, everything works that did not.
            let pid = stage.server.pid().context("a pid")?.to_string();
            done(Command::new("prlimit").args(["--pid", &pid, "--nofile=1024"]))?;
            let guest = Guest::boot(&stage.server, "afterwards", spec.clone()).await?;
            guest.delete(&stage.server, true).await?;
            stage.server.kill().await?;
            stage.server.start_through(&[]);
            stage.server.up().await?;
            stage.check(&format!("round {round}")).await?;
        }
        Ok(())
    })
    .await
}

/// A machine's data directory that can't be written at the start.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_disk_at_the_start_is_told() -> Result<()> {
    scenario("a_read_only_disk_at_the_start_is_told", &[Need::Mounts], async |machine| {
        let disk = Disk::in_memory(32)?;
        let options = Options { data_dir: Some(disk.data()), images: false, ..Options::simulated() };
        let mut server = Server::start(&machine, options).await?;
        images::pretend(&server).await?;
        server.client().vms().create(&create("kept", small(), true), &waiting()).await?;
        server.kill().await?;
        done(Command::new("mount").args(["-o", "remount,ro"]).arg(disk.path()))?;
        does_not_start(&server, &["read-only"]).await?;
        done(Command::new("mount").args(["-o", "remount,rw"]).arg(disk.path()))?;
        server.up().await?;
        let kept = server.client().vms().get("kept").await?;
        ensure!(kept.status.state == VmState::Running, "{:?}", kept.status);
        Ok(())
    })
    .await
}
