//! What is known of a VM from outside its guest: part of each sample of `GET /v1/vms/ID/metrics`, and alone, for a guest that does not answer,
//! `GET /v1/vms/ID/metrics/vmm`.

use serde::{Deserialize, Serialize};

/// What the VMM and the host's kernel count. What nobody there knows is absent, never zero; what should be there and could not be learned this time
/// is named in `missing`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct VmmMetrics {
    /// Milliseconds since the epoch, by the host's clock.
    pub time_ms: u64,
    /// Since when drives, interfaces and `safety` count: the VMM's start, or later where what came before is lost. A reader makes rates only
    /// of samples with the same. Milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<VmmProcess>,
    pub drives: Vec<VmmDrive>,
    pub interfaces: Vec<VmmInterface>,
    /// What the guest has given back to the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balloon_bytes: Option<u64>,
    /// Firecracker's alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safety: Option<VmmSafety>,
    /// One sentence for each part that could not be learned.
    pub missing: Vec<String>,
}

/// The VMM's process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct VmmProcess {
    pub rss_bytes: u64,
    pub cpu_ms_total: u64,
    pub threads: u64,
    /// How many of its cgroup's processes the kernel ended for want of memory; absent without a cgroup that counts memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_kills_total: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct VmmDrive {
    /// `root` is the VM's disk.
    pub name: String,
    pub read_bytes_total: u64,
    pub written_bytes_total: u64,
    pub reads_total: u64,
    pub writes_total: u64,
    /// Requests that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_total: Option<u64>,
    /// How often the limit of its rate held requests back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled_total: Option<u64>,
}

/// As the guest sees it: received is what came to the guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct VmmInterface {
    pub name: String,
    pub received_bytes_total: u64,
    pub received_packets_total: u64,
    pub sent_bytes_total: u64,
    pub sent_packets_total: u64,
    /// Packets that the host's kernel dropped on their way to the guest, since the interface was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_dropped_total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_dropped_total: Option<u64>,
    /// How often the limits of its rate held packets back, both ways.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled_total: Option<u64>,
    /// Frames of the guest that the VMM did not pass on: with another's hardware address, or malformed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_total: Option<u64>,
}

/// What tells of an attack, or of a VMM at its limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct VmmSafety {
    /// System calls that the VMM's filter refused; it ends at the first.
    pub seccomp_faults_total: u64,
    /// Requests that it refused on its API.
    pub api_failures_total: u64,
    /// How often the vCPUs came out of the guest, by what for.
    pub exits_io_in_total: u64,
    pub exits_io_out_total: u64,
    pub exits_mmio_read_total: u64,
    pub exits_mmio_write_total: u64,
    pub vcpu_failures_total: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_there() {
        let text = serde_json::to_string(&VmmMetrics { drives: vec![VmmDrive::default()], ..VmmMetrics::default() }).unwrap();
        assert!(!text.contains("null") && !text.contains("balloon") && !text.contains("throttled"), "{text}");
        assert_eq!(serde_json::from_str::<VmmMetrics>(&text).unwrap().drives, [VmmDrive::default()]);
        assert_eq!(serde_json::from_str::<VmmMetrics>("{\"newer\":1}").unwrap(), VmmMetrics::default());
    }
}
