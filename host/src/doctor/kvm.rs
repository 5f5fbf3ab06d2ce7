//! Checks of hardware virtualisation: the processor's flags, `/dev/kvm`, whether a guest boots, vsock.

use super::{Check, GuestBoot, Status};
use nix::{errno::Errno, libc};
use std::{
    fs::{self, OpenOptions},
    io,
    os::fd::AsRawFd,
    path::Path,
};

const KVM: &str = "/dev/kvm";
/// The one stable version of KVM's interface since Linux 2.6.22 (kernel: Documentation/virt/kvm/api.rst, 4.1).
const KVM_API: i32 = 12;

pub(super) fn checks(guest_boot: &GuestBoot, firecracker: &GuestBoot) -> Vec<Check> {
    vec![processor(), device(), boots(guest_boot), firecracker_boots(firecracker), vsock()]
}

fn processor() -> Check {
    let (id, title) = ("cpu-virtualisation", "CPU virtualisation");
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    match virtualisation_flag(&info) {
        Some("vmx") => Check::ok(id, title, "Intel VT-x (vmx)"),
        Some(_) => Check::ok(id, title, "AMD-V (svm)"),
        None => {
            let is_guest = info.split_whitespace().any(|word| word == "hypervisor");
            let check = Check::new(
                id,
                title,
                Status::Missing,
                "neither vmx nor svm; guests run in QEMU's emulation, about ten times slower",
            );
            check.remedy(match is_guest {
                true => "this machine is a VM itself: switch nested virtualisation on at its host, or use bare metal",
                false => "switch virtualisation on in the firmware",
            })
        }
    }
}

pub(super) fn virtualisation_flag(cpuinfo: &str) -> Option<&'static str> {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"))?;
    let flag = |name: &'static str| flags.split_whitespace().any(|word| word == name).then_some(name);
    flag("vmx").or_else(|| flag("svm"))
}

fn device() -> Check {
    let (id, title) = ("kvm-device", "KVM device");
    match kvm_api() {
        Ok(KVM_API) => Check::ok(id, title, format!("{KVM} opens, API {KVM_API}")),
        Ok(other) => Check::new(id, title, Status::Failed, format!("{KVM} has API {other}, {KVM_API} is needed"))
            .remedy("use a kernel of 5.10 or newer"),
        Err(error) => {
            let check = match error.kind() {
                io::ErrorKind::NotFound => {
                    Check::new(id, title, Status::Missing, format!("{KVM} does not exist; guests run in QEMU's emulation"))
                }
                _ => Check::new(id, title, Status::Failed, format!("{KVM}: {error}")),
            };
            check.remedy(remedy(error.kind()))
        }
    }
}

/// Where KVM's device can't be opened, for that reason.
pub(crate) fn remedy(error: io::ErrorKind) -> &'static str {
    match error {
        io::ErrorKind::NotFound => "load the module: modprobe kvm_intel, or kvm_amd",
        io::ErrorKind::PermissionDenied => {
            "run as root (the jailer needs it), or put the user into the group kvm: usermod -aG kvm USER"
        }
        _ => "load the module: modprobe kvm_intel, or kvm_amd; dmesg says why it refuses",
    }
}

fn kvm_api() -> io::Result<i32> {
    const KVM_GET_API_VERSION: libc::c_ulong = 0xae00;
    let file = OpenOptions::new().read(true).write(true).open(KVM)?;
    #[allow(unsafe_code)]
    // SAFETY: the call takes no pointer; the file is open.
    let version = unsafe { libc::ioctl(file.as_raw_fd(), KVM_GET_API_VERSION as _, 0) };
    Errno::result(version).map_err(io::Error::from)
}

fn boots(guest_boot: &GuestBoot) -> Check {
    let (id, title) = ("kvm-guest", "KVM boots a guest");
    match guest_boot {
        GuestBoot::Boots { detail } => Check::ok(id, title, detail.clone()),
        GuestBoot::NotTried => Check::new(id, title, Status::Warn, "not tried yet")
            .remedy("start `hearth up` once with a kernel image: it tries and remembers"),
        GuestBoot::Fails { detail } => {
            let detail = format!("{detail}; guests run in QEMU's emulation");
            Check::new(id, title, Status::Missing, detail)
                .remedy("this KVM is there and does not run guests (often a VM in a VM): use bare metal or a host with working nested virtualisation")
        }
    }
}

fn firecracker_boots(guest_boot: &GuestBoot) -> Check {
    let (id, title) = ("firecracker-guest", "Firecracker boots a guest");
    match guest_boot {
        GuestBoot::Boots { detail } => Check::ok(id, title, detail.clone()),
        GuestBoot::NotTried => Check::new(id, title, Status::Missing, "not tried yet; without it --vmm auto takes QEMU")
            .remedy("start `hearth up` once with Firecracker installed and a kernel image: it tries and remembers"),
        GuestBoot::Fails { detail } => Check::new(id, title, Status::Missing, format!("{detail}; --vmm auto takes QEMU"))
            .remedy("use bare metal or a host with working nested virtualisation; it is tried again after a reboot, or with another Firecracker"),
    }
}

fn vsock() -> Check {
    let (id, title) = ("vhost-vsock", "vsock");
    let there = Path::new("/dev/vhost-vsock").exists();
    Check::ok(
        id,
        title,
        match there {
            true => "/dev/vhost-vsock is there; not needed",
            false => "no /dev/vhost-vsock; not needed, agents are reached through Unix sockets of the VMM",
        },
    )
}
