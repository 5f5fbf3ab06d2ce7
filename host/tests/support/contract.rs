//! What every driver must keep, as functions over `&dyn Vmm`; run on `simulated` and on real `qemu` guests alike.

// Helpers of tests are not seen as tests by the lint.
#![allow(clippy::unwrap_used)]

use domain::{
    Attempt, VmId,
    vm::{Drives, Exit, Inspection, Machine},
};
use host::guest::GuestSession;
use host::vmm::{DiskPlan, MachinePlan, Tuning, Vmm, VmmError, outside::Outside};
use std::{path::PathBuf, time::Duration};

/// An emulated guest on a busy machine says hello after this at the latest.
pub const HELLO: Duration = Duration::from_secs(90);
pub const SOON: Duration = Duration::from_secs(20);

pub struct Images {
    pub kernel: PathBuf,
    pub initrd: Option<PathBuf>,
    pub rootfs: PathBuf,
}

pub fn plan(vm: VmId, images: &Images) -> MachinePlan {
    MachinePlan {
        vm,
        hostname: "contract".into(),
        vcpus: 1,
        mem_mib: 192,
        mem_max_mib: None,
        kernel: images.kernel.clone(),
        initrd: images.initrd.clone(),
        disk: DiskPlan { vm, base: images.rootfs.clone(), size_bytes: Some(128 << 20), drives: Drives::default() },
        nics: Vec::new(),
        cmdline: None,
        cloud_init: None,
        metadata: None,
        tuning: Tuning::default(),
        cpu_template: None,
        dirty_tracking: false,
    }
}

pub async fn start(vmm: &dyn Vmm, plan: &MachinePlan, launch: u64) -> Machine {
    vmm.prepare_disk(&plan.disk).await.unwrap();
    let machine = vmm.launch(plan, Attempt(launch)).await.unwrap();
    assert_eq!(machine.launch, Attempt(launch));
    assert_eq!(vmm.inspect(plan.vm, &machine).await.unwrap(), Inspection::Held, "held until it is released");
    vmm.release(plan.vm, &machine).await.unwrap();
    machine
}

pub async fn end(vmm: &dyn Vmm, vm: VmId, machine: &Machine) -> Exit {
    let exit = tokio::time::timeout(SOON, vmm.exited(vm, machine)).await.expect("the end is told");
    assert_eq!(vmm.inspect(vm, machine).await.unwrap(), Inspection::Gone { exit: exit.clone() });
    exit
}

/// Whether the machine stands now: one whose VMM would lose its agent by it says so and runs on.
pub async fn bears_a_pause(vmm: &dyn Vmm, vm: VmId, machine: &Machine) -> bool {
    match vmm.pause(vm, machine).await {
        Ok(()) => true,
        Err(VmmError::Refused { call: "pause", detail }) if detail.contains("lose the guest's agent") => {
            assert_eq!(vmm.inspect(vm, machine).await.unwrap(), Inspection::Running, "nothing was done");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// As [`bears_a_pause`], and one that does not stands all the same, as for a snapshot; of its agent nothing can be asked then.
pub async fn stands(vmm: &dyn Vmm, vm: VmId, machine: &Machine) -> bool {
    let bears_it = bears_a_pause(vmm, vm, machine).await;
    if !bears_it {
        vmm.pause_for_snapshot(vm, machine).await.unwrap();
    }
    bears_it
}

/// A life from disk to removal, with every call repeated that must bear it.
pub async fn lives_and_leaves_nothing(vmm: &dyn Vmm, vm: VmId, images: &Images) {
    let plan = plan(vm, images);
    let machine = start(vmm, &plan, 1).await;
    assert_eq!(vmm.inspect(vm, &machine).await.unwrap(), Inspection::Running);
    vmm.release(vm, &machine).await.expect("released twice is released");
    let guest = vmm.guest(vm, &machine, HELLO).await.expect("hello");
    guest.ping().await.unwrap();
    let bears_it = stands(vmm, vm, &machine).await;
    vmm.pause(vm, &machine).await.expect("paused twice is paused");
    assert_eq!(vmm.inspect(vm, &machine).await.unwrap(), Inspection::Paused);
    vmm.resume(vm, &machine).await.unwrap();
    assert_eq!(vmm.inspect(vm, &machine).await.unwrap(), Inspection::Running);
    if bears_it {
        guest.ping().await.unwrap();
    }
    vmm.kill(vm, &machine).await.unwrap();
    vmm.kill(vm, &machine).await.expect("killed twice is gone");
    end(vmm, vm, &machine).await;
    tokio::time::timeout(SOON, guest.closed()).await.expect("a session ends with its machine");
    vmm.clean(vm).await.unwrap();
    vmm.clean(vm).await.expect("cleaned twice is clean");
    assert!(matches!(vmm.inspect(vm, &machine).await.unwrap(), Inspection::Gone { .. }));
    let again = start(vmm, &plan, 2).await;
    assert!(matches!(vmm.inspect(vm, &machine).await.unwrap(), Inspection::Gone { .. }), "the first launch stays gone");
    vmm.kill(vm, &again).await.unwrap();
    vmm.remove(vm).await.unwrap();
    vmm.remove(vm).await.expect("removed twice is removed");
}

/// A process that is never released ends on `kill`, and a newer launch replaces an older.
pub async fn held_ends_and_is_replaced(vmm: &dyn Vmm, vm: VmId, images: &Images) {
    let plan = plan(vm, images);
    vmm.prepare_disk(&plan.disk).await.unwrap();
    let first = vmm.launch(&plan, Attempt(1)).await.unwrap();
    let second = vmm.launch(&plan, Attempt(2)).await.unwrap();
    assert!(matches!(vmm.inspect(vm, &first).await.unwrap(), Inspection::Gone { .. }));
    assert_eq!(vmm.inspect(vm, &second).await.unwrap(), Inspection::Held);
    assert!(vmm.release(vm, &first).await.is_err(), "an older launch can't be released");
    assert!(vmm.pause(vm, &second).await.is_err(), "a held process can't be paused");
    vmm.kill(vm, &second).await.unwrap();
    end(vmm, vm, &second).await;
    vmm.remove(vm).await.unwrap();
}

/// The guest ends by itself: asked by the agent to shut down and to reboot.
pub async fn guest_ends_by_itself(vmm: &dyn Vmm, vm: VmId, images: &Images) {
    use api::guest::ShutdownKind::{Poweroff, Reboot};
    let plan = plan(vm, images);
    for (launch, kind, exit) in [(1, Poweroff, Exit::GuestShutdown), (2, Reboot, Exit::GuestReboot)] {
        let machine = start(vmm, &plan, launch).await;
        let guest = vmm.guest(vm, &machine, HELLO).await.expect("hello");
        guest.shutdown(kind, Duration::from_secs(15)).await.unwrap();
        assert_eq!(end(vmm, vm, &machine).await, exit);
    }
    vmm.remove(vm).await.unwrap();
}

/// Only what no one knows is swept.
pub async fn sweep_spares_the_known(vmm: &dyn Vmm, vms: [VmId; 2], images: &Images) {
    let [known, unknown] = vms;
    let kept = start(vmm, &plan(known, images), 1).await;
    let swept = start(vmm, &plan(unknown, images), 1).await;
    let removed = vmm.sweep(&[known]).await.unwrap();
    assert!(removed.iter().any(|what| what.contains(&unknown.to_string())), "{removed:?}");
    assert!(!removed.iter().any(|what| what.contains(&known.to_string())), "{removed:?}");
    assert_eq!(vmm.inspect(known, &kept).await.unwrap(), Inspection::Running);
    assert!(matches!(vmm.inspect(unknown, &swept).await.unwrap(), Inspection::Gone { .. }));
    assert_eq!(vmm.sweep(&[known]).await.unwrap(), Vec::<String>::new());
    vmm.kill(known, &kept).await.unwrap();
    vmm.remove(known).await.unwrap();
}

/// What the guest wrote shows outside of it: the VMM counts at least that. `write` has the guest write at least so many bytes to its disk, and
/// returns when they are there. What can't be known is absent, and nothing that was known gets less, paused or not.
pub async fn writes_show_outside(
    vmm: &dyn Vmm,
    vm: VmId,
    images: &Images,
    write: impl AsyncFn(&dyn GuestSession, u64),
    bytes: u64,
) {
    let machine = start(vmm, &plan(vm, images), 1).await;
    let guest = vmm.guest(vm, &machine, HELLO).await.expect("hello");
    let written = |outside: &Outside| -> u64 {
        assert_eq!(outside.missing, Vec::<String>::new());
        assert!(outside.process.is_some() && outside.since_ms.is_some(), "{outside:?}");
        assert_eq!(outside.interfaces, [], "it has no network");
        outside.drives.iter().find(|drive| drive.name == "root").expect("the VM's disk").written_bytes
    };
    let before = vmm.outside(vm, &machine).await.unwrap();
    write(&*guest, bytes).await;
    let after = vmm.outside(vm, &machine).await.unwrap();
    assert!(written(&after) >= written(&before) + bytes, "{before:?} {after:?}");
    assert!(before.drives[0].read_bytes > 0, "a boot reads");
    stands(vmm, vm, &machine).await;
    let paused = vmm.outside(vm, &machine).await.unwrap();
    assert!(written(&paused) >= written(&after));
    assert_eq!(paused.safety.map(|safety| safety.seccomp_faults), after.safety.map(|safety| safety.seccomp_faults));
    vmm.kill(vm, &machine).await.unwrap();
    end(vmm, vm, &machine).await;
    assert!(vmm.outside(vm, &machine).await.is_err(), "of a machine that is gone nothing is told");
    vmm.remove(vm).await.unwrap();
}
