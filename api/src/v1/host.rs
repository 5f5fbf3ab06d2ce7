//! Hosts: the machines that run VMs. They register themselves.

use super::{common::Labels, facts::Facts};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Host {
    /// Opaque, stable, begins with `host_`.
    pub id: String,
    pub name: String,
    pub project: String,
    pub labels: Labels,
    pub generation: u64,
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub updated_at: Timestamp,
    pub spec: HostSpec,
    pub status: HostStatus,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostSpec {
    /// No new VMs are placed here; those that are here go on.
    pub cordoned: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum HostState {
    Healthy,
    Degraded,
    Offline,
    /// A state of a newer server.
    #[serde(other)]
    Unknown,
}

impl HostState {
    pub fn as_str(self) -> &'static str {
        match self {
            HostState::Healthy => "healthy",
            HostState::Degraded => "degraded",
            HostState::Offline => "offline",
            HostState::Unknown => "unknown",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostStatus {
    pub state: HostState,
    pub hostname: String,
    pub kernel: String,
    pub architecture: String,
    pub cpu_model: String,
    pub cpus: u32,
    pub mem_mib: u64,
    /// What VMs may use together, and what running VMs hold of it.
    pub vm_vcpus: u32,
    pub vm_mem_mib: u64,
    pub held_vcpus: u64,
    pub held_mem_mib: u64,
    /// VMs on this host, running or not.
    pub vms: u64,
    pub hearth_version: String,
    /// `firecracker`, `qemu` or `simulated`.
    pub vmm: String,
    pub vmm_version: String,
    /// `kvm`, `tcg` or `none`.
    pub acceleration: String,
    /// Why this VMM and this acceleration were chosen.
    pub vmm_reason: String,
    /// What the driver can do with VMs, as far as hearth offers it today: `pause`, `console_input`, `guest_agent`, `power_off_told` (from a
    /// reboot), `snapshot`, `diff_snapshot`, `restore`, `drive_hotplug`, `nic_hotplug`, `memory_hotplug`, `balloon`, `disk_rate_limit`,
    /// `network_rate_limit`, `metadata`, `cpu_templates`, `jailed`, `vsock` (ports of guests' vsock, for users). Without `pause` pausing and resuming are refused with
    /// `unsupported-by-driver`, without `guest_agent` programs, shells and connections to TCP ports, without `vsock` those to vsock ports; and so is a VM that asks for limits, a balloon, metadata or a CPU
    /// template without the one that it needs. Without `console_input` a console that is typed into is closed with the reason. The others
    /// tell what hearth does not offer with this driver at all.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = BTreeMap<String, bool>))]
    pub capabilities: Facts,
    /// Absent: VMs get a network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_problem: Option<String>,
    pub problems: Vec<String>,
    pub actions: Vec<String>,
    pub refused: BTreeMap<String, String>,
}

/// `PATCH /v1/hosts/ID`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PatchHost {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
}
