//! The balloon: memory that the guest is asked to give back, and what it tells of its memory.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balloon {
    /// What it shall hold, which the guest then has not.
    pub amount_mib: u32,
    /// Gives memory back to a guest that would kill a process for want of it.
    pub deflate_on_oom: bool,
    /// Seconds between two statistics; 0: none, also later.
    #[serde(default)]
    pub stats_polling_interval_s: u16,
    /// The guest names free pages when the host asks. Unknown before 1.14.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub free_page_hinting: bool,
    /// The guest names free pages all the time. Unknown before 1.14.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub free_page_reporting: bool,
}

/// What the guest does not tell is absent. Bytes, and events since boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalloonStatistics {
    pub target_pages: u64,
    pub actual_pages: u64,
    pub target_mib: u64,
    pub actual_mib: u64,
    pub swap_in: Option<u64>,
    pub swap_out: Option<u64>,
    pub major_faults: Option<u64>,
    pub minor_faults: Option<u64>,
    pub free_memory: Option<u64>,
    pub total_memory: Option<u64>,
    pub available_memory: Option<u64>,
    pub disk_caches: Option<u64>,
    pub hugetlb_allocations: Option<u64>,
    pub hugetlb_failures: Option<u64>,
    pub oom_kill: Option<u64>,
    pub alloc_stall: Option<u64>,
    pub async_scan: Option<u64>,
    pub direct_scan: Option<u64>,
    pub async_reclaim: Option<u64>,
    pub direct_reclaim: Option<u64>,
}

/// The numbers of the last commands of host and guest: equal when a run of hinting is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HintingStatus {
    pub host_cmd: u64,
    pub guest_cmd: Option<u64>,
}
