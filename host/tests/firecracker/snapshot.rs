//! A machine that is written down and goes on: its memory, its disk, its network and its agent are those of that moment.

use crate::contract::{HELLO, start};
use crate::guests::output;
use crate::lab::Lab;
use crate::metadata;
use crate::network::{in_namespace, network, pings, plan};
use domain::{Attempt, vm::Inspection, vm::Machine};
use host::{
    guest::GuestSession,
    vmm::{
        MachinePlan, SnapshotKind, Vmm, VmmError,
        firecracker::Firecracker,
        snapshot::{self, Note},
    },
};
use std::{os::unix::fs::MetadataExt, path::Path, sync::Arc};

async fn restored(
    lab: &Lab,
    driver: &Firecracker,
    plan: &MachinePlan,
    from: &Path,
    launch: u64,
) -> (Machine, Arc<dyn GuestSession>) {
    let machine = driver.restore(plan, from, Attempt(launch)).await.unwrap();
    assert_eq!(driver.inspect(lab.vm, &machine).await.unwrap(), Inspection::Held, "nothing of it ran yet");
    driver.release(lab.vm, &machine).await.unwrap();
    assert_eq!(driver.inspect(lab.vm, &machine).await.unwrap(), Inspection::Running);
    let guest = driver.guest(lab.vm, &machine, HELLO).await.expect("the agent says hello again");
    (machine, guest)
}

/// On the disk and, in a file system of its own, in memory.
async fn writes(guest: &dyn GuestSession, word: &str) {
    let mounted = "mkdir -p /mem && (grep -q ' /mem ' /proc/mounts || mount -t tmpfs none /mem)";
    let script = format!("{mounted} && echo {word} > /on-disk && sync && echo {word} > /mem/word && echo done");
    assert_eq!(output(guest, &["sh", "-c", &script]).await, "done");
}

async fn reads(guest: &dyn GuestSession) -> String {
    output(guest, &["cat", "/on-disk", "/mem/word"]).await
}

/// How the file system of its second drive begins, from the drive itself.
async fn seed(guest: &dyn GuestSession) -> String {
    let script = "echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vdb bs=2048 skip=16 count=1 2>/dev/null | head -c 6 | tail -c 5";
    output(guest, &["sh", "-c", script]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_goes_on_from_full_and_from_differential_snapshots() {
    let Some(lab) = Lab::open("a_machine_goes_on_from_full_and_from_differential_snapshots").await else { return };
    let driver = lab.driver().await;
    let plan = MachinePlan { dirty_tracking: true, cloud_init: Some(Box::default()), ..lab.plan() };
    let first = start(&driver, &plan, 1).await;
    let guest = driver.guest(lab.vm, &first, HELLO).await.expect("hello");
    writes(&*guest, "one").await;
    let boot_id = output(&*guest, &["cat", "/proc/sys/kernel/random/boot_id"]).await;
    let [full, diff, laid] = ["full", "diff", "laid"].map(|name| lab.data.path().join(name));
    let running = driver.snapshot(lab.vm, &first, &full, SnapshotKind::Full).await.unwrap_err();
    assert!(running.to_string().contains("paused") && !full.exists(), "{running}");
    driver.pause_for_snapshot(lab.vm, &first).await.unwrap();
    driver.snapshot(lab.vm, &first, &full, SnapshotKind::Full).await.unwrap();
    for name in [snapshot::STATE, snapshot::MEMORY, snapshot::DISK, snapshot::SEED] {
        let file = std::fs::metadata(full.join(name)).unwrap();
        assert!(file.uid() == 0 && file.mode() & 0o777 == 0o600 && file.len() > 0, "{name}: {file:?}");
    }
    assert!(matches!(driver.snapshot(lab.vm, &first, &full, SnapshotKind::Full).await, Err(VmmError::Folder { .. })));
    driver.resume(lab.vm, &first).await.unwrap();
    // Its connections to the host were cut by the snapshot, as they are for a guest that is restored.
    guest.ping().await.expect_err("a snapshot ends the sessions with the agent");
    let guest = driver.guest(lab.vm, &first, HELLO).await.expect("and a new one begins");
    writes(&*guest, "two").await;
    driver.pause_for_snapshot(lab.vm, &first).await.unwrap();
    driver.snapshot(lab.vm, &first, &diff, SnapshotKind::Diff).await.unwrap();
    driver.kill(lab.vm, &first).await.unwrap();
    driver.clean(lab.vm).await.unwrap();

    // The first moment, although the disk has gone on.
    let (second, guest) = restored(&lab, &driver, &plan, &full, 2).await;
    assert_eq!(reads(&*guest).await, "one\none");
    assert_eq!(seed(&*guest).await, "CD001", "its second drive came with it");
    assert_eq!(output(&*guest, &["cat", "/proc/sys/kernel/random/boot_id"]).await, boot_id, "it did not boot");
    driver.kill(lab.vm, &second).await.unwrap();
    driver.clean(lab.vm).await.unwrap();

    snapshot::lay_upon(&diff, &full, &laid).unwrap();
    let (third, guest) = restored(&lab, &driver, &plan, &laid, 3).await;
    assert_eq!(reads(&*guest).await, "two\ntwo");
    assert_eq!(output(&*guest, &["cat", "/proc/sys/kernel/random/boot_id"]).await, boot_id);
    driver.kill(lab.vm, &third).await.unwrap();
    driver.remove(lab.vm).await.unwrap();
    lab.left_nothing(&driver).await;
    assert!(full.join(snapshot::MEMORY).exists(), "a snapshot outlives what was restored from it");
}

#[test]
fn a_restored_guest_has_its_network_and_its_metadata() {
    in_namespace(|| async {
        let Some(lab) = Lab::open("a_restored_guest_has_its_network_and_its_metadata").await else { return };
        let (driver, network) = (lab.driver().await, network(&lab).await);
        let plan = MachinePlan { metadata: Some("{\"role\":\"web\"}".into()), ..plan(&lab, &*network).await };
        driver.prepare_disk(&plan.disk).await.unwrap();
        let first = driver.launch(&plan, Attempt(1)).await.unwrap();
        driver.release(lab.vm, &first).await.unwrap();
        let _guest = driver.guest(lab.vm, &first, HELLO).await.unwrap();
        driver.pause_for_snapshot(lab.vm, &first).await.unwrap();
        let full = lab.data.path().join("full");
        driver.snapshot(lab.vm, &first, &full, SnapshotKind::Full).await.unwrap();
        driver.kill(lab.vm, &first).await.unwrap();
        driver.clean(lab.vm).await.unwrap();
        // What it is told is what is known now, not what was when the snapshot was taken.
        let plan = MachinePlan { metadata: Some("{\"role\":\"db\"}".into()), ..plan };
        let (second, guest) = restored(&lab, &driver, &plan, &full, 2).await;
        assert_eq!(metadata::role(&*guest).await, "db");
        pings(&driver, &lab, &second).await;
        driver.kill(lab.vm, &second).await.unwrap();
        driver.remove(lab.vm).await.unwrap();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_cannot_be_loaded_leaves_the_vm_its_own_disk() {
    let Some(lab) = Lab::open("a_snapshot_that_cannot_be_loaded_leaves_the_vm_its_own_disk").await else { return };
    let driver = lab.driver().await;
    let (first, _guest) = lab.booted(&driver).await;
    let from = lab.data.path().join("broken");
    std::fs::create_dir(&from).unwrap();
    std::fs::write(from.join(snapshot::STATE), b"x").unwrap();
    let told = driver.restore(&lab.plan(), &from, Attempt(2)).await.unwrap_err().to_string();
    assert!(told.contains("memory"), "{told}");
    assert_eq!(driver.inspect(lab.vm, &first).await.unwrap(), Inspection::Running, "nothing of the VM was touched");
    driver.kill(lab.vm, &first).await.unwrap();
    let plan = lab.plan();
    let (vm, vcpus, mem_mib, version) = (lab.vm, plan.vcpus, plan.mem_mib, first.version.clone());
    let note = Note {
        vm,
        version,
        vcpus,
        mem_mib,
        has_nic: false,
        nics: Vec::new(),
        has_seed: false,
        has_metadata: false,
        is_jailed: true,
    };
    note.write(&from).unwrap();
    std::fs::write(from.join(snapshot::MEMORY), vec![0; 4096]).unwrap();
    std::fs::write(from.join(snapshot::DISK), vec![0; 4096]).unwrap();
    let disk = lab.folder().join(snapshot::DISK);
    let before = digest(&disk);
    let machine = driver.restore(&plan, &from, Attempt(3)).await.unwrap();
    assert_eq!(digest(&disk), before, "it is held");
    let error = driver.release(lab.vm, &machine).await.expect_err("its state is one byte");
    assert!(matches!(error, VmmError::Refused { .. } | VmmError::EndedAtStart { .. }), "{error:?}");
    assert_eq!(digest(&disk), before, "it was not loaded");
    driver.kill(lab.vm, &machine).await.unwrap();
    driver.clean(lab.vm).await.unwrap();
    assert_eq!(digest(&disk), before, "it was cleaned");
    assert!(!lab.folder().join("disk.restored").exists(), "the other one is gone");
    driver.remove(lab.vm).await.unwrap();
    lab.left_nothing(&driver).await;
}

/// Of a whole file, and its length.
fn digest(path: &Path) -> (u64, u64) {
    use std::{hash::Hasher, io::Read};
    let (mut file, mut hasher, mut part) =
        (std::fs::File::open(path).unwrap(), std::hash::DefaultHasher::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut part).unwrap() {
            0 => return (hasher.finish(), file.metadata().unwrap().len()),
            read => hasher.write(&part[..read]),
        }
    }
}
