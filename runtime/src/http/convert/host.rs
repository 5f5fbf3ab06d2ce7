//! A host's record, and what VMs hold of it.

use super::time;
use api::v1;
use domain::host::{Capabilities, Host, Refused, State};

/// `held`: vCPUs and MiB; `vms`: how many are there.
pub fn host(record: &Host, held: (u64, u64), vms: u64) -> v1::Host {
    let cordon = record.cordoned.then(|| Refused::AlreadyCordoned.to_string());
    let uncordon = (!record.cordoned).then(|| Refused::NotCordoned.to_string());
    let (actions, refused) = super::split([("cordon", cordon), ("uncordon", uncordon), ("update", None)].into_iter());
    let facts = &record.facts;
    v1::Host {
        id: record.id.to_string(),
        name: record.name.to_string(),
        project: crate::http::PROJECT.to_owned(),
        labels: record.labels.clone(),
        generation: record.generation.0,
        created_at: time(record.created_at),
        updated_at: time(record.updated_at),
        spec: v1::host::HostSpec { cordoned: record.cordoned },
        status: v1::HostStatus {
            state: match record.state {
                State::Healthy => v1::HostState::Healthy,
                State::Degraded => v1::HostState::Degraded,
                State::Offline => v1::HostState::Offline,
            },
            hostname: facts.hostname.clone(),
            kernel: facts.kernel.clone(),
            architecture: facts.architecture.clone(),
            cpu_model: facts.cpu_model.clone(),
            cpus: facts.cpus,
            mem_mib: facts.mem_mib,
            vm_vcpus: facts.vm_vcpus,
            vm_mem_mib: facts.vm_mem_mib,
            held_vcpus: held.0,
            held_mem_mib: held.1,
            vms,
            hearth_version: facts.hearth_version.clone(),
            vmm: facts.vmm.driver.as_str().to_owned(),
            vmm_version: facts.vmm.version.clone(),
            acceleration: facts.vmm.acceleration.clone(),
            vmm_reason: facts.vmm.chosen_because.clone(),
            capabilities: capabilities(facts.capabilities),
            network_problem: facts.network_problem.clone(),
            problems: facts.problems.clone(),
            actions,
            refused,
        },
    }
}

fn capabilities(can: Capabilities) -> v1::Facts {
    v1::Facts::of(&[
        ("pause", can.pause),
        ("console_input", can.console_input),
        ("guest_agent", can.guest_agent),
        ("power_off_told", can.power_off_told),
        ("snapshot", can.snapshot),
        ("diff_snapshot", can.diff_snapshot),
        ("restore", can.restore),
        ("drive_hotplug", can.drive_hotplug),
        ("nic_hotplug", can.nic_hotplug),
        ("memory_hotplug", can.memory_hotplug),
        ("balloon", can.balloon),
        ("disk_rate_limit", can.disk_rate_limit),
        ("network_rate_limit", can.network_rate_limit),
        ("metadata", can.metadata),
        ("cpu_templates", can.cpu_templates),
        ("jailed", can.jailed),
        ("vsock", can.vsock),
    ])
}
