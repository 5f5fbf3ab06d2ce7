//! The shapes that a VM's record had.

use domain::{
    Attempt, Generation, HostId, Labels, Name, Timestamp, VmId,
    vm::{
        BootImages, CloudInit, CpuTemplate, Devices, Drives, InFlight, Interface, MachineMemory, Nic, RateLimits, Reason,
        RestartPolicy, Restarts, State, Vm, VmSpec,
    },
};
use serde::{Deserialize, Serialize};

/// Schema 1 of a VM: without what is asked of its devices.
#[derive(Serialize, Deserialize)]
pub struct Vm1 {
    id: VmId,
    name: Name,
    project: Name,
    labels: Labels,
    generation: Generation,
    created_at: Timestamp,
    updated_at: Timestamp,
    spec: VmSpec1,
    boot: BootImages,
    host: HostId,
    nic: Option<Nic>,
    network_note: Option<String>,
    state: State,
    attempt: Attempt,
    operation: Option<InFlight>,
    restarts: Restarts,
    reason: Option<Reason>,
}

#[derive(Serialize, Deserialize)]
struct VmSpec1 {
    host: Option<String>,
    vcpus: u32,
    mem_mib: u32,
    kernel: Option<String>,
    image: String,
    disk_mib: Option<u64>,
    cmdline: Option<String>,
    networks: Vec<String>,
    restart: RestartPolicy,
}

impl From<Vm1> for Vm3 {
    fn from(old: Vm1) -> Vm3 {
        let spec = old.spec;
        Vm3 {
            id: old.id,
            name: old.name,
            project: old.project,
            labels: old.labels,
            generation: old.generation,
            created_at: old.created_at,
            updated_at: old.updated_at,
            spec: OlderSpec {
                host: spec.host,
                vcpus: spec.vcpus,
                mem_mib: spec.mem_mib,
                kernel: spec.kernel,
                image: spec.image,
                disk_mib: spec.disk_mib,
                cmdline: spec.cmdline,
                networks: spec.networks,
                restart: spec.restart,
                devices: Devices4::default(),
            },
            boot: old.boot,
            host: old.host,
            nics: old.nic,
            network_note: old.network_note,
            state: old.state,
            attempt: old.attempt,
            operation: old.operation,
            restarts: old.restarts,
            reason: old.reason,
            retuned: false,
        }
    }
}

/// Schema 2 of a VM: without data drives, and without a password that hearth made.
pub type Vm2 = Older<Option<Nic>, String, Devices2>;
/// Schema 3 of a VM: with one network interface at most, whose MAC nobody chose.
pub type Vm3 = Older<Option<Nic>, String, Devices4>;
/// Schema 4 of a VM: its memory was what it was started with.
pub type Vm4 = Older<Vec<Nic>, Interface, Devices4>;

/// What they are alike: `N` interfaces, `I` as each was asked for, `D` what is asked of devices.
#[derive(Serialize, Deserialize)]
pub struct Older<N, I, D> {
    id: VmId,
    name: Name,
    project: Name,
    labels: Labels,
    generation: Generation,
    created_at: Timestamp,
    updated_at: Timestamp,
    spec: OlderSpec<I, D>,
    boot: BootImages,
    host: HostId,
    nics: N,
    network_note: Option<String>,
    state: State,
    attempt: Attempt,
    operation: Option<InFlight>,
    restarts: Restarts,
    reason: Option<Reason>,
    retuned: bool,
}

#[derive(Serialize, Deserialize)]
struct OlderSpec<I, D> {
    host: Option<String>,
    vcpus: u32,
    mem_mib: u32,
    kernel: Option<String>,
    image: String,
    disk_mib: Option<u64>,
    cmdline: Option<String>,
    networks: Vec<I>,
    restart: RestartPolicy,
    devices: D,
}

#[derive(Serialize, Deserialize)]
pub struct Devices2 {
    rate_limits: RateLimits,
    balloon_mib: u32,
    cpu_template: Option<CpuTemplate>,
    cloud_init: Option<Box<CloudInit2>>,
    metadata: Option<Box<str>>,
}

#[derive(Serialize, Deserialize)]
struct CloudInit2 {
    user_data: Option<Box<str>>,
    ssh_keys: Vec<String>,
}

impl From<Devices2> for Devices4 {
    fn from(old: Devices2) -> Devices4 {
        let cloud_init =
            |old: Box<CloudInit2>| Box::new(CloudInit { user_data: old.user_data, ssh_keys: old.ssh_keys, password_hash: None });
        Devices4 {
            rate_limits: old.rate_limits,
            balloon_mib: old.balloon_mib,
            cpu_template: old.cpu_template,
            cloud_init: old.cloud_init.map(cloud_init),
            metadata: old.metadata,
            drives: Drives::default(),
        }
    }
}

/// Of schemas 3 and 4.
#[derive(Default, Serialize, Deserialize)]
pub struct Devices4 {
    rate_limits: RateLimits,
    balloon_mib: u32,
    cpu_template: Option<CpuTemplate>,
    cloud_init: Option<Box<CloudInit>>,
    metadata: Option<Box<str>>,
    drives: Drives,
}

impl From<Devices4> for Devices {
    fn from(old: Devices4) -> Devices {
        Devices {
            rate_limits: old.rate_limits,
            balloon_mib: old.balloon_mib,
            cpu_template: old.cpu_template,
            cloud_init: old.cloud_init,
            metadata: old.metadata,
            drives: old.drives,
            mem_max_mib: None,
        }
    }
}

impl<N, I, D> From<Older<N, I, D>> for Vm
where
    N: IntoIterator<Item = Nic>,
    Interface: From<I>,
    Devices4: From<D>,
{
    fn from(old: Older<N, I, D>) -> Vm {
        let spec = old.spec;
        Vm {
            id: old.id,
            name: old.name,
            project: old.project,
            labels: old.labels,
            generation: old.generation,
            created_at: old.created_at,
            updated_at: old.updated_at,
            spec: VmSpec {
                host: spec.host,
                vcpus: spec.vcpus,
                mem_mib: spec.mem_mib,
                kernel: spec.kernel,
                image: spec.image,
                disk_mib: spec.disk_mib,
                cmdline: spec.cmdline,
                networks: spec.networks.into_iter().map(Interface::from).collect(),
                restart: spec.restart,
                devices: Devices4::from(spec.devices).into(),
            },
            boot: old.boot,
            host: old.host,
            nics: old.nics.into_iter().collect(),
            network_note: old.network_note,
            state: old.state,
            attempt: old.attempt,
            operation: old.operation,
            restarts: old.restarts,
            reason: old.reason,
            retuned: old.retuned,
            // A machine that runs has what is recorded, which did not change while it ran.
            memory: MachineMemory { booted_mib: spec.mem_mib, most_mib: spec.mem_mib },
        }
    }
}
