//! Data drives over the API, with real guests: what is on them stays for as long as their VM, and nothing takes one away but its name.

use anyhow::{Context, Result, ensure};
use api::v1::{Drive, PatchDrive, PatchVm, PatchVmSpec, VmSpec};
use hearth_tests::{
    Guest, Need, Options, PATIENCE, Server,
    guest::{nothing_left, refused, waiting},
    scenario, small, until,
};
use std::path::PathBuf;

fn spec() -> VmSpec {
    let drive = |name: &str, size_mib, read_only| Drive { name: name.to_owned(), size_mib, read_only };
    VmSpec { networks: vec![], drives: vec![drive("data", 8, false), drive("base", 4, true)], ..small() }
}

async fn patched(server: &Server, drives: &[(&str, u64)], gone: &[&str]) -> Result<(), api::client::ClientError> {
    let drive = |&(name, size_mib): &(&str, u64)| PatchDrive { name: name.to_owned(), size_mib: Some(size_mib), read_only: None };
    let spec = PatchVmSpec {
        drives: Some(drives.iter().map(drive).collect()),
        remove_drives: Some(gone.iter().map(|name| (*name).to_owned()).collect()),
        ..PatchVmSpec::default()
    };
    server.client().vms().patch("db", &PatchVm { spec: Some(spec), ..PatchVm::default() }, &waiting()).await.map(drop)
}

/// The disks' sectors, and whether the root's file system has more than 600 MiB, for which QEMU moves the table of its disk.
const GROWN: &str = "cd /sys/block; [ $(df -k / | tail -n 1 | awk '{print $2}') -gt 614400 ] && is=larger; \
                     echo $(cat vda/size vdb/size) $is";

#[tokio::test(flavor = "multi_thread")]
async fn data_drives_live_as_long_as_their_vm() -> Result<()> {
    scenario("data_drives_live_as_long_as_their_vm", &[Need::Guests], async |machine| {
        let mut server = Server::start(&machine, Options::offline()).await?;
        let guest = Guest::boot(&server, "db", spec()).await?;
        let file = |number: u32| -> PathBuf { server.data_dir().join("vms").join(&guest.id).join(format!("drive-{number}.raw")) };
        let (data, base, new) = (file(0), file(1), file(2));
        ensure!(guest.sh("echo $(cat /sys/block/vdb/serial) $(cat /sys/block/vdc/ro)").await? == "data 1");
        ensure!(guest.run(&["dd", "if=/dev/zero", "of=/dev/vdc", "count=1"]).await?.exit.code != Some(0), "it was written to");
        guest.sh("echo kept | dd of=/dev/vdb bs=512 count=1 conv=sync; sync").await?;
        for (set, gone) in [(&[("data", 12), ("new", 2)][..], &[][..]), (&[], &["base"]), (&[("base", 5)], &[])] {
            let problem = refused(patched(&server, set, gone).await)?;
            ensure!((problem.status, problem.code.as_str()) == (409, "only-when-stopped"), "{problem:?}");
        }
        patched(&server, &[("data", 12)], &[]).await.context("grown while it runs")?;
        let spec = PatchVmSpec { disk_mib: Some(700), ..PatchVmSpec::default() };
        server.client().vms().patch("db", &PatchVm { spec: Some(spec), ..PatchVm::default() }, &waiting()).await?;
        until("larger disks", PATIENCE, async || Ok((guest.sh(GROWN).await? == "1433600 24576 larger").then_some(()))).await?;
        ensure!(guest.get().await?.status.reason.is_none(), "{:?}", guest.get().await?.status);

        guest.stop(false).await?;
        guest.start().await?;
        ensure!(guest.sh("head -n 1 /dev/vdb").await? == "kept", "what was written is gone with a stop");
        guest.stop(true).await?;
        patched(&server, &[("data", 16), ("new", 2)], &["base"]).await.context("grown, added and removed")?;
        // Over a restart of the server, too.
        server.kill().await?;
        server.up().await?;
        guest.start().await?;
        ensure!(guest.sh("head -n 1 /dev/vdb").await? == "kept", "what was written is gone with a change");
        let shape = guest.sh("cd /sys/block; echo $(cat vdb/size) $(cat vdc/size) $(cat vdc/serial)").await?;
        ensure!(shape == "32768 4096 new", "{shape}");
        ensure!(data.is_file() && new.is_file() && !base.exists(), "the files are others than the drives");
        guest.delete(&server, true).await?;
        nothing_left(&server, None).await
    })
    .await
}

/// Somebody has removed its file: an empty one in its place would be taken for the drive.
#[tokio::test(flavor = "multi_thread")]
async fn a_drive_whose_file_is_gone_is_not_replaced_by_an_empty_one() -> Result<()> {
    scenario("a_drive_whose_file_is_gone_is_not_replaced_by_an_empty_one", &[Need::Guests], async |machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        let guest = Guest::make(&server, "db", spec()).await?;
        std::fs::remove_file(server.data_dir().join("vms").join(&guest.id).join("drive-0.raw"))?;
        let problem = refused(server.client().vms().start(&guest.id, &waiting()).await)?;
        ensure!(problem.code == "drive-lost" && problem.detail.contains("drive \"data\" is gone"), "{problem:?}");
        patched(&server, &[], &["data"]).await?;
        guest.start().await?;
        ensure!(guest.sh("cat /sys/block/vdb/serial").await? == "base");
        guest.delete(&server, true).await?;
        nothing_left(&server, None).await
    })
    .await
}
