//! What this machine is ([`collect`], slow to change) and what it uses just now ([`Meter`], for metrics).
//!
//! Which VMM was chosen and what is wrong with the machine are found out elsewhere and handed in.

use domain::{
    host::{Capabilities, Facts, VmmFacts},
    vm::Driver,
};
use serde::Serialize;
use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

const MIB: u64 = 1024 * 1024;
/// Kept from VMs for the kernel, hearth itself and the VMMs' own memory: a sixteenth, within these bounds. A QEMU process has about
/// 20 MiB of its own beside the guest's memory (measured on 7.2), a Firecracker 3 to 5.
const RESERVE_MIN_MIB: u64 = 512;
const RESERVE_MAX_MIB: u64 = 4096;
const RESERVE_SHARE: u64 = 16;

/// What the simulated driver reports: room for a million VMs. 1 PiB is 2^30 MiB.
pub const SIMULATED_VCPUS: u32 = 1_000_000;
pub const SIMULATED_MEM_MIB: u64 = 1 << 30;

/// The processors' use is a difference between two looks; closer together it says nothing (the kernel counts in hundredths of a second).
const LOOK_APART: Duration = Duration::from_millis(250);

/// The facts of this machine. What can't be found out is `unknown` or 0, and one of the problems. Blocks for a few milliseconds.
pub fn collect(vmm: VmmFacts, capabilities: Capabilities, network_problem: Option<String>, mut problems: Vec<String>) -> Facts {
    let simulated = vmm.driver == Driver::Simulated;
    let kinds = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing()).with_memory(MemoryRefreshKind::nothing().with_ram());
    let system =
        System::new_with_specifics(kinds).map_err(|error| problems.push(format!("the machine can't be looked at: {error}")));
    let mem_mib = system.as_ref().map_or(0, |system| system.total_memory() / MIB);
    let cpu_model = system.ok().and_then(|system| system.cpus().first().map(|cpu| cpu.brand().trim().to_owned()));
    // The number that hearth may run on (affinity, cgroup quota), not the number in the machine.
    let cpus = std::thread::available_parallelism().map_or(0, |number| u32::try_from(number.get()).unwrap_or(u32::MAX));
    let (vm_vcpus, vm_mem_mib) =
        if simulated { (SIMULATED_VCPUS, SIMULATED_MEM_MIB) } else { (cpus, mem_mib.saturating_sub(reserve_mib(mem_mib))) };
    let unknown = || "unknown".to_owned();
    Facts {
        hostname: System::host_name().unwrap_or_else(|_| unknown()),
        kernel: System::kernel_version().unwrap_or_else(|_| unknown()),
        architecture: std::env::consts::ARCH.to_owned(),
        cpu_model: cpu_model.filter(|model| !model.is_empty()).unwrap_or_else(unknown),
        cpus,
        mem_mib,
        vm_vcpus,
        vm_mem_mib,
        hearth_version: env!("CARGO_PKG_VERSION").to_owned(),
        vmm,
        network_problem,
        problems,
        capabilities,
    }
}

fn reserve_mib(mem_mib: u64) -> u64 {
    (mem_mib / RESERVE_SHARE).clamp(RESERVE_MIN_MIB, RESERVE_MAX_MIB)
}

/// What the machine uses just now.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct HostUsage {
    /// Of all processors together, 0 to 100, since the last look.
    pub cpu_percent: f64,
    pub mem_used_bytes: u64,
    pub mem_total_bytes: u64,
    /// Of the file system that holds the data directory; free is what an unprivileged program may still take.
    pub disk_used_bytes: u64,
    pub disk_total_bytes: u64,
    pub disk_free_bytes: u64,
    /// Averages over 1, 5 and 15 minutes.
    pub load: [f64; 3],
}

/// Looks at the machine again and again at little cost. Any thread may ask; answers closer together than a quarter of a second are the same.
pub struct Meter {
    data_dir: PathBuf,
    looked: Mutex<Looked>,
}

struct Looked {
    /// Absent where the machine can't be looked at; then all is 0.
    system: Option<System>,
    at: Instant,
    usage: HostUsage,
}

impl Meter {
    pub fn new(data_dir: PathBuf) -> Meter {
        let mut system = System::new().ok();
        let usage = look(system.as_mut(), &data_dir);
        Meter { data_dir, looked: Mutex::new(Looked { system, at: Instant::now(), usage }) }
    }

    /// Reads three small files in /proc and asks for the file system's size: tens of microseconds.
    pub fn usage(&self) -> HostUsage {
        // Poisoned: a look panicked. The figures are still figures.
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.at.elapsed() >= LOOK_APART {
            looked.usage = look(looked.system.as_mut(), &self.data_dir);
            looked.at = Instant::now();
        }
        looked.usage
    }
}

fn look(system: Option<&mut System>, data_dir: &std::path::Path) -> HostUsage {
    let mut usage = HostUsage::default();
    if let Some(system) = system {
        system.refresh_cpu_usage();
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        usage.cpu_percent = f64::from(system.global_cpu_usage());
        usage.mem_total_bytes = system.total_memory();
        usage.mem_used_bytes = system.total_memory().saturating_sub(system.available_memory());
    }
    if let Ok(space) = nix::sys::statvfs::statvfs(data_dir) {
        let block = space.fragment_size();
        usage.disk_total_bytes = space.blocks() * block;
        usage.disk_used_bytes = space.blocks().saturating_sub(space.blocks_free()) * block;
        usage.disk_free_bytes = space.blocks_available() * block;
    }
    if let Ok(load) = System::load_average() {
        usage.load = [load.one, load.five, load.fifteen];
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vmm(driver: Driver) -> VmmFacts {
        VmmFacts { driver, version: "7.2".to_owned(), acceleration: "tcg".to_owned(), chosen_because: "asked for".to_owned() }
    }

    #[test]
    fn facts_are_those_of_this_machine() {
        let facts = collect(vmm(Driver::Qemu), Capabilities::NONE, None, Vec::new());
        assert_eq!(facts.problems, Vec::<String>::new());
        assert_eq!(facts.kernel, std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim());
        assert!(facts.cpus >= 1 && facts.mem_mib > 0 && facts.vm_mem_mib < facts.mem_mib, "{facts:?}");
        assert!(facts.cpu_model != "unknown" && facts.hostname != "unknown", "{facts:?}");
    }

    #[test]
    fn the_simulated_driver_has_room_for_a_million() {
        let can = Capabilities { pause: true, ..Capabilities::NONE };
        let facts = collect(vmm(Driver::Simulated), can, Some("none".to_owned()), vec!["one".to_owned()]);
        assert_eq!(facts.capabilities, can);
        assert_eq!((facts.vm_vcpus, facts.vm_mem_mib), (1_000_000, 1_073_741_824));
        assert_eq!((facts.network_problem.as_deref(), facts.problems.len()), (Some("none"), 1));
    }

    #[test]
    fn something_is_always_kept_for_the_host() {
        assert_eq!([1024, 24 * 1024, 512 * 1024].map(reserve_mib), [512, 1536, 4096]);
    }

    #[test]
    fn usage_is_within_what_there_is() {
        let meter = Meter::new(std::env::temp_dir());
        let first = meter.usage();
        assert!(first.mem_used_bytes > 0 && first.mem_used_bytes < first.mem_total_bytes, "{first:?}");
        assert!(first.disk_used_bytes > 0 && first.disk_used_bytes < first.disk_total_bytes, "{first:?}");
        assert!(first.disk_free_bytes <= first.disk_total_bytes - first.disk_used_bytes, "{first:?}");
        assert_eq!(meter.usage(), first, "asked again at once");
        let deadline = Instant::now() + Duration::from_secs(10);
        while meter.usage().cpu_percent == 0.0 {
            assert!(Instant::now() < deadline, "a busy loop is seen");
        }
        assert!(meter.usage().cpu_percent <= 100.5);
    }
}
