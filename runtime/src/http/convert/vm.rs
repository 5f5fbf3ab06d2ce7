//! A VM's record and what is known of it besides.

use super::{devices, time};
use crate::http::{drives, networks};
use actors::{View, view::VmView};
use api::v1;
use domain::vm::{RestartPolicy, State, VmSpec, hold, table};

pub fn vm(seen: &VmView, view: &View) -> v1::Vm {
    let record = &seen.record;
    let (actions, refused) = super::split(
        table(record, view.offer(record.host)).into_iter().map(|(action, why)| (action.as_str(), why.map(|why| why.to_string()))),
    );
    let running = matches!(
        record.state,
        State::Running(_)
            | State::Pausing(_)
            | State::Paused(_)
            | State::Resuming(_)
            | State::Snapshotting(_)
            | State::Stopping(_)
    );
    v1::Vm {
        id: record.id.to_string(),
        name: record.name.to_string(),
        project: record.project.to_string(),
        labels: record.labels.clone(),
        generation: record.generation.0,
        created_at: time(record.created_at),
        updated_at: time(record.updated_at),
        spec: spec(&record.spec),
        status: v1::VmStatus {
            state: state(&record.state),
            reason: hold::reason(seen.hold, record)
                .or_else(|| record.reason.clone())
                .map(|reason| v1::Reason { code: reason.code.as_str().to_owned(), detail: reason.detail.clone() }),
            host: view.host(record.host).map_or_else(|| record.host.to_string(), |host| host.name.to_string()),
            vmm: record.state.machine().map(|machine| v1::VmmStatus {
                driver: machine.driver.as_str().to_owned(),
                pid: machine.pid,
                version: machine.version.clone(),
                confinement: None,
            }),
            ips: ips(seen),
            mac: record.nics.first().map(|nic| mac(nic.mac)),
            interfaces: networks::given(record),
            network_problem: record.network_note.clone(),
            agent: seen.agent.as_ref().map(|agent| v1::AgentStatus {
                connected: agent.connected,
                version: agent.version.clone(),
                kernel: agent.kernel.clone(),
                last_seen: time(agent.last_seen),
            }),
            operation: record.operation.map(|operation| operation.id.to_string()),
            started_at: seen.started_at.filter(|_| running).map(time),
            restarts: record.restarts.total,
            actions,
            refused,
        },
        credentials: None,
    }
}

pub fn confinement(vm: domain::VmId, look: &host::vmm::confinement::Confinement) -> v1::Confinement {
    let named = [
        ("seccomp", look.seccomp()),
        ("no_new_privileges", look.no_new_privs()),
        ("no_capabilities", look.capabilities() == 0),
        ("own_root", look.chroot),
        ("own_processes", look.own_pid_ns),
        ("own_network", look.own_net_ns),
        ("own_mounts", look.own_mount_ns),
        // Its own, and not the one that hearth is in.
        ("cgroup", look.cgroup.as_deref().and_then(|group| group.rsplit('/').next()) == Some(vm.to_string().as_str())),
    ];
    v1::Confinement { uid: look.uid(), gid: look.gid(), has: v1::Facts::of(&named) }
}

/// The addresses that hearth gave come first; what else the guest's agent reports follows.
fn ips(seen: &VmView) -> Vec<String> {
    let given: Vec<std::net::IpAddr> = seen.record.nics.iter().map(|nic| nic.address.into()).collect();
    let mut ips: Vec<String> = given.iter().map(ToString::to_string).collect();
    if let Some(agent) = &seen.agent {
        ips.extend(agent.addresses.iter().filter(|address| !given.contains(address)).map(ToString::to_string));
    }
    ips
}

pub fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

fn spec(spec: &VmSpec) -> v1::VmSpec {
    v1::VmSpec {
        host: spec.host.clone(),
        vcpus: spec.vcpus,
        mem_mib: spec.mem_mib,
        mem_max_mib: spec.devices.mem_max_mib,
        kernel: spec.kernel.clone(),
        image: spec.image.clone(),
        disk_mib: spec.disk_mib,
        cmdline: spec.cmdline.clone(),
        networks: networks::told(&spec.networks),
        restart: match spec.restart {
            RestartPolicy::Never => v1::RestartPolicy::Never,
            RestartPolicy::OnFailure => v1::RestartPolicy::OnFailure,
            RestartPolicy::Always => v1::RestartPolicy::Always,
        },
        rate_limits: devices::rate_limits(spec.devices.rate_limits),
        balloon_mib: spec.devices.balloon_mib,
        cpu_template: spec.devices.cpu_template.map(devices::template),
        cloud_init: spec.devices.cloud_init.as_ref().map(|given| v1::CloudInit {
            user_data: given.user_data.as_deref().map(str::to_owned),
            ssh_keys: given.ssh_keys.clone(),
            password: given.password_hash.as_ref().map(|_| v1::Password::Set),
        }),
        // It was an object when it was stored.
        metadata: spec.devices.metadata.as_ref().and_then(|text| serde_json::from_str(text).ok()),
        drives: drives::told(&spec.devices.drives),
    }
}

fn state(state: &State) -> v1::VmState {
    match state {
        State::Creating { .. } => v1::VmState::Creating,
        State::Created => v1::VmState::Created,
        State::Starting(_) => v1::VmState::Starting,
        State::Running(_) => v1::VmState::Running,
        State::Pausing(_) => v1::VmState::Pausing,
        State::Paused(_) => v1::VmState::Paused,
        State::Resuming(_) => v1::VmState::Resuming,
        State::Stopping(_) => v1::VmState::Stopping,
        State::Stopped => v1::VmState::Stopped,
        State::Snapshotting(_) => v1::VmState::Snapshotting,
        State::Restoring => v1::VmState::Restoring,
        State::Failed => v1::VmState::Failed,
        State::Deleting => v1::VmState::Deleting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::vmm::confinement::{Confinement, Thread};

    /// Each fact by its own name, and the group only where it is the VM's.
    #[test]
    fn a_confinement_is_told_by_name() {
        let vm = domain::VmId::from_bits(5);
        let thread = Thread {
            tid: 1,
            name: "fc_vcpu 0".into(),
            uids: [1_900_000_000; 4],
            gids: [1_900_000_001; 4],
            groups: Vec::new(),
            no_new_privs: false,
            seccomp: 0,
            capabilities: 1,
            bounding: 0,
        };
        let loose = Confinement {
            threads: vec![thread.clone()],
            own_pid_ns: false,
            own_net_ns: false,
            own_mount_ns: false,
            root: (0, 0),
            chroot: false,
            cgroup: Some("/system.slice/hearth.service".into()),
        };
        let true_ones = |look: &Confinement| -> Vec<String> {
            confinement(vm, look).has.0.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
        };
        assert_eq!(true_ones(&loose), Vec::<String>::new());
        let ids = confinement(vm, &loose);
        assert_eq!((ids.uid, ids.gid), (Some(1_900_000_000), Some(1_900_000_001)));
        type Set = fn(&mut Confinement);
        let facts: [(&str, Set); 7] = [
            ("seccomp", |look| look.threads.iter_mut().for_each(|thread| thread.seccomp = 2)),
            ("no_new_privileges", |look| look.threads.iter_mut().for_each(|thread| thread.no_new_privs = true)),
            ("no_capabilities", |look| look.threads.iter_mut().for_each(|thread| thread.capabilities = 0)),
            ("own_root", |look| look.chroot = true),
            ("own_processes", |look| look.own_pid_ns = true),
            ("own_network", |look| look.own_net_ns = true),
            ("own_mounts", |look| look.own_mount_ns = true),
        ];
        for (name, set) in facts {
            let mut look = loose.clone();
            set(&mut look);
            assert_eq!(true_ones(&look), [name]);
        }
        let grouped = Confinement { cgroup: Some(format!("/hearth-0a1b2c3d/{vm}")), ..loose };
        assert_eq!(true_ones(&grouped), ["cgroup"]);
    }
}
