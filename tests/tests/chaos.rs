//! `kill -9` of hearth at random moments of random load, on real guests and on many simulated VMs, and the same on a disk that is full or
//! read-only and with hardly a file descriptor. After each an independent checker looks at the machine.
//!
//! `HEARTH_CHAOS_ROUNDS` says how often (6 when absent), `HEARTH_CHAOS_SEED` repeats the wishes of a run; the seed is printed.

use anyhow::{Context, Result, ensure};
use api::{
    client::ListQuery,
    v1::{VmSpec, VmState},
};
use checker::Failures;
use hearth_tests::{
    Machine, Need, Options, PATIENCE, Server,
    disk::Disk,
    guest::{create, waiting},
    images,
    load::{Ledger, Load},
    machine::skipped,
    raw::Raw,
    scenario, scenario_within, small,
    stage::{Stage, clear},
    until, within,
};
use reqwest::Method;
use std::{os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};
use tokio::net::TcpStream;

/// A round of the longest kind on two busy cores takes a tenth of it.
const ROUND_WITHIN: Duration = Duration::from_secs(300);
/// Until a user has been refused for what the machine lacks.
const REFUSED_WITHIN: Duration = Duration::from_secs(120);

fn rounds() -> u64 {
    std::env::var("HEARTH_CHAOS_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

/// Of each bad machine: one on the way, more when more is asked for.
fn bad_rounds() -> u64 {
    rounds().div_ceil(6)
}

fn seed() -> u64 {
    let fresh = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let seed = std::env::var("HEARTH_CHAOS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(fresh);
    println!("HEARTH_CHAOS_SEED={seed} HEARTH_CHAOS_ROUNDS={}", rounds());
    seed
}

fn longest() -> Duration {
    ROUND_WITHIN * u32::try_from(rounds() + 1).unwrap_or(u32::MAX)
}

/// Real guests: as many as two cores boot in seconds.
fn real_load() -> Load {
    Load { users: 2, most: 2, spec: small(), patience: Duration::from_secs(60) }
}

fn offline_load() -> Load {
    Load { spec: VmSpec { networks: vec![], ..small() }, ..real_load() }
}

fn simulated_load() -> Load {
    Load { users: 4, most: 12, spec: VmSpec { mem_mib: 64, ..small() }, ..real_load() }
}

async fn simulated(machine: &Machine, options: Options, seed: u64, failures: Failures) -> Result<Stage> {
    let server = Server::start(machine, Options { images: false, ..options }.marked(seed)).await?;
    images::pretend(&server).await?;
    Stage::set(server, &simulated_load(), seed, failures)
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_random_loses_nothing_and_leaves_nothing() -> Result<()> {
    let needs = [Need::Guests, Need::Network, Need::Program("nft")];
    scenario_within("kill_9_at_random_loses_nothing_and_leaves_nothing", &needs, longest(), async |machine| {
        let seed = seed();
        let server = Server::start(&machine, Options::qemu().marked(seed)).await?;
        let mut real = Stage::set(server, &real_load(), seed, Failures::Found)?;
        let mut many = simulated(&machine, Options::simulated(), seed.wrapping_add(100), Failures::Found).await?;
        for round in 1..=rounds() {
            let (one, other) = tokio::join!(real.round(round, 5_000), many.round(round, 1_500));
            one.context("real guests")?;
            other.context("simulated VMs")?;
            println!("round {round}: real guests {}, simulated VMs {}", told(&real), told(&many));
        }
        real.fsck().await?;
        many.fsck().await
    })
    .await
}

fn told(stage: &Stage) -> String {
    let counts = stage.counts();
    let took = stage.since.elapsed().as_secs_f32();
    format!("{} asked, {} acknowledged, {} repeated, {took:.1} s", counts.asked, counts.acknowledged, counts.repeated)
}

/// Says of itself what the machine's QEMU says, and hangs on KVM as guests do on some machines.
fn hanging_qemu() -> Result<String> {
    let path = std::env::var_os("PATH").context("PATH")?;
    let real = std::env::split_paths(&path).map(|folder| folder.join("qemu-system-x86_64")).find(|path| path.exists());
    let real = real.context("no qemu-system-x86_64")?;
    Ok(format!("#!/bin/sh\ncase $1 in --version|--help) exec '{}' \"$@\";; esac\nexec sleep 600\n", real.display()))
}

/// Killed while it tries what the machine can do, before there is anything to lose: what it had started to try must end with it.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_the_first_start_leaves_nothing() -> Result<()> {
    const NAME: &str = "kill_9_in_the_first_start_leaves_nothing";
    scenario_within(NAME, &[Need::Guests], longest(), async |machine| {
        if std::fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
            skipped(NAME, "/dev/kvm can't be opened, so that hearth does not try it");
            return Ok(());
        }
        let (seed, folder) = (seed(), tempfile::tempdir()?);
        let qemu = folder.path().join("qemu-system-x86_64");
        std::fs::write(&qemu, hanging_qemu()?)?;
        std::fs::set_permissions(&qemu, std::fs::Permissions::from_mode(0o755))?;
        let mut options = Options { images: false, ..Options::offline() }.marked(seed);
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH")?);
        options.environment.push(("PATH".to_owned(), path));
        let mut server = Server::prepare(&machine, options)?;
        for after_ms in [50, 500, 1500] {
            server.begin()?;
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            server.kill().await?;
        }
        server.up().await?;
        let mut stage = Stage::set(server, &offline_load(), seed, Failures::Found)?;
        stage.check("the first start").await
    })
    .await
}

/// Starts that must fail: once, at once, with what to do.
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

/// While what it needs is missing: changes are refused clearly, reads go on, and it is the same process.
async fn refuses(server: &Server, ledger: &Ledger, codes: &[&str]) -> Result<()> {
    let named = || ledger.refusals().iter().any(|problem| codes.contains(&problem.code.as_str()));
    let waited = until("a refusal for what the machine lacks", REFUSED_WITHIN, || async { Ok(named().then_some(())) }).await;
    waited.with_context(|| format!("the refusals were {:?}", ledger.refusals()))?;
    clear(&ledger.refusals())?;
    server.client().vms().list(ListQuery::default()).collect(1000).await.context("reads go on")?;
    without_panic(server)
}

/// The server said nothing of a bug of its own. sled panics where a disk does the impossible; that is caught, and told as an error.
fn without_panic(server: &Server) -> Result<()> {
    let log = server.log();
    let line = log.lines().find(|line| line.contains("panicked at") && !line.contains("/sled-"));
    ensure!(line.is_none(), "{line:?}");
    Ok(())
}

/// With the disk full under load, killed, started without room and with room again.
async fn full(mut stage: Stage, disk: &Disk, longest_ms: u64) -> Result<()> {
    for round in 1..=bad_rounds() {
        let before = stage.dice.below(longest_ms);
        let fills = async |server: &mut Server, ledger: &Ledger| {
            disk.fill()?;
            refuses(server, ledger, &["disk-full"]).await?;
            server.kill().await
        };
        stage.under_load(before, fills).await.with_context(|| format!("round {round}, filled after {before} ms"))?;
        // It may come up, as far as there is room, or say why not.
        if stage.server.up().await.is_ok() {
            stage.server.kill().await?;
        } else {
            does_not_start(&stage.server, &["space", "full"]).await?;
        }
        disk.free()?;
        stage.server.up().await?;
        stage.repeat().await?;
        stage.check(&format!("round {round}, with room again")).await?;
        stage.under_load(500, async |_, _| Ok(())).await?;
        stage.check(&format!("round {round}, going on")).await?;
        println!("full disk, round {round}: {}", told(&stage));
    }
    stage.fsck().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_load_loses_nothing() -> Result<()> {
    scenario_within("a_full_disk_under_load_loses_nothing", &[Need::Mounts], longest(), async |machine| {
        let (seed, disk) = (seed(), Disk::in_memory(48)?);
        let options = Options { data_dir: Some(disk.data()), ..Options::simulated() };
        full(simulated(&machine, options, seed, Failures::Allowed).await?, &disk, 800).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_real_guests_loses_nothing() -> Result<()> {
    let needs = [Need::Mounts, Need::Guests];
    scenario_within("a_full_disk_under_real_guests_loses_nothing", &needs, longest(), async |machine| {
        let (seed, disk) = (seed(), Disk::in_memory(384)?);
        let options = Options { data_dir: Some(disk.data()), ..Options::offline() };
        let server = Server::start(&machine, options.marked(seed)).await?;
        // A guest that has no room hangs: whoever waits for it asks for nothing else meanwhile.
        let load = Load { most: 4, patience: Duration::from_secs(3), ..offline_load() };
        full(Stage::set(server, &load, seed, Failures::Allowed)?, &disk, 4_000).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_turns_read_only_loses_nothing() -> Result<()> {
    const NAME: &str = "a_disk_that_turns_read_only_loses_nothing";
    scenario_within(NAME, &[Need::Mounts, Need::Program("mkfs.ext4")], longest(), async |machine| {
        let (seed, disk) = match Disk::in_file(96) {
            Ok(disk) => (seed(), disk),
            Err(error) => {
                skipped(NAME, &format!("{error:#}"));
                return Ok(());
            }
        };
        let options = Options { data_dir: Some(disk.data()), ..Options::simulated() };
        let mut stage = simulated(&machine, options, seed, Failures::MachinesLost).await?;
        for round in 1..=bad_rounds() {
            let before = stage.dice.below(800);
            let fails = async |server: &mut Server, ledger: &Ledger| {
                disk.fail()?;
                refuses(server, ledger, &["journal-failed"]).await?;
                server.kill().await
            };
            stage.under_load(before, fails).await.with_context(|| format!("round {round}, failed after {before} ms"))?;
            does_not_start(&stage.server, &["read-only", "input/output"]).await?;
            disk.repair()?;
            stage.server.up().await?;
            stage.repeat().await?;
            stage.check(&format!("round {round}, mounted again")).await?;
            println!("read-only disk, round {round}: {}", told(&stage));
        }
        stage.fsck().await
    })
    .await
}

/// A data directory that can't be written at the start: said in a sentence, and nothing is changed by the attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_disk_at_the_start_is_told() -> Result<()> {
    scenario("a_read_only_disk_at_the_start_is_told", &[Need::Mounts], async |machine| {
        let disk = Disk::in_memory(32)?;
        let options = Options { data_dir: Some(disk.data()), images: false, ..Options::simulated() };
        let mut server = Server::start(&machine, options).await?;
        images::pretend(&server).await?;
        server.client().vms().create(&create("kept", small(), true), &waiting()).await?;
        server.kill().await?;
        disk.writable(false)?;
        does_not_start(&server, &["read-only"]).await?;
        disk.writable(true)?;
        server.up().await?;
        let kept = server.client().vms().get("kept").await?;
        ensure!(kept.status.state == VmState::Running, "{:?}", kept.status);
        Ok(())
    })
    .await
}

/// More connections than it can have open: who comes too late waits or is refused, and it goes on.
async fn crowd(server: &mut Server) -> Result<()> {
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(TcpStream::connect(("127.0.0.1", server.port())).await?);
    }
    let pid = server.pid().context("it ended")?;
    let open = || std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    until("no descriptor left", PATIENCE, || async { Ok((open() >= 63).then_some(())) }).await?;
    drop(held);
    until("an answer again", PATIENCE, || async {
        let answer = Raw::new(server, Method::GET, "/v1/vms")?.send().await;
        Ok(answer.is_ok_and(|answer| answer.status == 200).then_some(()))
    })
    .await?;
    ensure!(Path::new(&format!("/proc/{pid}/stat")).exists(), "it ended for want of descriptors");
    without_panic(server)
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_descriptors_are_enough_to_lose_nothing() -> Result<()> {
    let needs = [Need::Guests, Need::Program("prlimit")];
    scenario_within("sixty_four_descriptors_are_enough_to_lose_nothing", &needs, longest(), async |machine| {
        let seed = seed();
        let server = Server::start(&machine, Options::offline().marked(seed)).await?;
        let mut stage = Stage::set(server, &offline_load(), seed, Failures::Allowed)?;
        for round in 1..=bad_rounds() {
            stage.server.kill().await?;
            stage.server.start_through(&["prlimit", "--nofile=64:"]);
            stage.server.up().await?;
            let before = stage.dice.below(3_000);
            let crowded = async |server: &mut Server, ledger: &Ledger| {
                crowd(server).await?;
                clear(&ledger.refusals())
            };
            stage.under_load(before, crowded).await.with_context(|| format!("round {round}, a crowd after {before} ms"))?;
            // The same process, with more: what did not work works.
            let pid = stage.server.pid().context("a pid")?.to_string();
            let raised = Command::new("prlimit").args(["--pid", &pid, "--nofile=1024:"]).status()?;
            ensure!(raised.success(), "prlimit: {raised}");
            stage.check(&format!("round {round}, with the usual limit, without a restart")).await?;
            stage.under_load(1_000, async |server, _| server.kill().await).await?;
            stage.server.start_through(&[]);
            stage.server.up().await?;
            stage.repeat().await?;
            stage.check(&format!("round {round}, started with the usual limit")).await?;
            println!("64 descriptors, round {round}: {}", told(&stage));
        }
        stage.fsck().await
    })
    .await
}
