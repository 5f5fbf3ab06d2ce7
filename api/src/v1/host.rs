//! Hosts: the machines that run VMs. They register themselves.

use super::common::Labels;
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
    pub created_at: jiff::Timestamp,
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub updated_at: jiff::Timestamp,
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
    #[serde(default)]
    pub capabilities: Capabilities,
    /// Absent: VMs get a network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_problem: Option<String>,
    pub problems: Vec<String>,
    pub actions: Vec<String>,
    pub refused: BTreeMap<String, String>,
}

/// What a host's driver can do with VMs, as far as hearth offers it today. What is false is refused with `unsupported-by-driver`. A flag of a
/// newer server is not shown by an older client; one that the server does not know is false.
#[allow(clippy::struct_excessive_bools, reason = "a list of independent flags, read by name")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Capabilities {
    /// Pause and resume.
    pub pause: bool,
    /// What is typed into the serial console reaches the guest.
    pub console_input: bool,
    /// Programs, terminals, metrics and orderly shutdown by the guest's agent.
    pub guest_agent: bool,
    /// A guest that powers off is told from one that reboots.
    pub power_off_told: bool,
    pub snapshot: bool,
    /// Snapshots of only what changed since the last one.
    pub diff_snapshot: bool,
    pub restore: bool,
    pub drive_hotplug: bool,
    pub nic_hotplug: bool,
    pub memory_hotplug: bool,
    pub balloon: bool,
    pub disk_rate_limit: bool,
    pub network_rate_limit: bool,
    /// A metadata service in the guest's network.
    pub metadata: bool,
    pub cpu_templates: bool,
    /// Its VMMs run jailed: own root, own user, no rights.
    pub jailed: bool,
}

impl Capabilities {
    /// Each by the words that people read, in the order above.
    pub fn list(&self) -> [(&'static str, bool); 16] {
        [
            ("pause", self.pause),
            ("console input", self.console_input),
            ("guest agent", self.guest_agent),
            ("power-off told from reboot", self.power_off_told),
            ("snapshots", self.snapshot),
            ("differential snapshots", self.diff_snapshot),
            ("restore", self.restore),
            ("drive hotplug", self.drive_hotplug),
            ("NIC hotplug", self.nic_hotplug),
            ("memory hotplug", self.memory_hotplug),
            ("balloon", self.balloon),
            ("disk rate limits", self.disk_rate_limit),
            ("network rate limits", self.network_rate_limit),
            ("metadata service", self.metadata),
            ("CPU templates", self.cpu_templates),
            ("jailed", self.jailed),
        ]
    }

    /// What it can do, and what not, as text; each empty where there is none.
    pub fn told(&self) -> (String, String) {
        let those = |wanted: bool| {
            let words: Vec<&str> = self.list().into_iter().filter(|(_, has)| *has == wanted).map(|(word, _)| word).collect();
            words.join(", ")
        };
        (those(true), those(false))
    }
}

/// `PATCH /v1/hosts/ID`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PatchHost {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
}
