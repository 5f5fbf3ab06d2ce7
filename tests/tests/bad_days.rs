//! What goes wrong around hearth: no QEMU, no room, a port that is taken, two servers on one directory, guests that do not come up. Each is
//! told with what to do, and nothing is left behind.

use anyhow::{Context, Result, ensure};
use api::{
    client::Options as CallOptions,
    v1::{OperationStatus, VmSpec, VmState},
};
use hearth_tests::{
    Guest, Machine, Need, Options, PATIENCE, Server, command,
    disk::Disk,
    guest::{create, nothing_left, refused, waiting},
    images::{self, ROOTFS},
    raw::Raw,
    remains, scenario, small, until,
};
use reqwest::Method;
use serde_json::json;
use std::{
    process::Command,
    time::{Duration, Instant},
};

fn offline() -> VmSpec {
    VmSpec { networks: vec![], ..small() }
}

/// A start that must fail: exit code 1, the error, a hint, and nothing made.
fn fails_to_start(command: &mut Command, words: &[&str]) -> Result<()> {
    let output = command.output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "{:?}: {told}", output.status);
    ensure!(told.contains("error: ") && told.contains("hint: "), "{told}");
    for word in words {
        ensure!(told.contains(word), "{word:?} is not in {told}");
    }
    Ok(())
}

/// Starts that cannot be: a taken port, a directory in use, no QEMU, no Firecracker.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_cannot_be_says_why_and_touches_nothing() -> Result<()> {
    scenario("a_start_that_cannot_be_says_why_and_touches_nothing", &[Need::Guests], async |machine| {
        let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = taken.local_addr()?.to_string();
        let fresh = Server::prepare(&machine, Options::simulated())?;
        let mut command = Command::new(&machine.hearth);
        command.args(["up", "--vmm", "simulated", "--no-network", "--listen", &address, "--data-dir"]).arg(fresh.data_dir());
        fails_to_start(&mut command, &["in use", &address])?;
        ensure!(!fresh.data_dir().exists(), "a data directory was made for a server that did not start");

        let server = Server::start(&machine, Options { images: false, ..Options::simulated() }).await?;
        let mut second = Command::new(&machine.hearth);
        second.args(["up", "--vmm", "simulated", "--no-network", "--listen", "127.0.0.1:0", "--data-dir"]).arg(server.data_dir());
        let pid = server.pid().context("a pid")?.to_string();
        fails_to_start(&mut second, &[&pid])?;
        ensure!(Raw::new(&server, Method::GET, "/readyz")?.send().await?.status == 200, "the first server is hurt");

        for vmm in ["qemu", "auto"] {
            let empty = tempfile::tempdir()?;
            let without = Server::prepare(&machine, Options { vmm, ..Options::offline() })?;
            fails_to_start(without.command().env("PATH", empty.path()), &["qemu"])?;
        }
        let empty = tempfile::tempdir()?;
        let without = Server::prepare(&machine, Options { vmm: "firecracker", ..Options::offline() })?;
        let mut command = without.command();
        command.env("PATH", empty.path()).env_remove("HEARTH_FIRECRACKER");
        fails_to_start(&mut command, &["Firecracker is not installed", "--firecracker"])?;
        ensure!(!without.data_dir().exists(), "a data directory was made for a server that did not start");
        Ok(())
    })
    .await
}

/// A kernel that no machine can boot: the start fails with a reason, and no process is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_that_is_none_fails_the_start_with_its_reason() -> Result<()> {
    scenario("a_kernel_that_is_none_fails_the_start_with_its_reason", &[Need::Guests], async |machine| {
        let server = Server::start(&machine, Options { images: false, ..Options::offline() }).await?;
        images::pretend(&server).await?;
        let guest = Guest::make(&server, "bootless", offline()).await?;
        let answer = Raw::new(&server, Method::POST, &format!("/v1/vms/{}/start?wait=60", guest.id))?.send().await?;
        ensure!(answer.status == 502, "{} {}", answer.status, answer.text());
        let code = answer.value()?["code"].as_str().unwrap_or_default().to_owned();
        answer.problem(502, &code)?;
        let vm = guest.reaches(VmState::Failed).await?;
        ensure!(vm.status.reason.as_ref().is_some_and(|reason| !reason.detail.is_empty()), "{:?}", vm.status);
        let owner = server.owner()?;
        ensure!(remains::processes(&format!("hearth-{owner}-")).is_empty(), "a QEMU is left of a start that failed");
        guest.delete(&server, false).await?;
        nothing_left(&server, None).await
    })
    .await
}

/// Between two starts a disk's header was made to name another file: nothing is started, the file and the disk stay as they are, and the VM starts
/// again once its disk is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_was_made_to_name_another_file_is_not_started() -> Result<()> {
    scenario("a_disk_that_was_made_to_name_another_file_is_not_started", &[Need::Guests], async |machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        let guest = Guest::boot(&server, "altered", offline()).await?;
        guest.stop(false).await?;
        let secret = tempfile::NamedTempFile::new()?;
        std::fs::write(secret.path(), b"a secret")?;
        let disk = server.data_dir().join("vms").join(&guest.id).join("disk.qcow2");
        let good = std::fs::read(&disk)?;
        let mut altered = good.clone();
        let name = secret.path().to_str().context("a path")?.as_bytes();
        let (at, length) = (4096, u32::try_from(name.len())?);
        // Where the name of its image is, how long that is, and the name.
        for (at, bytes) in [(8, &u64::try_from(at)?.to_be_bytes()[..]), (16, &length.to_be_bytes()), (at, name)] {
            altered.get_mut(at..at + bytes.len()).context("a header")?.copy_from_slice(bytes);
        }
        std::fs::write(&disk, &altered)?;
        let answer = Raw::new(&server, Method::POST, &format!("/v1/vms/{}/start?wait=60", guest.id))?.send().await?;
        ensure!(answer.status == 502, "{} {}", answer.status, answer.text());
        answer.problem(502, "disk-altered")?;
        let vm = guest.reaches(VmState::Failed).await?;
        let told = vm.status.reason.as_ref().map(|reason| reason.detail.clone()).unwrap_or_default();
        ensure!(told.contains("as its image") && told.contains("delete the VM"), "{told}");
        ensure!(remains::processes(&format!("hearth-{}-", server.owner()?)).is_empty(), "a QEMU was started on it");
        ensure!(std::fs::read(&disk)? == altered, "the disk was changed");
        ensure!(std::fs::read(secret.path())? == b"a secret", "the file that it names was changed");
        std::fs::write(&disk, &good)?;
        guest.start().await?;
        guest.delete(&server, true).await?;
        nothing_left(&server, None).await
    })
    .await
}

/// A guest whose agent never answers stays "starting", may be stopped or deleted at once, and does not hold anybody up. (`long_days`
/// waits for the deadline itself.)
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_never_answers_can_be_stopped_and_deleted() -> Result<()> {
    scenario("a_guest_that_never_answers_can_be_stopped_and_deleted", &[Need::Guests], async |machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        // The kernel finds no agent to start and goes on without it, or, if it needs one to find its root, hangs in its panic.
        let silent = VmSpec { cmdline: Some("rdinit=/nonexistent panic=0".into()), ..offline() };
        let begin = async |name: &str| -> Result<Guest> {
            let accepted = server.client().vms().create(&create(name, silent.clone(), true), &CallOptions::default()).await?;
            let guest = Guest::of(&server, &accepted)?;
            until("the silent guest's machine", PATIENCE, || async { Ok(guest.get().await?.status.vmm) }).await?;
            Ok(guest)
        };
        let first = begin("silent").await?;
        let vm = first.reaches(VmState::Starting).await?;
        ensure!(vm.status.refused.contains_key("exec") && vm.status.actions.contains(&"stop".to_owned()), "{:?}", vm.status);
        let exec = Raw::new(&server, Method::POST, &format!("/v1/vms/{}/exec", first.id))?
            .json(&json!({"command": ["true"]}))
            .send()
            .await?;
        exec.problem(409, "vm-not-running")?;
        let plain = server.client().vms().delete(&first.id, false, &CallOptions::default()).await;
        let problem = refused(plain)?;
        ensure!(problem.status == 409 && problem.code == "vm-running" && !problem.hint.is_empty(), "{problem:?}");
        first.stop(true).await?;
        first.reaches(VmState::Stopped).await?;
        first.delete(&server, false).await?;

        let second = begin("silent-too").await?;
        let begun = Instant::now();
        second.delete(&server, true).await?;
        ensure!(begun.elapsed() < Duration::from_secs(15), "force took {:?}", begun.elapsed());
        nothing_left(&server, None).await
    })
    .await
}

/// Deleted in the middle of its creation and of its start: the earlier operation ends, and nothing is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_vm_may_be_deleted_while_it_starts() -> Result<()> {
    scenario("a_vm_may_be_deleted_while_it_starts", &[Need::Guests], async |machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        for (round, delay_ms) in [0, 5, 30, 200, 700].into_iter().enumerate() {
            let request = create(&format!("brief-{round}"), offline(), true);
            let accepted = server.client().vms().create(&request, &CallOptions::default()).await?;
            let guest = Guest::of(&server, &accepted)?;
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            guest.delete(&server, true).await.with_context(|| format!("after {delay_ms} ms"))?;
            let operation = server.client().operations().get(&accepted.operation.context("an operation")?).await?;
            ensure!(operation.status != OperationStatus::Running, "the start of a deleted VM goes on for ever: {operation:?}");
        }
        nothing_left(&server, None).await
    })
    .await
}

/// More memory than the machine has, and more than is free of it: refused before anything is made.
#[tokio::test(flavor = "multi_thread")]
async fn more_memory_than_the_host_has_is_refused() -> Result<()> {
    scenario("more_memory_than_the_host_has_is_refused", &[Need::Guests], async |machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        let vm = |name: &str, mem_mib: u64| {
            let body =
                json!({"name": name, "start": true, "spec": {"vcpus": 1, "mem_mib": mem_mib, "image": ROOTFS, "networks": []}});
            let raw = Raw::new(&server, Method::POST, "/v1/vms");
            async move { raw?.json(&body).send().await }
        };
        let host = server.client().hosts().list(Default::default()).next().await?.context("a host")?;
        let all = host.status.vm_mem_mib;
        let problem = vm("huge", all + 1).await?.problem(422, "invalid-spec")?;
        ensure!(problem.fields.iter().any(|field| field.field == "spec.mem_mib"), "{problem:?}");
        // Guests take memory from the host only as they touch it.
        ensure!(vm("most", all * 6 / 10).await?.status == 202);
        vm("too-much", all * 6 / 10).await?.problem(507, "no-capacity")?;
        ensure!(server.client().vms().get("too-much").await.is_err(), "a refused VM is there");
        server.client().vms().delete("most", true, &waiting()).await?;
        nothing_left(&server, None).await
    })
    .await
}

/// No room for a disk: told as that, nothing is left, and with room it works.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_a_vm_and_keeps_the_server() -> Result<()> {
    scenario("a_full_disk_refuses_a_vm_and_keeps_the_server", &[Need::Guests, Need::Mounts], async |machine: Machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        let disk = Disk::in_memory_at(&server.data_dir().join("vms"), 4)?;
        disk.fill()?;
        let body =
            json!({"name": "roomless", "start": true, "spec": {"vcpus": 1, "mem_mib": 128, "image": ROOTFS, "networks": []}});
        let answer = Raw::new(&server, Method::POST, "/v1/vms?wait=60")?.json(&body).send().await?;
        answer.problem(507, "disk-full")?;
        until("no VM", PATIENCE, || async { Ok(server.client().vms().get("roomless").await.is_err().then_some(())) }).await?;
        let left: Vec<_> =
            std::fs::read_dir(disk.path())?.flatten().map(|entry| entry.file_name()).filter(|name| name != "filler").collect();
        ensure!(left.is_empty(), "{left:?} is left of a VM that had no room");
        disk.free()?;
        let guest = Guest::boot(&server, "roomy", offline()).await?;
        guest.delete(&server, true).await?;
        nothing_left(&server, None).await
    })
    .await
}

/// No room for the journal: changes are refused with what to do, reads go on, and after a restart with room all is as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_data_directory_refuses_changes_and_loses_nothing() -> Result<()> {
    scenario("a_full_data_directory_refuses_changes_and_loses_nothing", &[Need::Mounts], async |machine: Machine| {
        let disk = Disk::in_memory(24)?;
        let options = Options { images: false, data_dir: Some(disk.data()), ..Options::simulated() };
        let mut server = Server::start(&machine, options).await?;
        images::pretend(&server).await?;
        server.client().vms().create(&create("kept", small(), true), &waiting()).await?;
        disk.fill()?;
        let mut refusal = None;
        for number in 0..2000 {
            let body = json!({"name": format!("more-{number}"), "spec": {"vcpus": 1, "mem_mib": 128, "image": ROOTFS}});
            let answer = Raw::new(&server, Method::POST, "/v1/vms")?.json(&body).send().await?;
            if answer.status.as_u16() >= 400 {
                refusal = Some(answer);
                break;
            }
        }
        let refusal = refusal.context("a full disk refuses nothing")?;
        refusal.problem(507, "disk-full")?;
        ensure!(server.client().vms().get("kept").await?.status.state == VmState::Running, "reads do not go on");
        disk.free()?;
        server.kill().await?;
        server.up().await?;
        ensure!(server.client().vms().get("kept").await?.status.state == VmState::Running, "what was there is lost");
        server.client().vms().create(&create("after", small(), true), &waiting()).await?;
        Ok(())
    })
    .await
}

/// No room for what a backup holds: told as that, and the next try finds the directory as empty as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_without_room_leaves_nothing() -> Result<()> {
    scenario("a_restore_without_room_leaves_nothing", &[Need::Mounts], async |machine: Machine| {
        let server = Server::start(&machine, Options { images: false, ..Options::simulated() }).await?;
        images::pretend(&server).await?;
        server.client().vms().create(&create("kept", small(), true), &waiting()).await?;
        command::ok(&server, &["webhook", "create", "hook", "--to", "http://127.0.0.1:9/"]).await?;
        let folder = tempfile::tempdir()?;
        let backup = folder.path().join("backup");
        let file = backup.to_str().context("a path that is no text")?;
        command::ok(&server, &["backup", file]).await?;
        let disk = Disk::in_memory(16)?;
        let data = disk.data();
        let mut restore = Command::new(&machine.hearth);
        restore.args(["--data-dir", data.to_str().context("a path that is no text")?, "restore", file]);
        // None for the secrets, and some for them but not for the journal.
        for spare in [0, 8 << 10] {
            disk.fill()?;
            let filler = std::fs::File::options().write(true).open(disk.path().join("filler"))?;
            filler.set_len(filler.metadata()?.len() - spare)?;
            fails_to_start(&mut restore, &["No space left", "has room"])?;
            let left: Vec<_> = std::fs::read_dir(&data).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
            ensure!(left.is_empty(), "{left:?} is left of a restore that had {spare} bytes of room");
            disk.free()?;
        }
        let output = restore.output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        ensure!(data.join("secrets").is_dir() && data.join("journal").is_dir(), "the second try restored nothing");
        Ok(())
    })
    .await
}
