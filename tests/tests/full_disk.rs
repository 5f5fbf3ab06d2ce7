//! The host's disk is full under guests that write: their VMMs hold them, users see why, and with room again they go on by themselves.

use anyhow::{Context, Result, bail, ensure};
use api::v1::{VmSpec, VmState};
use hearth_tests::{
    Guest, Machine, Need, Options, PATIENCE, Server, disk::Disk, events::Follower, guest::nothing_left, scenario, small, until,
};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

/// Of waits between two tries there are several in this time.
const SEVERAL_TRIES: Duration = Duration::from_secs(12);

fn offline() -> VmSpec {
    VmSpec { networks: vec![], disk_mib: Some(128), ..small() }
}

/// Writes more than the host has room for, beside what else is asked of the guest.
async fn writes(guest: &Guest, name: &str) -> Result<()> {
    let line = format!("(dd if=/dev/urandom of=/{name} bs=1M count=6; sync; touch /{name}-written) > /dev/null 2>&1 &");
    guest.sh(&line).await.map(drop)
}

/// Held, and said to be for want of room.
async fn is_held(guest: &Guest) -> Result<()> {
    until(&format!("{} held", guest.name), PATIENCE, || async {
        let vm = guest.get().await?;
        ensure!(vm.status.state == VmState::Running, "{} is {:?}", guest.name, vm.status);
        Ok(vm.status.reason.filter(|reason| reason.code == "disk-full" && reason.detail.contains("by itself")).map(drop))
    })
    .await
}

/// On, and all of it written.
async fn went_on(guest: &Guest, name: &str, events: &mut Follower) -> Result<()> {
    events.each(&[&guest.id], "vm-went-on").await?;
    let vm = guest.get().await?;
    ensure!(vm.status.state == VmState::Running && vm.status.reason.is_none(), "{:?}", vm.status);
    until(&format!("{} to have written", guest.name), PATIENCE, || async {
        let there = guest.run(&["test", "-e", &format!("/{name}-written")]).await;
        Ok(there.is_ok_and(|result| result.exit.code == Some(0)).then_some(()))
    })
    .await
}

/// What QEMU itself says of its vCPUs.
fn asked(server: &Server, guest: &Guest) -> Result<String> {
    let socket = UnixStream::connect(server.data_dir().join("vms").join(&guest.id).join("qmp.sock"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    (&socket).write_all(b"{\"execute\":\"qmp_capabilities\"}\r\n{\"execute\":\"query-status\"}\r\n")?;
    for line in BufReader::new(&socket).lines() {
        let value: Value = serde_json::from_str(&line?)?;
        if let Some(status) = value.pointer("/return/status").and_then(Value::as_str) {
            return Ok(status.to_owned());
        }
    }
    bail!("QEMU said nothing")
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_held_by_a_full_disk_go_on_by_themselves_and_paused_ones_do_not() -> Result<()> {
    const NAME: &str = "guests_held_by_a_full_disk_go_on_by_themselves_and_paused_ones_do_not";
    scenario(NAME, &[Need::Guests, Need::Mounts], async |machine: Machine| {
        let mut server = Server::start(&machine, Options::offline()).await?;
        let disk = Disk::in_memory_at(&server.data_dir().join("vms"), 96)?;
        let writer = Guest::boot(&server, "writer", offline()).await?;
        let resting = Guest::boot(&server, "resting", offline()).await?;
        let boot = writer.sh("cat /proc/sys/kernel/random/boot_id").await?;
        let mut events = Follower::open(server.client(), None).await?;
        disk.fill()?;
        writes(&writer, "one").await?;
        writes(&resting, "one").await?;
        is_held(&writer).await?;
        is_held(&resting).await?;

        // Its user's own pause: whatever becomes of the disk, it stays.
        resting.pause().await?;
        let vm = resting.get().await?;
        ensure!(vm.status.state == VmState::Paused && vm.status.reason.is_none(), "{:?}", vm.status);
        tokio::time::sleep(SEVERAL_TRIES).await;
        is_held(&writer).await?;

        let pid = writer.pid().await?;
        disk.free()?;
        went_on(&writer, "one", &mut events).await?;
        ensure!(writer.pid().await? == pid, "another process");
        ensure!(writer.sh("cat /proc/sys/kernel/random/boot_id").await? == boot, "another boot");
        tokio::time::sleep(SEVERAL_TRIES).await;
        ensure!(resting.get().await?.status.state == VmState::Paused, "its pause is over");
        let status = asked(&server, &resting)?;
        ensure!(status != "running", "it is paused, and its QEMU is {status}");
        resting.resume().await?;
        went_on(&resting, "one", &mut events).await?;

        // The same again over a restart: what is held is found to be, and goes on.
        disk.fill()?;
        writes(&writer, "two").await?;
        is_held(&writer).await?;
        server.kill().await?;
        server.up().await?;
        is_held(&writer).await?;
        let mut events = Follower::open(server.client(), None).await?;
        disk.free()?;
        went_on(&writer, "two", &mut events).await?;
        ensure!(writer.pid().await.context("after the restart")? == pid, "another process after the restart");
        writer.delete(&server, true).await?;
        resting.delete(&server, true).await?;
        nothing_left(&server, None).await
    })
    .await
}
