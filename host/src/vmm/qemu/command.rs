//! QEMU's command line and the guest kernel's, from a plan. Pure. Each word was measured (QEMU 7.2); the reasons are at the words.

use super::super::shared::{cmdline, drives, gate::FIRST_INHERITED, mark, seed::SEED};
use super::super::{MachinePlan, NicPlan};
use super::files::{CONSOLE_LOG, DISK, EVENTS_LOG};
use super::{own::Own, tuning};
use domain::vm::Drive;
use std::path::Path;

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceleration {
    Kvm,
    /// Emulated; works everywhere. `tsc_khz`: the frequency of this machine's TSC, absent where it has none.
    Tcg {
        tsc_khz: Option<u64>,
    },
}

impl Acceleration {
    pub fn name(self) -> &'static str {
        match self {
            Acceleration::Kvm => "kvm",
            Acceleration::Tcg { .. } => "tcg",
        }
    }
}

/// The arguments, the program's name first. Files of the VM are named without a folder: the process works in the VM's folder.
pub fn arguments(
    plan: &MachinePlan,
    owner: &str,
    acceleration: Acceleration,
    kernel: &Path,
    initrd: &Path,
    own: Option<&Own>,
) -> Vec<String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (memory, vcpus) = (plan.mem_mib.to_string(), plan.vcpus.to_string());
    let (kernel, initrd, cmdline) = (text(kernel), text(initrd), kernel_cmdline(plan, acceleration));
    let mark = mark(owner, plan.vm);
    let cpu = match acceleration {
        Acceleration::Kvm => "host",
        // Less would lack what x86-64-v2 images need.
        Acceleration::Tcg { .. } => "max",
    };
    let socket = |id: &str, at: i32| format!("socket,id={id},fd={},server=on,wait=off", FIRST_INHERITED + at);
    let events = format!("{},logfile={EVENTS_LOG},logappend=on", socket("events", 1));
    let console = format!("{},logfile={CONSOLE_LOG},logappend=on", socket("console", 3));
    // discard: what the guest trims is given back. werror's default holds the guest when the host's disk is full, and `cont` goes on.
    let limits = tuning::drive_words(&plan.tuning.rate_limits);
    let drive = format!("id={},if=none,file={DISK},format=qcow2,discard=unmap{limits}", tuning::ROOT);
    let mut words: Vec<&str> = vec!["qemu-system-x86_64", "-name", &mark];
    words.extend(["-M", "microvm,x-option-roms=off,isa-serial=on,rtc=on", "-accel", acceleration.name(), "-cpu", cpu]);
    words.extend(["-smp", &vcpus, "-m", &memory, "-nodefaults", "-no-user-config", "-nographic", "-S"]);
    // A reboot ends the process, and the owner of the VM decides what follows. A panic is told apart from it by pvpanic.
    words.extend(["-no-reboot", "-action", "panic=exit-failure", "-device", "pvpanic"]);
    // QEMU sets its filter first and changes its user later, which `elevateprivileges=deny` would end it for. Nothing is lost: behind it stands
    // a user without capabilities whose four uids are one, and no-new-privileges, which the gate sets.
    let elevate = if own.is_some() { "allow" } else { "deny" };
    let sandbox = format!("on,obsolete=deny,elevateprivileges={elevate},spawn=deny,resourcecontrol=deny");
    let own = own.map(Own::words);
    words.extend(["-sandbox", &sandbox]);
    words.extend(own.iter().flatten().map(String::as_str));
    words.extend(["-global", "virtio-mmio.force-legacy=false", "-kernel", &kernel, "-initrd", &initrd, "-append", &cmdline]);
    let control = socket("control", 0);
    words.extend(["-chardev", &control, "-mon", "chardev=control,mode=control"]);
    words.extend(["-chardev", &events, "-mon", "chardev=events,mode=control"]);
    words.extend(["-chardev", &console, "-serial", "chardev:console"]);
    words.extend(["-drive", &drive, "-device", "virtio-blk-device,drive=root"]);
    let seed = plan.cloud_init.as_ref().map(|_| format!("id=seed,if=none,file={SEED},format=raw,readonly=on"));
    if let Some(drive) = &seed {
        words.extend(["-drive", drive, "-device", "virtio-blk-device,drive=seed"]);
    }
    let data: Vec<_> = plan.disk.drives.all().iter().map(|drive| data_drive(drive, &limits)).collect();
    for [drive, device] in &data {
        words.extend(["-drive", drive, "-device", device]);
    }
    let agent = socket("agent", 2);
    words.extend(["-chardev", &agent, "-device", "virtio-serial-device"]);
    words.extend(["-device", "virtserialport,chardev=agent,name=agent.0"]);
    words.extend(["-device", "virtio-rng-device"]);
    words.extend(["-device", "virtio-balloon-device,id=balloon,deflate-on-oom=on,free-page-reporting=on"]);
    // The guest finds them in this order.
    let nics: Vec<_> = plan.nics.iter().enumerate().map(|(index, nic)| network(index, nic)).collect();
    for [netdev, device] in &nics {
        words.extend(["-netdev", netdev, "-device", device]);
    }
    words.into_iter().map(str::to_owned).collect()
}

/// Its format is said, so that nothing that the guest writes into it is taken for a header. The guest sees the name as a serial number.
fn data_drive(drive: &Drive, limits: &str) -> [String; 2] {
    let Drive { name, number, read_only, .. } = drive;
    let (id, file) = (format!("{}{number}", tuning::DATA), drives::file(*number));
    let read_only = if *read_only { ",readonly=on" } else { "" };
    [
        format!("id={id},if=none,file={file},format=raw,discard=unmap{read_only}{limits}"),
        format!("virtio-blk-device,drive={id},serial={name}"),
    ]
}

fn network(index: usize, nic: &NicPlan) -> [String; 2] {
    let (id, mac) = (format!("{}{index}", tuning::NIC), cmdline::mac_text(nic.mac));
    [format!("tap,id={id},ifname={},script=no,downscript=no", nic.tap), format!("virtio-net-device,netdev={id},mac={mac}")]
}

pub fn kernel_cmdline(plan: &MachinePlan, acceleration: Acceleration) -> String {
    // quiet: serial output is slow when emulated. reboot=t panic=-1: both end as a reset, which ends the process.
    let mut words = vec!["console=ttyS0".to_owned(), "quiet".into(), "panic=-1".into(), "reboot=t".into()];
    if let Acceleration::Tcg { tsc_khz } = acceleration {
        // An emulated guest measures its TSC against timers that a busy host delays, and then hangs at boot: every one of 12 tries.
        words.extend(tsc_khz.map(|khz| format!("tsc_early_khz={khz}")));
        words.extend(["tsc=reliable".into(), "no_timer_check".into()]);
    }
    words.extend(cmdline::words(plan));
    words.join(" ")
}

#[cfg(test)]
mod tests;
