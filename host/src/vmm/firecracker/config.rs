//! What a machine is configured with, from a plan. Pure. The kernel's words were tried on Firecracker 1.17 with Debian's 6.1.

use super::super::{
    MachinePlan, NicPlan, Tuning, VmmError,
    shared::{
        cmdline::{self, mac_text},
        drives,
    },
};
use super::api::{
    Invalid,
    model::{
        Backing, Balloon, BootSource, CacheType, CpuTemplate, DeviceId, Drive, HotplugMemory, MachineConfig, NetworkInterface,
        Vsock,
    },
};
use super::{metadata::Metadata, restore::Origin, tuning, version::Version};
use domain::vm::nic::SLOTS_MAX;
use serde::{Deserialize, Serialize};
use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

/// Each machine has a vsock of its own, so that the number need not differ.
const GUEST_CID: u32 = 3;

/// The root, vsock, entropy and the balloon.
const ALWAYS_THERE: usize = 4;
/// What a machine has room for beside those: of 24 interrupts 5 are the old devices', and one each the generation's and the clock's device's.
/// Source: `GSI_LEGACY_START` and `_END`, `vmgenid.rs` and `vmclock.rs` of Firecracker 1.17.
const DEVICES_BESIDE: usize = 24 - 5 - 2 - ALWAYS_THERE;
const _: () = assert!(SLOTS_MAX == DEVICES_BESIDE, "what a VM may have is what a machine has room for");
/// Firecracker's own least sizes: what the host gives at a time, and what the guest takes.
const MEMORY_SLOT_MIB: u64 = 128;
pub const MEMORY_BLOCK_MIB: u64 = 2;
/// What Firecracker adds to the kernel's command line itself: the first for each device, with another address and interrupt, and the second once.
const DEVICE_WORD: usize = " virtio_mmio.device=4K@0xc0001000:23".len();
const NO_PCI: usize = " pci=off".len();

/// Where the process finds its files, by its own view of the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    pub kernel: PathBuf,
    pub initrd: PathBuf,
    pub disk: PathBuf,
    pub seed: Option<PathBuf>,
    /// The folder of the data drives' files.
    pub drives: PathBuf,
    pub vsock: PathBuf,
}

/// All that is said before the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    pub machine: MachineConfig,
    pub boot: BootSource,
    pub root: Drive,
    /// After the root, whose name in the guest must stay.
    #[serde(default)]
    pub seed: Option<Drive>,
    /// The data drives, after both.
    #[serde(default)]
    pub drives: Vec<Drive>,
    /// The first.
    pub nic: Option<NetworkInterface>,
    /// Where its TAP device belongs, for it leaves its place while the process opens it.
    #[serde(default)]
    pub port: Option<Port>,
    /// All behind the first.
    #[serde(default)]
    pub further: Vec<Further>,
    pub vsock: Vsock,
    pub balloon: Balloon,
    /// What it can be given beside the memory that it begins with.
    #[serde(default)]
    pub memory: Option<HotplugMemory>,
    #[serde(default)]
    pub metadata: Option<Metadata>,
    /// It does not boot, it goes on: of all the above only the place of the TAP counts then.
    #[serde(default)]
    pub origin: Option<Origin>,
}

/// An interface with the place of its TAP device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Further {
    pub nic: NetworkInterface,
    pub port: Option<Port>,
}

/// The place of a TAP device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Absent: on none.
    pub bridge: Option<String>,
    /// The guest's.
    pub mac: [u8; 6],
    /// The guest's; absent where an earlier hearth wrote it.
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
}

impl Config {
    /// In the guest's order.
    pub fn nics(&self) -> impl Iterator<Item = &NetworkInterface> {
        self.nic.iter().chain(self.further.iter().map(|further| &further.nic))
    }

    /// Of each interface, in the same order.
    pub fn ports(&self) -> impl Iterator<Item = Option<&Port>> {
        self.nic.iter().map(|_| self.port.as_ref()).chain(self.further.iter().map(|further| further.port.as_ref()))
    }

    /// The TAP devices that must be lent to the process, and their places.
    pub fn lent(&self) -> impl Iterator<Item = (&str, &Port)> {
        self.nics().zip(self.ports()).filter_map(|(nic, port)| Some((nic.host_dev_name.as_str(), port?)))
    }

    /// One for each interface, in their order; none: they are opened where they are.
    pub fn place(&mut self, ports: Vec<Port>) {
        let mut ports = ports.into_iter();
        self.port = ports.next();
        for further in &mut self.further {
            further.port = ports.next();
        }
    }
}

/// What no machine of Firecracker's can be, whatever its files are: before anything of the VM is touched.
///
/// Errors: memory that it could be given, by a release that can't; more devices than there are interrupts for; more words on the kernel's command
/// line than it keeps; more vCPUs than a number of Firecracker's holds.
pub fn check(plan: &MachinePlan, version: &Version) -> Result<(), VmmError> {
    if plan.mem_max_mib.is_some() && !version.has_memory_hotplug() {
        let detail = format!(
            "Firecracker {} can't give a VM memory while it runs: take spec.mem_max_mib off the VM, or install 1.16.0 or newer",
            version.text
        );
        return Err(VmmError::Refused { call: "configuration", detail });
    }
    let others = usize::from(plan.cloud_init.is_some()) + usize::from(plan.mem_max_mib.is_some());
    let beside = plan.nics.len() + plan.disk.drives.all().len() + others;
    if beside > DEVICES_BESIDE {
        let detail = format!(
            "a machine of Firecracker's has room for {DEVICES_BESIDE} network interfaces, data drives, a seed and a device for memory together, and \
             the VM has {beside}"
        );
        return Err(VmmError::Refused { call: "configuration", detail });
    }
    vcpus(plan).map_err(refused)?;
    cmdline::check(&kernel_cmdline(plan), NO_PCI + (ALWAYS_THERE + beside) * DEVICE_WORD)
}

pub fn refused(invalid: Invalid) -> VmmError {
    VmmError::Refused { call: "configuration", detail: invalid.to_string() }
}

fn vcpus(plan: &MachinePlan) -> Result<u8, Invalid> {
    u8::try_from(plan.vcpus).map_err(|_| Invalid::Vcpus { vcpus: plan.vcpus })
}

/// Errors: more vCPUs than a number of Firecracker's holds.
pub fn config(plan: &MachinePlan, paths: Paths, version: &Version) -> Result<Config, Invalid> {
    let vcpu_count = vcpus(plan)?;
    let mut nics = plan.nics.iter().enumerate().map(|(index, nic)| interface(index, nic, &plan.tuning));
    Ok(Config {
        machine: MachineConfig {
            vcpu_count,
            mem_size_mib: plan.mem_mib.into(),
            smt: false,
            track_dirty_pages: plan.dirty_tracking,
            cpu_template: plan.cpu_template.map(template),
            huge_pages: None,
        },
        boot: BootSource {
            kernel_image_path: paths.kernel,
            initrd_path: Some(paths.initrd),
            boot_args: Some(kernel_cmdline(plan)),
        },
        drives: plan.disk.drives.all().iter().map(|drive| data_drive(drive, plan, &paths.drives)).collect::<Result<_, _>>()?,
        root: Drive {
            drive_id: root_id()?,
            // Firecracker would add words of its own about the root to the kernel's.
            is_root_device: false,
            partuuid: None,
            // What the guest was told is safe is on the host's disk, as with QEMU.
            cache_type: Some(CacheType::Writeback),
            backing: Backing::File {
                path_on_host: paths.disk,
                is_read_only: false,
                io_engine: None,
                rate_limiter: tuning::disk(&plan.tuning),
            },
        },
        seed: paths.seed.map(seed).transpose()?,
        nic: nics.next().transpose()?,
        port: None,
        further: nics.map(|nic| Ok(Further { nic: nic?, port: None })).collect::<Result<_, _>>()?,
        vsock: Vsock { guest_cid: GUEST_CID, uds_path: paths.vsock },
        balloon: balloon(version, plan.tuning.balloon_mib),
        memory: memory(plan),
        metadata: None,
        origin: None,
    })
}

/// The host gives it in slots, so that there may be room for somewhat more than is ever asked for.
fn memory(plan: &MachinePlan) -> Option<HotplugMemory> {
    let more = plan.mem_max_mib?.saturating_sub(plan.mem_mib);
    let total_size_mib = u64::from(more).max(1).next_multiple_of(MEMORY_SLOT_MIB);
    Some(HotplugMemory { total_size_mib, slot_size_mib: Some(MEMORY_SLOT_MIB), block_size_mib: Some(MEMORY_BLOCK_MIB) })
}

/// Each has the limits by itself.
fn interface(index: usize, nic: &NicPlan, tuning: &Tuning) -> Result<NetworkInterface, Invalid> {
    Ok(NetworkInterface {
        iface_id: nic_id(index)?,
        host_dev_name: nic.tap.clone(),
        guest_mac: Some(mac_text(nic.mac)),
        mtu: None,
        rx_rate_limiter: tuning::receive(tuning),
        tx_rate_limiter: tuning::send(tuning),
    })
}

fn seed(path_on_host: PathBuf) -> Result<Drive, Invalid> {
    Ok(Drive {
        drive_id: "seed".parse()?,
        is_root_device: false,
        partuuid: None,
        cache_type: None,
        backing: Backing::File { path_on_host, is_read_only: true, io_engine: None, rate_limiter: None },
    })
}

/// Its name in the API has no hyphens; the guest does not see it.
fn data_drive(drive: &domain::vm::Drive, plan: &MachinePlan, folder: &Path) -> Result<Drive, Invalid> {
    Ok(Drive {
        drive_id: data_id(drive.number)?,
        is_root_device: false,
        partuuid: None,
        cache_type: Some(CacheType::Writeback),
        backing: Backing::File {
            path_on_host: folder.join(drives::file(drive.number)),
            is_read_only: drive.read_only,
            io_engine: None,
            rate_limiter: tuning::disk(&plan.tuning),
        },
    })
}

/// By a drive's number.
pub fn data_id(number: u32) -> Result<DeviceId, Invalid> {
    format!("drive_{number}").parse()
}

pub fn root_id() -> Result<DeviceId, Invalid> {
    "root".parse()
}

/// As most guests call them, which have them in this order.
pub fn nic_id(index: usize) -> Result<DeviceId, Invalid> {
    format!("eth{index}").parse()
}

fn template(template: domain::vm::CpuTemplate) -> CpuTemplate {
    use domain::vm::CpuTemplate as Asked;
    match template {
        Asked::C3 => CpuTemplate::C3,
        Asked::T2 => CpuTemplate::T2,
        Asked::T2S => CpuTemplate::T2S,
        Asked::T2CL => CpuTemplate::T2CL,
        Asked::T2A => CpuTemplate::T2A,
        Asked::V1N1 => CpuTemplate::V1N1,
    }
}

/// Seconds. Who has statistics is told the balloon's size; the guest's own figures, which cost it a moment each time, are the agent's to tell.
const BALLOON_STATISTICS_EVERY_S: u16 = 3600;

/// What the guest frees goes back to the host in any case.
fn balloon(version: &Version, amount_mib: u32) -> Balloon {
    let free_page_reporting = version.has_free_page_reporting();
    let stats_polling_interval_s = BALLOON_STATISTICS_EVERY_S;
    Balloon { amount_mib, deflate_on_oom: true, stats_polling_interval_s, free_page_reporting, ..Balloon::default() }
}

fn kernel_cmdline(plan: &MachinePlan) -> String {
    // quiet: each character on the serial port is an exit to Firecracker. panic=-1 reboot=k: both end as a reset by the keyboard's controller,
    // which ends the process; that controller has nothing else to be looked for (nomux, noaux, nopnp, dumbkbd).
    let mut words: Vec<String> = ["console=ttyS0", "quiet", "panic=-1", "reboot=k"].map(str::to_owned).into();
    words.extend(["i8042.noaux", "i8042.nomux", "i8042.nopnp", "i8042.dumbkbd"].map(str::to_owned));
    // Nothing ends a guest that powers off: the agent makes a reset of it, and says before what it was (see `ending`).
    words.extend(["hearth.agent=vsock", "hearth.poweroff=reboot"].map(str::to_owned));
    words.extend(cmdline::words(plan));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::super::{NicPlan, sample};
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn room_for_memory_is_a_device_of_whole_slots_and_has_words_for_the_kernel() {
        let version = Version::parse("1.16.1");
        let total = |mem_mib, mem_max_mib| {
            let plan = MachinePlan { mem_mib, mem_max_mib, ..sample::plan() };
            let config = config(&plan, paths(), &version).unwrap();
            let words = config.boot.boot_args.unwrap();
            assert_eq!(words.contains(" memhp_default_state=online_movable"), mem_max_mib.is_some(), "{words}");
            config.memory.map(|memory| memory.total_size_mib)
        };
        assert_eq!(total(256, None), None);
        let all = [256, 257, 384, 385, 1024].map(|most| total(256, Some(most)).unwrap());
        assert_eq!(all, [128, 128, 128, 256, 768], "a device can't be empty");
        let nics = sample::nics(8);
        let change = |n| domain::vm::DriveChange { name: format!("d{n}").parse().unwrap(), size_mib: Some(1), read_only: None };
        let mut full = MachinePlan { nics, mem_max_mib: None, ..sample::plan() };
        full.disk.drives = domain::vm::Drives::new(&(0..5).map(change).collect::<Vec<_>>());
        check(&full, &version).unwrap();
        full.mem_max_mib = Some(512);
        let refusal = check(&full, &version).unwrap_err().to_string();
        assert!(refusal.contains("device for memory together, and the VM has 14"), "{refusal}");
        // By a release that was there when the VM was made, and is not any more.
        let roomy = MachinePlan { mem_max_mib: Some(512), ..sample::plan() };
        check(&roomy, &version).unwrap();
        let refusal = check(&roomy, &Version::parse("1.15.2")).unwrap_err().to_string();
        assert!(
            refusal.contains("Firecracker 1.15.2 can't give a VM memory") && refusal.contains("1.16.0 or newer"),
            "{refusal}"
        );
    }

    fn plan(vcpus: u32, nic: Option<NicPlan>) -> MachinePlan {
        MachinePlan { vcpus, nics: nic.into_iter().collect(), cmdline: Some("debug".into()), ..sample::plan() }
    }

    fn paths() -> Paths {
        Paths {
            kernel: "kernel".into(),
            initrd: "initrd".into(),
            disk: "disk.raw".into(),
            seed: None,
            drives: PathBuf::new(),
            vsock: "v.sock".into(),
        }
    }

    fn version() -> Version {
        Version::parse("1.16.1")
    }

    #[test]
    fn the_machine_with_network_word_for_word() {
        let config = config(&plan(2, Some(sample::nic())), paths(), &version()).unwrap();
        assert_eq!(
            config.boot.boot_args.unwrap(),
            "console=ttyS0 quiet panic=-1 reboot=k i8042.noaux i8042.nomux i8042.nopnp i8042.dumbkbd hearth.agent=vsock \
             hearth.poweroff=reboot root=/dev/vda rw hearth.hostname=web-1 dummy.numdummies=0 hearth.ip=10.77.0.5/16 \
             hearth.gw=10.77.0.1 hearth.dns=10.77.0.1,9.9.9.9 debug"
        );
        let nic = config.nic.unwrap();
        assert_eq!((nic.host_dev_name.as_str(), nic.guest_mac.as_deref()), ("hth0", Some("52:54:00:01:02:ff")));
        assert_eq!((config.machine.vcpu_count, config.machine.mem_size_mib), (2, 256));
    }

    #[test]
    fn each_interface_is_its_own_and_an_older_hearth_wrote_one() {
        let rate_limits = domain::vm::RateLimits { rx_mbit_per_s: Some(8), ..domain::vm::RateLimits::default() };
        let tuning = crate::vmm::Tuning { rate_limits, ..crate::vmm::Tuning::default() };
        let plan = MachinePlan { nics: sample::nics(3), tuning, ..plan(1, None) };
        let mut config = config(&plan, paths(), &version()).unwrap();
        let told: Vec<_> = config
            .nics()
            .map(|nic| (nic.iface_id.to_string(), nic.host_dev_name.as_str(), nic.guest_mac.as_deref().unwrap()))
            .collect();
        let expected =
            [("eth0", "hth0", "52:54:00:01:02:ff"), ("eth1", "hth1", "52:54:00:01:03:01"), ("eth2", "hth2", "52:54:00:01:03:02")];
        assert_eq!(told, expected.map(|(id, tap, mac)| (id.to_owned(), tap, mac)));
        assert!(config.nics().all(|nic| nic.rx_rate_limiter.is_some() && nic.tx_rate_limiter.is_none()));
        assert_eq!(config.lent().count(), 0, "without a jail they are opened where they are");
        let port = |n| Port { bridge: Some("hearth0".into()), mac: [2, 0, 0, 0, 0, n], address: None };
        config.place(vec![port(0), port(1), port(2)]);
        assert_eq!(config.lent().collect::<Vec<_>>(), [("hth0", &port(0)), ("hth1", &port(1)), ("hth2", &port(2))]);
        let mut older = serde_json::to_value(config).unwrap();
        older.as_object_mut().unwrap().remove("further");
        assert_eq!(serde_json::from_value::<Config>(older).unwrap().lent().collect::<Vec<_>>(), [("hth0", &port(0))]);
    }

    #[test]
    fn a_machine_has_room_for_as_many_devices_and_words_as_firecracker() {
        use domain::vm::{DriveChange, Drives, spec::CMDLINE_MAX};
        let drive =
            |n: u8| DriveChange { name: format!("drive-{n}").parse().unwrap(), size_mib: Some(5), read_only: Some(false) };
        let with = |nics: u8, drives: u8, cmdline: usize| {
            let mut plan = MachinePlan {
                hostname: "h".repeat(domain::name::NAME_MAX),
                nics: sample::nics(nics),
                cmdline: Some("c".repeat(cmdline)),
                ..plan(1, None)
            };
            plan.disk.drives = Drives::new(&(0..drives).map(drive).collect::<Vec<_>>());
            let longest = |last: u8| Ipv4Addr::new(192, 168, 100, 100 + last);
            for (nic, last) in plan.nics.iter_mut().zip(0..) {
                (nic.address, nic.gateway, nic.dns) = (longest(last), longest(99), vec![longest(10), longest(11), longest(12)]);
            }
            plan.cloud_init = Some(Box::default());
            check(&plan, &version())
        };
        // All drives and one interface; all interfaces: with the longest names, addresses and words.
        with(1, 8, CMDLINE_MAX).unwrap();
        with(4, 8, 900).unwrap();
        with(8, 4, 768).unwrap();
        let refusal = with(8, 5, 0).unwrap_err().to_string();
        assert!(refusal.contains("room for 13") && refusal.contains("has 14"), "{refusal}");
        let refusal = with(8, 4, CMDLINE_MAX).unwrap_err().to_string();
        assert!(refusal.contains("make spec.cmdline shorter by"), "{refusal}");
    }

    #[test]
    fn what_is_asked_of_its_devices_is_said_before_the_start() {
        let rate_limits = domain::vm::RateLimits { disk_mib_per_s: Some(3), ..domain::vm::RateLimits::default() };
        let tuning = crate::vmm::Tuning { rate_limits, balloon_mib: 9, ..crate::vmm::Tuning::default() };
        let template = Some(domain::vm::CpuTemplate::T2CL);
        let plan = MachinePlan { tuning, cpu_template: template, dirty_tracking: true, ..plan(1, None) };
        let config = config(&plan, paths(), &version()).unwrap();
        assert_eq!((config.balloon.amount_mib, config.machine.cpu_template), (9, Some(CpuTemplate::T2CL)));
        assert!(matches!(config.root.backing, Backing::File { rate_limiter: Some(_), .. }));
        assert!(config.machine.track_dirty_pages);
    }

    #[test]
    fn a_seed_is_read_only_and_one_that_an_older_hearth_wrote_has_none() {
        let paths = Paths { seed: Some("seed.iso".into()), ..paths() };
        let config = config(&plan(1, None), paths, &version()).unwrap();
        let seed = serde_json::to_value(config.seed.as_ref().unwrap()).unwrap();
        assert_eq!(
            seed,
            serde_json::json!({
                "drive_id": "seed", "is_root_device": false, "path_on_host": "seed.iso", "is_read_only": true
            })
        );
        let mut older = serde_json::to_value(config).unwrap();
        older.as_object_mut().unwrap().remove("seed");
        assert!(serde_json::from_value::<Config>(older).unwrap().seed.is_none());
    }

    #[test]
    fn data_drives_follow_and_one_that_an_older_hearth_wrote_has_none() {
        use domain::vm::{DriveChange, Drives};
        let drive =
            |name: &str, read_only| DriveChange { name: name.parse().unwrap(), size_mib: Some(5), read_only: Some(read_only) };
        let mut plan = plan(1, None);
        plan.disk.drives = Drives::new(&[drive("data", false), drive("ro", true)]);
        let config = config(&plan, Paths { drives: "/vms/a".into(), ..paths() }, &version()).unwrap();
        let told = serde_json::to_value(&config.drives).unwrap();
        let expected = |number: u32, read_only: bool| {
            serde_json::json!({
                "drive_id": format!("drive_{number}"), "is_root_device": false, "cache_type": "Writeback",
                "path_on_host": format!("/vms/a/drive-{number}.raw"), "is_read_only": read_only
            })
        };
        assert_eq!(told, serde_json::json!([expected(0, false), expected(1, true)]));
        let mut older = serde_json::to_value(config).unwrap();
        older.as_object_mut().unwrap().remove("drives");
        assert!(serde_json::from_value::<Config>(older).unwrap().drives.is_empty());
    }

    #[test]
    fn what_no_machine_has_is_refused_before_it_is_said() {
        assert!(matches!(config(&plan(300, None), paths(), &version()), Err(Invalid::Vcpus { .. })));
        assert!(check(&plan(300, None), &version()).unwrap_err().to_string().contains("vCPUs"));
        assert!(config(&plan(1, None), paths(), &version()).unwrap().nic.is_none());
    }
}
