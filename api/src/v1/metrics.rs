//! Metrics of VMs and hosts: `GET /v1/vms/ID/metrics` answers the newest sample; as a WebSocket or with `Accept: text/event-stream` it
//! streams one a second while someone looks. `GET /v1/hosts/ID/metrics` likewise.

use super::outside::VmmMetrics;
use serde::{Deserialize, Serialize};

/// Counters (`*_total`) rise since the guest's boot; a reader makes rates of two samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VmMetrics {
    /// Milliseconds since the epoch, by the host's clock.
    pub time_ms: u64,
    /// 0 to 100 of all vCPUs, since the sample before.
    pub cpu_percent: f64,
    pub mem_total_bytes: u64,
    pub mem_used_bytes: u64,
    /// Of the root file system.
    pub disk_total_bytes: u64,
    pub disk_used_bytes: u64,
    pub disk_read_bytes_total: u64,
    pub disk_written_bytes_total: u64,
    pub net_received_bytes_total: u64,
    pub net_sent_bytes_total: u64,
    pub load1: f64,
    pub load5: f64,
    pub load15: f64,
    pub processes: u32,
    pub uptime_s: u64,
    /// What the VMM process uses on the host.
    pub vmm_rss_bytes: u64,
    pub vmm_cpu_ms_total: u64,
    /// What the VMM and the host's kernel count: the guest has no say in it. Absent where nobody could be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vmm: Option<VmmMetrics>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostMetrics {
    pub time_ms: u64,
    pub cpu_percent: f64,
    pub mem_total_bytes: u64,
    pub mem_used_bytes: u64,
    /// Of the file system that holds the data directory.
    pub disk_total_bytes: u64,
    pub disk_used_bytes: u64,
    pub load1: f64,
    pub load5: f64,
    pub load15: f64,
}
