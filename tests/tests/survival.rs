//! hearth may die at any moment: guests go on, nothing is lost, nothing is done twice, what was begun comes to an end.

use anyhow::{Context, Result, bail, ensure};
use api::{
    client::{EventQuery, ListQuery, Options as CallOptions},
    v1::{Operation, OperationStatus, StopRequest, VmSpec, VmState},
};
use hearth_tests::{
    Guest, Need, Options, PATIENCE, Server,
    events::{Follower, without_gaps},
    guest::{create, nothing_left},
    look,
    machine::skipped,
    remains, scenario, small, until,
};
use std::time::Duration;

fn offline() -> VmSpec {
    VmSpec { networks: vec![], ..small() }
}

/// Two running guests outlive `kill -9` and SIGTERM: the same pids, the same boots, programs run, and one stream of events without a gap.
#[tokio::test(flavor = "multi_thread")]
async fn guests_outlive_the_server() -> Result<()> {
    scenario("guests_outlive_the_server", &[Need::Guests], async |machine| {
        let mut server = Server::start(&machine, Options::qemu()).await?;
        let one = Guest::boot(&server, "one", small()).await?;
        let two = Guest::boot(&server, "two", small()).await?;
        let mut before = Vec::new();
        for guest in [&one, &two] {
            let boot = guest.sh("cat /proc/sys/kernel/random/boot_id").await?;
            before.push((guest.pid().await?, guest.get().await?.status.ips, boot));
        }
        let mut early = Follower::open(server.client(), Some(0)).await?;
        early.each(&[&one.id, &two.id], "vm-started").await?;
        let query = EventQuery { after: Some(early.cursor()), reconnect: true, ..EventQuery::default() };
        let mut through = Follower::ask(server.client(), query).await?;

        for ending in ["kill -9", "SIGTERM"] {
            if ending == "SIGTERM" {
                let status = server.terminate().await?;
                ensure!(status.success(), "SIGTERM ended hearth with {status}");
            } else {
                server.kill().await?;
            }
            for (pid, ..) in &before {
                ensure!(std::path::Path::new(&format!("/proc/{pid}/fd")).exists(), "a guest ended with hearth ({ending})");
            }
            server.up().await?;
            for (guest, (pid, ips, boot)) in [&one, &two].into_iter().zip(&before) {
                let vm = guest.reaches(VmState::Running).await?;
                ensure!(guest.pid().await? == *pid, "{} has another pid after {ending}", guest.name);
                ensure!(vm.status.ips == *ips, "another address after {ending}");
                let adopted = async || {
                    let vm = guest.get().await?;
                    Ok(vm.status.agent.is_some_and(|agent| agent.connected).then_some(()))
                };
                until("the agent's connection", PATIENCE, adopted).await?;
                ensure!(guest.sh("cat /proc/sys/kernel/random/boot_id").await? == *boot, "another boot after {ending}");
            }
            through.each(&[&one.id, &two.id], "vm-adopted").await?;
        }
        // All of it again from the start: the same events, each once.
        without_gaps(&through.seen)?;
        let mut all = Follower::open(server.client(), Some(0)).await?;
        while all.cursor() < through.cursor() {
            all.next().await?;
        }
        without_gaps(&all.seen)?;
        let first = through.seen.first().context("an event")?.cursor;
        let tail: Vec<_> =
            all.seen.iter().filter(|event| event.cursor >= first && event.cursor <= through.cursor()).cloned().collect();
        ensure!(tail == through.seen, "the resumed stream and the whole one differ");

        // Adopted VMs obey as others do.
        one.pause().await?;
        server.kill().await?;
        server.up().await?;
        one.reaches(VmState::Paused).await?;
        one.resume().await?;
        one.stop(false).await?;
        one.delete(&server, false).await?;
        two.reaches(VmState::Running).await?;
        two.delete(&server, true).await?;
        nothing_left(&server, None).await
    })
    .await
}

/// A guest that ended while hearth was away is found to have, and the policy answers.
#[tokio::test(flavor = "multi_thread")]
async fn what_ended_meanwhile_is_noticed() -> Result<()> {
    scenario("what_ended_meanwhile_is_noticed", &[Need::Guests], async |machine| {
        let mut server = Server::start(&machine, Options::offline()).await?;
        let shot = Guest::boot(&server, "shot", offline()).await?;
        let left = Guest::boot(&server, "left", offline()).await?;
        let pid = nix::unistd::Pid::from_raw(i32::try_from(shot.pid().await?)?);
        left.last_words("(sleep 1; poweroff) > /dev/null 2>&1 &").await;
        server.kill().await?;
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
        let owner = server.owner()?;
        until("the end of both guests", PATIENCE, || async {
            Ok(remains::processes(&format!("hearth-{owner}-")).is_empty().then_some(()))
        })
        .await?;
        server.up().await?;
        let vm = shot.reaches(VmState::Failed).await?;
        let reason = vm.status.reason.context("a reason")?;
        ensure!(["vmm-gone", "vmm-killed"].contains(&reason.code.as_str()), "{reason:?}");
        let vm = left.reaches(VmState::Stopped).await?;
        ensure!(vm.status.reason.as_ref().is_some_and(|reason| reason.code == "guest-shutdown"), "{:?}", vm.status.reason);
        shot.start().await?;
        ensure!(shot.sh("echo back").await? == "back");
        shot.delete(&server, true).await?;
        left.delete(&server, false).await?;
        nothing_left(&server, None).await
    })
    .await
}

/// `kill -9` in the middle of what takes longer: every operation ends, every VM comes to rest where it was meant to.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_converges() -> Result<()> {
    scenario("a_kill_in_the_middle_converges", &[Need::Guests], async |machine| {
        let mut server = Server::start(&machine, Options::offline()).await?;
        // Delays that hit the disk's making, the launch and the boot.
        for (round, delay_ms) in [0, 15, 60, 400].into_iter().enumerate() {
            let accepted = server
                .client()
                .vms()
                .create(&create(&format!("begun-{round}"), offline(), true), &CallOptions::default())
                .await?;
            let guest = Guest::of(&server, &accepted)?;
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            server.kill().await?;
            server.up().await?;
            let operation = accepted.operation.context("an operation")?;
            let ended = ends(&server, &operation).await?;
            ensure!(ended.status == OperationStatus::Succeeded, "killed after {delay_ms} ms: {ended:?}");
            guest.reaches(VmState::Running).await?;
            ensure!(guest.sh("echo well").await? == "well", "killed after {delay_ms} ms");
            let owner = server.owner()?;
            let processes = remains::processes(&format!("hearth-{owner}-{}", guest.id));
            ensure!(processes == [guest.pid().await?], "{processes:?} run one VM");

            // The same with its stop: asked, not yet stopped.
            let request = StopRequest { force: round % 2 == 1, deadline_s: None };
            let accepted = server.client().vms().stop(&guest.id, &request, &CallOptions::default()).await?;
            tokio::time::sleep(Duration::from_millis(delay_ms / 4)).await;
            server.kill().await?;
            server.up().await?;
            if let Some(operation) = accepted.operation {
                let ended = ends(&server, &operation).await?;
                ensure!(ended.status == OperationStatus::Succeeded, "stop killed after {} ms: {ended:?}", delay_ms / 4);
            }
            guest.reaches(VmState::Stopped).await?;
            // And with its deletion.
            let accepted = server.client().vms().delete(&guest.id, false, &CallOptions::default()).await?;
            server.kill().await?;
            server.up().await?;
            if let Some(operation) = accepted.operation {
                ends(&server, &operation).await?;
            }
            until("the deletion's end", PATIENCE, || async {
                Ok(server.client().vms().get(&guest.id).await.is_err().then_some(()))
            })
            .await?;
            nothing_left(&server, None).await?;
        }
        let (running, _) = server
            .client()
            .operations()
            .list(ListQuery { state: Some("running".into()), ..ListQuery::default() })
            .collect(10)
            .await?;
        ensure!(running.is_empty(), "operations that never end: {running:?}");
        Ok(())
    })
    .await
}

async fn ends(server: &Server, operation: &str) -> Result<Operation> {
    until(&format!("the end of {operation}"), PATIENCE, || async {
        let operation = server.client().operations().get(operation).await?;
        match operation.status {
            OperationStatus::Running => Ok(None),
            OperationStatus::Unknown => bail!("{operation:?}"),
            _ => Ok(Some(operation)),
        }
    })
    .await
}

/// A guest of a hearth that ran QEMU as root, as older ones did: adopted as it is, and a user of its own at its next start; after that another
/// crash, and a start that is told otherwise, change nothing of it. What is found of a VM's files is checked as after a load.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_of_a_hearth_without_users_is_adopted_and_gets_its_own_later() -> Result<()> {
    const NAME: &str = "a_guest_of_a_hearth_without_users_is_adopted_and_gets_its_own_later";
    scenario(NAME, &[Need::Guests], async |machine| {
        if !nix::unistd::geteuid().is_root() {
            skipped(NAME, "needs root");
            return Ok(());
        }
        let mut server = Server::start(&machine, Options::offline().argument("--no-jailer")).await?;
        let guest = Guest::boot(&server, "older", offline()).await?;
        guest.sh("echo kept > /kept && sync").await?;
        let pid = guest.pid().await?;
        ensure!(owner(&guest).await? == (Some(0), false), "{:?}", owner(&guest).await?);
        server.kill().await?;
        server.tell(&[]);
        server.up().await?;
        guest.reaches(VmState::Running).await?;
        ensure!(guest.pid().await? == pid && owner(&guest).await? == (Some(0), false), "an older guest was not left as it was");
        guest.stop(false).await?;
        guest.start().await?;
        let own = owner(&guest).await?;
        ensure!(own.0.is_some_and(|uid| uid >= 1_900_000_000) && own.1, "{own:?}");
        ensure!(guest.sh("cat /kept").await? == "kept", "its disk is another");
        let pid = guest.pid().await?;
        look::clean(&look::target(&server, false)?, "the start").await?;
        server.kill().await?;
        server.tell(&["--no-jailer"]);
        server.up().await?;
        guest.reaches(VmState::Running).await?;
        ensure!(guest.pid().await? == pid && owner(&guest).await? == own, "a confined guest was not left as it was");
        guest.stop(false).await?;
        look::clean(&look::target(&server, false)?, "the stop without a jailer").await?;
        guest.start().await?;
        ensure!(owner(&guest).await? == (Some(0), false), "--no-jailer");
        look::clean(&look::target(&server, false)?, "the start without a jailer").await?;
        guest.delete(&server, true).await?;
        nothing_left(&server, Some(&guest.id)).await
    })
    .await
}

/// Whose its process is, and whether its root is its own.
async fn owner(guest: &Guest) -> Result<(Option<u32>, bool)> {
    let look = guest.get().await?.status.vmm.and_then(|vmm| vmm.confinement).context("no confinement is told")?;
    Ok((look.uid, look.has.0.iter().any(|(name, has)| name == "own_root" && *has)))
}

/// The same key after a crash: the outcome of before, not a second VM.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_after_a_crash_is_carried_out_once() -> Result<()> {
    scenario("a_repeated_request_after_a_crash_is_carried_out_once", &[], async |machine| {
        let mut server = Server::start(&machine, Options { images: false, ..Options::simulated() }).await?;
        hearth_tests::images::pretend(&server).await?;
        let options = CallOptions { idempotency_key: Some("made-once".into()), ..CallOptions::default() };
        let request = create("once", offline(), false);
        let first = server.client().vms().create(&request, &options).await?;
        server.kill().await?;
        server.up().await?;
        let second = server.client().vms().create(&request, &options).await?;
        let id = |accepted: &api::client::Accepted<api::v1::Vm>| accepted.resource.as_ref().map(|vm| vm.id.clone());
        ensure!(id(&first) == id(&second) && id(&first).is_some(), "two VMs for one key");
        let (vms, _) = server.client().vms().list(ListQuery::default()).collect(10).await?;
        ensure!(vms.len() == 1, "{} VMs", vms.len());
        Ok(())
    })
    .await
}
