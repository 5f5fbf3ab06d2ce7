//! What a host is.

use super::capability::{Capabilities, Offer};
use crate::{Generation, HostId, Labels, Name, Timestamp};
use serde::{Deserialize, Serialize};

/// What was found out about a machine. Slow to change; loads and free space are metrics, not facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub hostname: String,
    pub kernel: String,
    pub architecture: String,
    pub cpu_model: String,
    pub cpus: u32,
    pub mem_mib: u64,
    /// What VMs may use together.
    pub vm_vcpus: u32,
    pub vm_mem_mib: u64,
    pub hearth_version: String,
    pub vmm: VmmFacts,
    /// Absent: VMs get a network. Else why not.
    pub network_problem: Option<String>,
    /// Everything else that is not as it should be, one sentence each.
    pub problems: Vec<String>,
    /// What the VMM's driver can do with VMs.
    pub capabilities: Capabilities,
}

impl Facts {
    /// What the commands of this host's VMs are judged by.
    pub fn offer(&self) -> Offer {
        Offer { driver: self.vmm.driver, capabilities: self.capabilities }
    }
}

/// The VMM that runs this host's VMs, and why this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmmFacts {
    pub driver: crate::vm::Driver,
    pub version: String,
    /// `kvm` or `tcg`; `none` for the simulated driver.
    pub acceleration: String,
    pub chosen_because: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    Healthy,
    /// It runs VMs, but not all of what it should be able to do works.
    Degraded,
    Offline,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Healthy => "healthy",
            State::Degraded => "degraded",
            State::Offline => "offline",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    pub id: HostId,
    pub name: Name,
    pub labels: Labels,
    pub generation: Generation,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub facts: Facts,
    pub state: State,
    /// No new VMs are placed here; those that are here go on.
    pub cordoned: bool,
}
