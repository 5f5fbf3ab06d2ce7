//! What the guest reports of itself. Counters grow from the guest's boot; rates are the reader's business, who knows when samples came.
use serde::{Deserialize, Serialize};

/// One look at the guest. Sizes in bytes, times in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MetricsSample {
    pub uptime_ms: u64,
    /// The guest's wall clock when the sample was taken, nanoseconds since the epoch.
    pub epoch_ns: u64,
    pub cpu: CpuTimes,
    pub memory: Memory,
    /// Over 1, 5 and 15 minutes.
    pub load: [f64; 3],
    pub processes: Processes,
    /// One per whole disk, as the kernel names it.
    pub disks: Vec<DiskCounters>,
    /// One per mounted block device.
    pub filesystems: Vec<Filesystem>,
    /// One per interface but loopback.
    pub networks: Vec<NetworkCounters>,
}

/// Summed over all CPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuTimes {
    pub cpus: u32,
    pub user_ms: u64,
    pub system_ms: u64,
    pub idle_ms: u64,
    pub iowait_ms: u64,
    pub steal_ms: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    pub total_bytes: u64,
    pub available_bytes: u64,
    pub free_bytes: u64,
    pub cached_bytes: u64,
    pub swap_total_bytes: u64,
    pub swap_free_bytes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Processes {
    pub total: u32,
    pub running: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskCounters {
    pub name: String,
    pub reads: u64,
    pub read_bytes: u64,
    pub writes: u64,
    pub write_bytes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filesystem {
    pub mount: String,
    pub total_bytes: u64,
    /// To an ordinary user.
    pub available_bytes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkCounters {
    pub name: String,
    pub received_bytes: u64,
    pub received_packets: u64,
    pub received_errors: u64,
    pub sent_bytes: u64,
    pub sent_packets: u64,
    pub sent_errors: u64,
}
