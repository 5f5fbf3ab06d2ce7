//! What a launch refuses before it touches anything, what it writes and who may read it, and what a failed start is told as.

use super::super::{super::sample, stage};
use super::*;
use crate::vmm::{
    Tuning, Vmm,
    limits::{limits, transfers},
};
use domain::vm::{DriveChange, Drives, RateLimits};
use std::os::unix::fs::PermissionsExt;

fn refused(fault: &str) -> ApiError {
    ApiError::Refused { call: "PUT /actions", fault: fault.into() }
}

#[tokio::test]
async fn what_no_machine_can_be_is_refused_before_anything_of_the_vm_is_touched() {
    let top = tempfile::tempdir().unwrap();
    let driver = stage::driver(top.path(), "1.16.1").await;
    let drive = |n: u32| DriveChange { name: format!("d-{n}").parse().unwrap(), size_mib: Some(1), read_only: None };
    let mut plan = sample::plan();
    plan.kernel = top.path().join("kernel");
    fs::write(&plan.kernel, b"kernel").unwrap();
    plan.disk.size_bytes = Some(8192);
    let folder = driver.inner.ground.folder(plan.vm);
    layout::make_folder(&folder).unwrap();
    fs::write(folder.join(DISK), [7; 4096]).unwrap();
    let many = MachinePlan { nics: sample::nics(8), cloud_init: Some(Box::default()), ..plan.clone() };
    let drives = Drives::new(&(0..5).map(drive).collect::<Vec<_>>());
    let many = MachinePlan { disk: crate::vmm::DiskPlan { drives, ..plan.disk.clone() }, ..many };
    let long = MachinePlan { cmdline: Some("w".repeat(4096)), ..plan.clone() };
    let large = MachinePlan { vcpus: 300, ..plan.clone() };
    let spoken = MachinePlan { nics: sample::nics(1), metadata: Some("no JSON".into()), ..plan.clone() };
    let names = || {
        let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    for (plan, told) in [(many, "room for 13"), (long, "make spec.cmdline shorter"), (large, "300 vCPUs"), (spoken, "metadata")] {
        let error = driver.launch(&plan, Attempt(1)).await.unwrap_err();
        assert!(matches!(error, VmmError::Refused { .. }) && error.to_string().contains(told), "{told}: {error}");
        assert_eq!(names(), [DISK], "{told}");
        assert_eq!(fs::metadata(folder.join(DISK)).unwrap().len(), 4096, "{told}: it was to grow, and did not");
        assert!(!top.path().join("data/boot").exists(), "{told}");
    }
}

#[test]
fn what_a_machine_is_to_be_is_nobody_elses_to_read() {
    let folder = tempfile::tempdir().unwrap();
    let config = stage::configured(&sample::plan(), None);
    let path = folder.path().join(CONFIG);
    for _ in 0..2 {
        write_config(folder.path(), &config).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_config(folder.path()).unwrap(), config);
        // As an earlier hearth left it, and longer.
        fs::write(&path, vec![b'x'; 1 << 16]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }
}

/// Firecracker keeps the limits of a disk itself, drive by drive; around them the group has a bound, where there is a disk to count at.
#[test]
fn limits_of_a_disk_bound_the_group_and_nothing_else_of_it() {
    let rate_limits = RateLimits { disk_mib_per_s: Some(3), disk_ops_per_s: Some(5), ..RateLimits::default() };
    let plan = MachinePlan { tuning: Tuning { rate_limits, ..Tuning::default() }, vcpus: 2, mem_mib: 1024, ..sample::plan() };
    let here = Path::new("/");
    let mut written = limits(&needs(&plan, here));
    let io = transfers::bound(&rate_limits, 1, here);
    assert_eq!(written.last().filter(|(file, _)| *file == "io.max").cloned(), io.as_ref().map(crate::vmm::limits::io_max));
    written.truncate(3);
    let files: Vec<_> = written.iter().map(|(file, _)| *file).collect();
    assert_eq!(files, ["cpu.max", "memory.max", "pids.max"]);
    assert_eq!(written, limits(&needs(&MachinePlan { tuning: Tuning::default(), ..plan }, here)));
}

#[test]
fn a_kvm_that_can_t_be_opened_is_told_with_what_to_do_about_it() {
    let told = |system: &str| {
        start_error(refused(&format!("Start microvm error: Cannot create KVM object: Error creating Kvm object: {system}")))
            .to_string()
    };
    let denied = told("Permission denied (os error 13)");
    assert!(
        denied.contains(": run as root (the jailer needs it), or put the user into the group kvm") && !denied.contains("module"),
        "{denied}"
    );
    assert_eq!(denied.lines().count(), 1);
    let absent = told("No such file or directory (os error 2)");
    assert!(absent.contains(": load the module: modprobe kvm_intel, or kvm_amd; see `hearth doctor`"), "{absent}");
    assert!(told("Device or resource busy (os error 16)").contains("dmesg says why"));
}
