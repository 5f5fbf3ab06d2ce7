//! Virtual machines.

use super::{
    cloud_init::{CloudInit, Credentials},
    common::{Labels, Reason},
    devices::{CpuTemplate, PatchRateLimits, RateLimits, told},
    drive::{Drive, PatchDrive},
    facts::Facts,
    interface::{Interface, InterfaceStatus},
};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A VM as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Vm {
    /// Opaque, stable, begins with `vm_`.
    pub id: String,
    pub name: String,
    pub project: String,
    pub labels: Labels,
    /// Rises with each change; the ETag.
    pub generation: u64,
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub updated_at: Timestamp,
    pub spec: VmSpec,
    pub status: VmStatus,
    /// Of a password that this request had made: in its answer alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
}

/// What the VM is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VmSpec {
    /// The host to run on, by name or id. Absent: chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// 1 to 32.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 32))]
    pub vcpus: u32,
    /// At least 64.
    #[cfg_attr(feature = "schema", schema(minimum = 64))]
    pub mem_mib: u32,
    /// How much memory it can be given while it runs, by a larger `mem_mib`. Its guest needs a driver for it (`virtio_mem`); snapshots are not taken of
    /// it. Never less than `mem_mib`. Absent: no more than it was started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_max_mib: Option<u32>,
    /// A kernel image, by name or id. Absent: the default kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// A rootfs image, by name or id.
    pub image: String,
    /// Size of the root disk. Absent: the image's own. Never smaller than the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_mib: Option<u64>,
    /// Appended to the kernel command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<String>,
    /// The network interfaces in the guest's order, at most 8, and at most 13 together with `drives`, `cloud_init` and `mem_max_mib`: each a network's name, or an object with a
    /// MAC of your choice beside it. The same network may be named more than once. The first has the default route, the name servers and the
    /// metadata service. Absent: `["default"]`. Empty: none.
    #[serde(default = "default_networks")]
    #[cfg_attr(feature = "schema", schema(value_type = Vec<super::interface::Words>, max_items = 8))]
    pub networks: Vec<Interface>,
    #[serde(default)]
    pub restart: RestartPolicy,
    #[serde(default, skip_serializing_if = "RateLimits::is_none")]
    pub rate_limits: RateLimits,
    /// How much of its memory the guest is asked to give back to the host, in its own time; 64 MiB stay with it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub balloon_mib: u32,
    /// Absent: the guest sees the host's processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_template: Option<CpuTemplate>,
    /// What a guest with cloud-init configures itself by: it finds a NoCloud seed with this, its name and its address as its second drive,
    /// read-only. Absent: no seed, no drive. At most 36 KiB together with `metadata`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_init: Option<CloudInit>,
    /// An object that the guest reads at http://169.254.169.254/ (MMDS, by sessions as IMDSv2), with `hearth` beside it, where id, name and
    /// address stand, and as `credentials` the keys of `cloud_init` and the hash of its password. At most 32 KiB. Needs a network, and a driver with
    /// `metadata` in its capabilities, which serves `hearth` to every VM with a network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Object>))]
    pub metadata: Option<Metadata>,
    /// Data drives beside the root disk, at most 8; the guest has them in this order, behind the root and the drive of `cloud_init`. They live
    /// as long as the VM.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schema(max_items = 8))]
    pub drives: Vec<Drive>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

pub type Metadata = serde_json::Map<String, serde_json::Value>;

fn default_networks() -> Vec<Interface> {
    vec!["default".into()]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum RestartPolicy {
    Never,
    /// After a panic or when the VMM failed, was killed, ran out of memory or made a forbidden system call; not after an orderly shutdown from
    /// inside.
    #[default]
    OnFailure,
    Always,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum VmState {
    Creating,
    Created,
    Starting,
    Running,
    Pausing,
    Paused,
    Resuming,
    Stopping,
    Stopped,
    Snapshotting,
    Restoring,
    Failed,
    Deleting,
    /// A state of a newer server.
    #[serde(other)]
    Unknown,
}

impl VmState {
    pub fn as_str(self) -> &'static str {
        match self {
            VmState::Creating => "creating",
            VmState::Created => "created",
            VmState::Starting => "starting",
            VmState::Running => "running",
            VmState::Pausing => "pausing",
            VmState::Paused => "paused",
            VmState::Resuming => "resuming",
            VmState::Stopping => "stopping",
            VmState::Stopped => "stopped",
            VmState::Snapshotting => "snapshotting",
            VmState::Restoring => "restoring",
            VmState::Failed => "failed",
            VmState::Deleting => "deleting",
            VmState::Unknown => "unknown",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VmStatus {
    pub state: VmState,
    /// Why the VM is in this state, where that is not plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The name of the host that it is on.
    pub host: String,
    /// The process that runs it, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vmm: Option<VmmStatus>,
    /// Those that hearth gave, in the order of `interfaces`, then what else the guest's agent tells.
    pub ips: Vec<String>,
    /// Of the first interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// What was given, in the order of `spec.networks`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<InterfaceStatus>,
    /// Why the VM has no network although its spec asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_problem: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentStatus>,
    /// The id of the operation in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Since when it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = DateTime))]
    pub started_at: Option<Timestamp>,
    /// How often the restart policy started it again.
    pub restarts: u64,
    /// What may be done now: `start stop pause resume reboot delete update shell exec console logs`.
    pub actions: Vec<String>,
    /// Every other action, and why not.
    pub refused: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VmmStatus {
    /// `firecracker`, `qemu` or `simulated`.
    pub driver: String,
    pub pid: u32,
    pub version: String,
    /// How the process is confined, as the kernel tells at this moment; only where one VM is read, once it was let go, and not of a
    /// simulated one. The ETag does not cover it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confinement: Option<Confinement>,
}

/// What a process may and what it sees. What is said of threads is true of all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Confinement {
    /// Absent: not all threads have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// `seccomp` and `no_new_privileges` (every thread), `no_capabilities` (no thread), `own_root`, `own_processes`, `own_network`, `own_mounts`
    /// (other than the host's), `cgroup`.
    #[cfg_attr(feature = "schema", schema(value_type = BTreeMap<String, bool>))]
    pub has: Facts,
}

impl Confinement {
    /// In one line, for people.
    pub fn words(&self) -> String {
        let user = self.uid.map_or_else(|| "several users".to_owned(), |uid| format!("user {uid}"));
        let has = self.has.words(true);
        if has.is_empty() { user } else { format!("{user}, {has}") }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AgentStatus {
    pub connected: bool,
    pub version: String,
    /// The guest's kernel release, as the agent reports it.
    pub kernel: String,
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub last_seen: Timestamp,
}

/// `POST /v1/vms`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CreateVm {
    /// Absent: made from the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// So far only `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    pub spec: VmSpec,
    /// Start it as soon as it is created; the operation then ends when it runs.
    #[serde(default)]
    pub start: bool,
}

/// `PATCH /v1/vms/ID`: what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PatchVm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<PatchVmSpec>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PatchVmSpec {
    /// Only while the VM is not running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<u32>,
    /// Of a running or paused VM between what it was started with and its `mem_max_mib`, at once, as for `rate_limits`; the guest takes and gives in
    /// its own time. What it once had is held of the host's memory until it stops. Without `mem_max_mib` only while the VM is not running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_mib: Option<u32>,
    /// Only while the VM is not running. `null`: no more than it is started with.
    #[serde(default, deserialize_with = "told", skip_serializing_if = "Option::is_none")]
    pub mem_max_mib: Option<Option<u32>>,
    /// Only while the VM is not running. Empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartPolicy>,
    /// Never less than it is. The disk of a running or paused VM grows at once, as for `rate_limits`, and the guest's agent makes an ext4 on it as
    /// large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_mib: Option<u64>,
    /// A running or paused VM takes them over at once; `status.reason` says when it could not. `null`: none of them.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "told")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<PatchRateLimits>))]
    pub rate_limits: Option<Option<PatchRateLimits>>,
    /// As for `rate_limits`. 0: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balloon_mib: Option<u32>,
    /// Only while the VM is not running. `null`: the host's processor.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "told")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<CpuTemplate>))]
    pub cpu_template: Option<Option<CpuTemplate>>,
    /// Replaced as a whole; null: none. The guest's seed says it from its next start on, its metadata at once.
    #[serde(default, deserialize_with = "told", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<CloudInit>))]
    pub cloud_init: Option<Option<CloudInit>>,
    /// Replaced as a whole; null: none. The guest of a running or paused VM reads it at once; `status.reason` says when it could not be told.
    #[serde(default, deserialize_with = "told", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Object>))]
    pub metadata: Option<Option<Metadata>>,
    /// Drives to add, or to change, by their names; all others stay as they are. A running or paused VM's drive grows at once, as for `rate_limits`,
    /// unless it is read-only; all other changes are for while it is not running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drives: Option<Vec<PatchDrive>>,
    /// Only while the VM is not running. The names of drives to take away: what is on them is lost, and their space is free from the next start on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove_drives: Option<Vec<String>>,
    /// Only while the VM is not running. All interfaces from now on. One with a MAC is the one that has it, also where it was not chosen; those
    /// without are, in order, those that had none chosen: they keep their addresses. All others go, and new ones get new addresses.
    /// Absent or null: as they are. Empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Vec<super::interface::Words>>, max_items = 8))]
    pub networks: Option<Vec<Interface>>,
}

/// `POST /v1/vms/ID/stop`; the body may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StopRequest {
    /// End the machine at once instead of asking the guest.
    #[serde(default)]
    pub force: bool,
    /// How long the guest may take before it is ended; 1 to 600, 30 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<u32>,
}

/// `POST /v1/vms/ID/reboot`; the body may be left out.
pub type RebootRequest = StopRequest;
