//! A VM's life with a real guest: made, used, paused, rebooted, ended by itself, by us and from outside. After each test nothing is left.

use anyhow::{Context, Result, ensure};
use api::v1::{RestartPolicy, VmSpec, VmState};
use hearth_tests::{
    Guest, Need, Options, Server, events::Follower, guest::nothing_left, remains, scenario, small, until, wait::until_now,
};
use std::time::{Duration, Instant};

const GUESTS: &[Need] = &[Need::Guests];

fn offline() -> VmSpec {
    VmSpec { networks: vec![], ..small() }
}

/// Made without a start, started, asked what it runs, stopped in order, started again, deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_vm_lives_from_create_to_delete() -> Result<()> {
    scenario("a_vm_lives_from_create_to_delete", GUESTS, async |machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        let guest = Guest::make(&server, "life", offline()).await?;
        let vm = guest.get().await?;
        ensure!(vm.status.state == VmState::Created, "{:?}", vm.status.state);
        ensure!(vm.status.vmm.is_none() && vm.status.actions.contains(&"start".to_owned()), "{:?}", vm.status);
        ensure!(
            vm.status.refused.get("stop").is_some_and(|why| !why.is_empty()),
            "no reason why stop is refused: {:?}",
            vm.status
        );

        guest.start().await?;
        let vm = guest.get().await?;
        let release = guest.sh("uname -r").await?;
        let agent = vm.status.agent.context("the agent's hello")?;
        ensure!(agent.connected && agent.kernel == release, "hello said {:?}, uname says {release}", agent.kernel);
        let host = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        ensure!(release != host.trim(), "uname -r is the host's own: {release}");
        let pid = vm.status.vmm.context("a VMM")?.pid;
        ensure!(
            remains::processes(&format!("hearth-{}-{}", server.owner()?, guest.id)) == [pid],
            "the pid told is not the process's"
        );

        // A service of the guest's own init notes its orderly end on the disk, which only an orderly shutdown runs.
        guest.sh("echo kept > /root/kept; sync").await?;
        let begun = Instant::now();
        guest.stop(false).await?;
        let vm = guest.reaches(VmState::Stopped).await?;
        ensure!(begun.elapsed() < Duration::from_secs(29), "the guest did not shut down by itself: {:?}", begun.elapsed());
        ensure!(vm.status.vmm.is_none(), "a stopped VM with a VMM");
        let console = String::from_utf8_lossy(&log_of(&server, &guest.id).await?).into_owned();
        ensure!(console.contains("reboot: Power down"), "the guest's kernel did not power down: {console}");

        guest.start().await?;
        ensure!(guest.sh("cat /root/kept").await? == "kept", "the disk lost what was written");
        let begun = Instant::now();
        guest.stop(true).await?;
        ensure!(begun.elapsed() < Duration::from_secs(10), "force took {:?}", begun.elapsed());
        guest.delete(&server, false).await?;
        nothing_left(&server, None).await
    })
    .await
}

async fn log_of(server: &Server, vm: &str) -> Result<Vec<u8>> {
    let mut logs = server.client().logs(vm, false).await?;
    let mut all = Vec::new();
    while let Some(bytes) = logs.next().await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

/// The guest's time stands still while it is paused, and is right again after.
#[tokio::test(flavor = "multi_thread")]
async fn pause_stops_the_guests_clock_and_resume_sets_it_right() -> Result<()> {
    scenario("pause_stops_the_guests_clock_and_resume_sets_it_right", GUESTS, async |machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        let guest = Guest::boot(&server, "clock", offline()).await?;
        let before: f64 = guest.sh("cut -d' ' -f1 /proc/uptime").await?.parse()?;
        let asked = Instant::now();
        guest.pause().await?;
        let paused = Instant::now();
        let vm = guest.get().await?;
        ensure!(vm.status.state == VmState::Paused, "{:?}", vm.status.state);
        ensure!(vm.status.refused.contains_key("exec"), "a paused guest cannot run programs: {:?}", vm.status.refused);
        // The one thing that is about time itself.
        tokio::time::sleep(Duration::from_millis(3500)).await;
        let stood = paused.elapsed().as_secs_f64();
        guest.resume().await?;
        let after: f64 = guest.sh("cut -d' ' -f1 /proc/uptime").await?.parse()?;
        let ran = asked.elapsed().as_secs_f64() - stood;
        ensure!(after - before < ran + 0.5, "uptime went on by {} s, of which it stood {stood} s", after - before);
        let drift = until("the guest's clock set right", Duration::from_secs(5), || async {
            let host = jiff::Timestamp::now().as_second();
            let drift = guest.sh("date +%s").await?.parse::<i64>()? - host;
            Ok((drift.abs() <= 1).then_some(drift))
        });
        drift.await?;
        guest.delete(&server, true).await?;
        nothing_left(&server, None).await
    })
    .await
}

/// Reboots: by the API, and from inside. Each time another boot on the same disk.
#[tokio::test(flavor = "multi_thread")]
async fn reboots_come_back_as_another_boot() -> Result<()> {
    scenario("reboots_come_back_as_another_boot", GUESTS, async |machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        let guest = Guest::boot(&server, "again", offline()).await?;
        let boot = || guest.sh("cat /proc/sys/kernel/random/boot_id");
        let first = boot().await?;
        guest.reboot().await?;
        let second = boot().await?;
        ensure!(first != second, "the API's reboot did not reboot");

        let mut events = Follower::open(server.client(), None).await?;
        guest.last_words("reboot -f || reboot").await;
        events.of(&guest.id, "vm-rebooting").await?;
        events.of(&guest.id, "vm-started").await?;
        guest.reaches(VmState::Running).await?;
        ensure!(boot().await? != second, "the guest's own reboot did not reboot");
        ensure!(guest.get().await?.status.restarts == 0, "a reboot is no restart by policy");
        guest.delete(&server, true).await?;
        nothing_left(&server, None).await
    })
    .await
}

/// A panic under both policies, told as what it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_told_and_answered_by_the_policy() -> Result<()> {
    scenario("a_panic_is_told_and_answered_by_the_policy", GUESTS, async |machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        let panic = "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger";
        let guest = Guest::boot(&server, "panics", offline()).await?;
        guest.last_words(panic).await;
        let vm = guest.reaches(VmState::Failed).await?;
        let reason = vm.status.reason.context("a reason")?;
        ensure!(reason.code == "guest-panic", "{reason:?}");
        guest.delete(&server, false).await?;

        let guest = Guest::boot(&server, "stubborn", VmSpec { restart: RestartPolicy::OnFailure, ..offline() }).await?;
        let mut events = Follower::open(server.client(), None).await?;
        guest.last_words(panic).await;
        events.of(&guest.id, "vm-restarting").await?;
        events.of(&guest.id, "vm-started").await?;
        ensure!(guest.sh("echo up").await? == "up");
        ensure!(guest.get().await?.status.restarts == 1, "restarts are counted");
        guest.delete(&server, true).await?;
        nothing_left(&server, None).await
    })
    .await
}

/// An orderly shutdown from inside is no failure, whatever ends it.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_shuts_down_by_itself_is_stopped() -> Result<()> {
    scenario("a_guest_that_shuts_down_by_itself_is_stopped", GUESTS, async |machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        let guest = Guest::boot(&server, "leaves", VmSpec { restart: RestartPolicy::OnFailure, ..offline() }).await?;
        guest.last_words("poweroff").await;
        let vm = guest.reaches(VmState::Stopped).await?;
        let reason = vm.status.reason.context("a reason")?;
        ensure!(reason.code == "guest-shutdown", "{reason:?}");
        guest.delete(&server, false).await?;
        nothing_left(&server, None).await
    })
    .await
}

/// `kill -9` of the VMM is seen at once, and answered by the policy.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_vmm_is_seen_within_a_second() -> Result<()> {
    scenario("a_killed_vmm_is_seen_within_a_second", GUESTS, async |machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        let guest = Guest::boot(&server, "shot", VmSpec { restart: RestartPolicy::OnFailure, ..offline() }).await?;
        let pid = guest.pid().await?;
        let mut events = Follower::open(server.client(), None).await?;
        let shot = jiff::Timestamp::now();
        kill(pid)?;
        let exited = events.of(&guest.id, "vm-exited").await?;
        let took = exited.time.duration_since(shot);
        ensure!(took.as_millis() < 1000, "seen after {took:?}");
        events.of(&guest.id, "vm-started").await?;
        ensure!(guest.sh("echo up").await? == "up");
        let restarted = guest.pid().await?;
        ensure!(restarted != pid, "the same pid after a restart");
        guest.delete(&server, true).await?;

        let guest = Guest::boot(&server, "shot-for-good", offline()).await?;
        let pid = guest.pid().await?;
        kill(pid)?;
        let reason = guest.reaches(VmState::Failed).await?.status.reason.context("a reason")?;
        ensure!(reason.code == "vmm-killed", "{reason:?}");
        until_now("the end of the process", Duration::from_secs(5), || {
            !std::path::Path::new(&format!("/proc/{pid}/fd")).exists()
        })?;
        guest.delete(&server, false).await?;
        nothing_left(&server, None).await
    })
    .await
}

fn kill(pid: u32) -> Result<()> {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid)?);
    Ok(nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?)
}
