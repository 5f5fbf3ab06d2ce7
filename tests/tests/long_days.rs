//! What takes minutes by its nature, done side by side: a guest whose agent never answers runs into its boot deadline, and meanwhile QEMU
//! vanishes from under a running server and comes back.

use anyhow::{Context, Result, ensure};
use api::{
    client::Options as CallOptions,
    v1::{OperationStatus, VmSpec, VmState},
};
use hearth_tests::{
    Guest, Need, Options, PATIENCE, Server,
    guest::{create, nothing_left},
    images::ROOTFS,
    machine::program,
    raw::Raw,
    remains, scenario, small, wait,
};
use reqwest::Method;
use serde_json::json;
use std::{os::unix::fs::symlink, path::Path, time::Duration};

/// The deadline is two minutes; a busy machine may be late to notice.
const BOOT_ENDS_WITHIN: Duration = Duration::from_secs(180);

fn offline() -> VmSpec {
    VmSpec { networks: vec![], ..small() }
}

/// QEMU in a folder of the test's own; it finds its firmware and modules beside that folder.
fn own_qemu(folder: &Path) -> Result<std::path::PathBuf> {
    let installed = program("qemu-system-x86_64").context("QEMU")?.canonicalize()?;
    let own = folder.join("bin/qemu-system-x86_64");
    std::fs::create_dir_all(folder.join("bin"))?;
    std::fs::copy(installed, &own)?;
    for beside in ["share", "lib"] {
        symlink(Path::new("/usr").join(beside), folder.join(beside))?;
    }
    Ok(own)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_guest_ends_at_its_deadline_while_qemu_goes_and_comes_back() -> Result<()> {
    scenario("a_silent_guest_ends_at_its_deadline_while_qemu_goes_and_comes_back", &[Need::Guests], async |machine| {
        let folder = tempfile::tempdir()?;
        let qemu = own_qemu(folder.path())?;
        let path = format!("{}:{}", folder.path().join("bin").display(), std::env::var("PATH")?);
        let server = Server::start(&machine, Options { environment: vec![("PATH".into(), path)], ..Options::offline() }).await?;

        // The kernel finds no agent to start and goes on without it, or, if it needs one to find its root, hangs in its panic.
        let silent = VmSpec { cmdline: Some("rdinit=/nonexistent panic=0".into()), ..offline() };
        let accepted = server.client().vms().create(&create("silent", silent, true), &CallOptions::default()).await?;
        let boot = accepted.operation.clone().context("an operation")?;
        let silent = Guest::of(&server, &accepted)?;

        qemu_goes_and_comes_back(&server, &qemu).await?;

        let ended = wait::until("the silent guest's start to end", BOOT_ENDS_WITHIN, || async {
            let operation = server.client().operations().get(&boot).await?;
            Ok((operation.status != OperationStatus::Running).then_some(operation))
        })
        .await?;
        ensure!(ended.status == OperationStatus::Failed, "{ended:?}");
        let error = ended.error.context("an error")?;
        ensure!(error.code == "agent-timeout" && error.detail.contains("120 s") && !error.hint.is_empty(), "{error:?}");
        let vm = silent.reaches(VmState::Failed).await?;
        ensure!(vm.status.reason.as_ref().is_some_and(|reason| reason.code == "agent-timeout"), "{:?}", vm.status);
        let owner = server.owner()?;
        let left = remains::processes(&format!("hearth-{owner}-{}", silent.id));
        ensure!(left.is_empty(), "the silent guest's QEMU goes on: {left:?}");
        silent.delete(&server, false).await?;
        nothing_left(&server, None).await
    })
    .await
}

/// What runs goes on and can be stopped; what is started says what is missing, and starts once it is there again.
async fn qemu_goes_and_comes_back(server: &Server, qemu: &Path) -> Result<()> {
    let lives = Guest::boot(server, "lives", offline()).await?;
    let away = qemu.with_extension("away");
    std::fs::rename(qemu, &away)?;

    let body = json!({"name": "late", "start": true, "spec": {"vcpus": 1, "mem_mib": 128, "image": ROOTFS, "networks": []}});
    let answer = Raw::new(server, Method::POST, "/v1/vms?wait=60")?.json(&body).send().await?;
    let problem = answer.problem(502, "vmm-missing")?;
    ensure!(problem.detail.contains("qemu-system-x86"), "{problem:?}");
    wait::until("the VM that could not start to rest", PATIENCE, || async {
        let late = server.client().vms().get("late").await?;
        Ok((late.status.state == VmState::Failed).then_some(()))
    })
    .await?;
    ensure!(lives.sh("echo on").await? == "on", "a guest was hurt by QEMU's file going away");
    lives.pause().await?;
    lives.resume().await?;
    lives.stop(false).await?;

    std::fs::rename(&away, qemu)?;
    lives.start().await?;
    ensure!(lives.sh("echo again").await? == "again");
    lives.delete(server, true).await?;
    server.client().vms().delete("late", false, &hearth_tests::guest::waiting()).await?;
    Ok(())
}
