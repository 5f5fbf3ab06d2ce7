//! One look at the guest through /proc. What can't be read is left at zero: a sample is better than none.
use api::guest::{CpuTimes, DiskCounters, Filesystem, Memory, MetricsSample, NetworkCounters, Processes};
use nix::{
    sys::statvfs::statvfs,
    time::{ClockId, clock_gettime},
    unistd::{SysconfVar, sysconf},
};
use std::fs;

/// The unit of /proc/diskstats, whatever the disk's own sector is.
const SECTOR: u64 = 512;
/// Of each list in a sample: it must fit into a frame, and a guest with more is asked in other ways.
const MOST: usize = 64;

pub fn sample() -> MetricsSample {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (load, processes) = load_and_processes(&read("/proc/loadavg"));
    MetricsSample {
        uptime_ms: (read("/proc/uptime").split(' ').next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0) * 1000.0)
            as u64,
        epoch_ns: clock_gettime(ClockId::CLOCK_REALTIME)
            .map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64),
        cpu: cpu(&read("/proc/stat"), ticks_per_second()),
        memory: memory(&read("/proc/meminfo")),
        load,
        processes,
        disks: disks(&read("/proc/diskstats")),
        filesystems: filesystems(&read("/proc/self/mounts")),
        networks: networks(&read("/proc/self/net/dev")),
    }
}

fn ticks_per_second() -> u64 {
    sysconf(SysconfVar::CLK_TCK).ok().flatten().map_or(100, |ticks| ticks.max(1) as u64)
}

fn cpu(text: &str, ticks: u64) -> CpuTimes {
    let mut times = CpuTimes::default();
    for line in text.lines().filter(|line| line.starts_with("cpu")) {
        if !line.starts_with("cpu ") {
            times.cpus += 1;
            continue;
        }
        // user nice system idle iowait irq softirq steal (proc_stat(5))
        let values: Vec<u64> = line.split_ascii_whitespace().skip(1).map(|word| word.parse().unwrap_or(0)).collect();
        // Nothing that /proc says may end the agent, so sums stop at the largest number.
        let ms = |at: usize| values.get(at).copied().unwrap_or(0).saturating_mul(1000) / ticks;
        times.user_ms = ms(0).saturating_add(ms(1));
        times.system_ms = ms(2).saturating_add(ms(5)).saturating_add(ms(6));
        (times.idle_ms, times.iowait_ms, times.steal_ms) = (ms(3), ms(4), ms(7));
    }
    times
}

fn memory(text: &str) -> Memory {
    let mut memory = Memory::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(kib)) = (words.next(), words.next().and_then(|word| word.parse::<u64>().ok())) else { continue };
        let place = match name {
            "MemTotal:" => &mut memory.total_bytes,
            "MemAvailable:" => &mut memory.available_bytes,
            "MemFree:" => &mut memory.free_bytes,
            "Cached:" => &mut memory.cached_bytes,
            "SwapTotal:" => &mut memory.swap_total_bytes,
            "SwapFree:" => &mut memory.swap_free_bytes,
            _ => continue,
        };
        *place = kib.saturating_mul(1024);
    }
    memory
}

/// `0.20 0.18 0.12 1/80 11206`: the fourth counts tasks, running of all.
fn load_and_processes(text: &str) -> ([f64; 3], Processes) {
    let (load, running) = load(text);
    let numbered = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit);
    let total = fs::read_dir("/proc").map_or(0, |entries| entries.flatten().filter(numbered).count());
    (load, Processes { total: total as u32, running })
}

fn load(text: &str) -> ([f64; 3], u32) {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let load =
        [0, 1, 2].map(|at| words.get(at).and_then(|word| word.parse().ok()).filter(|load: &f64| load.is_finite()).unwrap_or(0.0));
    let running = words.get(3).and_then(|word| word.split('/').next()?.parse().ok()).unwrap_or(0);
    (load, running)
}

fn disks(text: &str) -> Vec<DiskCounters> {
    let disk = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let name = *words.get(2)?;
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        let whole =
            !name.starts_with("loop") && !name.starts_with("ram") && fs::exists(format!("/sys/block/{name}")).unwrap_or(false);
        whole.then(|| DiskCounters {
            name: name.to_owned(),
            reads: number(3),
            read_bytes: number(5).saturating_mul(SECTOR),
            writes: number(7),
            write_bytes: number(9).saturating_mul(SECTOR),
        })
    };
    text.lines().filter_map(disk).take(MOST).collect()
}

fn filesystems(text: &str) -> Vec<Filesystem> {
    let mut devices = Vec::new();
    let mut all = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let (Some(device), Some(mount)) = (words.next(), words.next()) else { continue };
        // A device that is mounted at several places is one file system.
        if !device.starts_with("/dev/") || devices.contains(&device) || all.len() == MOST {
            continue;
        }
        let Ok(stat) = statvfs(mount) else { continue };
        devices.push(device);
        all.push(Filesystem {
            mount: mount.to_owned(),
            total_bytes: stat.blocks() * stat.fragment_size(),
            available_bytes: stat.blocks_available() * stat.fragment_size(),
        });
    }
    all
}

fn networks(text: &str) -> Vec<NetworkCounters> {
    let network = |line: &str| {
        let (name, counters) = line.split_once(':')?;
        let name = name.trim();
        let values: Vec<u64> = counters.split_ascii_whitespace().map(|word| word.parse().unwrap_or(0)).collect();
        let at = |at: usize| values.get(at).copied().unwrap_or(0);
        (name != "lo").then(|| NetworkCounters {
            name: name.to_owned(),
            received_bytes: at(0),
            received_packets: at(1),
            received_errors: at(2),
            sent_bytes: at(8),
            sent_packets: at(9),
            sent_errors: at(10),
        })
    };
    text.lines().skip(2).filter_map(network).take(MOST).collect()
}

/// No line of /proc makes more than its share: the lists are bounded, and what is read is read the same again.
#[cfg(any(test, fuzzing))]
pub fn fuzz(text: &str) {
    for ticks in [1, 100, u64::MAX] {
        let times = cpu(text, ticks);
        assert!(times.cpus as usize <= text.lines().count());
    }
    assert_eq!(memory(text), memory(text));
}

/// As [`fuzz`], of disks, interfaces and load.
#[cfg(any(test, fuzzing))]
pub fn fuzz_counters(text: &str) {
    assert!(disks(text).len() <= MOST && networks(text).len() <= MOST);
    assert!(networks(text).iter().all(|network| network.name != "lo" && text.contains(&network.name)));
    assert!(load(text).0.iter().all(|load| load.is_finite()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_of_this_machine_makes_sense() {
        let sample = sample();
        assert!(sample.uptime_ms > 0 && sample.cpu.cpus > 0 && sample.cpu.idle_ms > 0 && sample.processes.total > 0);
        assert!(sample.memory.total_bytes > sample.memory.available_bytes && sample.memory.available_bytes > 0);
    }

    #[test]
    fn reads_the_kernels_tables() {
        let cpu = cpu("cpu  100 10 50 1000 5 1 2 3 0 0\ncpu0 1 2 3\ncpu1 1 2 3\nintr 5\n", 100);
        assert_eq!((cpu.cpus, cpu.user_ms, cpu.system_ms, cpu.idle_ms, cpu.steal_ms), (2, 1100, 530, 10_000, 30));
        let text = "a\nb\n    lo: 1 1 0 0 0 0 0 0 1 1\n  eth0: 10 2 3 0 0 0 0 0 20 4 5 0 0 0 0 0\n";
        let networks = networks(text);
        assert_eq!(networks.len(), 1);
        assert_eq!((networks[0].received_bytes, networks[0].sent_bytes, networks[0].sent_errors), (10, 20, 5));
    }

    /// JSON has no such number, and one that cannot be written would cost the whole sample.
    #[test]
    fn a_load_is_a_finite_number() {
        assert_eq!(load("0.20 0.18 0.12 1/80 11206"), ([0.20, 0.18, 0.12], 1));
        assert_eq!(load("inf nan -infinity 1/80 11206"), ([0.0; 3], 1));
    }
}
