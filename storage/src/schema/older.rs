//! The shapes that records had in earlier schemas, and what became of them.

mod vm;

pub(super) use vm::{Vm1, Vm2, Vm3, Vm4};

use domain::{
    Attempt, Generation, HostId, Labels, Name, OperationId, Timestamp, WebhookId,
    host::{Capabilities, Facts, Host, State as HostState, VmmFacts},
    operation::{Operation, OperationKind, Status, StepRecord, Target},
    vm::Driver,
    webhook::{DeadRef, Failure, State, Success, Webhook, WebhookSpec},
};
use serde::{Deserialize, Serialize};

/// Schema 1 of an operation: without what was done in bytes.
#[derive(Serialize, Deserialize)]
pub(super) struct Operation1 {
    id: OperationId,
    kind: OperationKind,
    target: Target,
    project: Name,
    actor: String,
    generation: Generation,
    created_at: Timestamp,
    updated_at: Timestamp,
    status: Status,
    progress: u8,
    steps: Vec<StepRecord>,
}

impl From<Operation1> for Operation {
    fn from(old: Operation1) -> Operation {
        Operation {
            id: old.id,
            kind: old.kind,
            target: old.target,
            project: old.project,
            actor: old.actor,
            generation: old.generation,
            created_at: old.created_at,
            updated_at: old.updated_at,
            status: old.status,
            progress: old.progress,
            steps: old.steps,
            amount: None,
        }
    }
}

/// Schema 1 of a host: without what its driver can do.
#[derive(Serialize, Deserialize)]
pub(super) struct Host1 {
    id: HostId,
    name: Name,
    labels: Labels,
    generation: Generation,
    created_at: Timestamp,
    updated_at: Timestamp,
    facts: Facts1,
    state: HostState,
    cordoned: bool,
}

#[derive(Serialize, Deserialize)]
struct Facts1 {
    hostname: String,
    kernel: String,
    architecture: String,
    cpu_model: String,
    cpus: u32,
    mem_mib: u64,
    vm_vcpus: u32,
    vm_mem_mib: u64,
    hearth_version: String,
    vmm: VmmFacts,
    network_problem: Option<String>,
    problems: Vec<String>,
}

impl From<Host1> for Host {
    fn from(old: Host1) -> Host {
        let facts = old.facts;
        Host {
            id: old.id,
            name: old.name,
            labels: old.labels,
            generation: old.generation,
            created_at: old.created_at,
            updated_at: old.updated_at,
            facts: Facts {
                capabilities: capabilities_1(facts.vmm.driver),
                hostname: facts.hostname,
                kernel: facts.kernel,
                architecture: facts.architecture,
                cpu_model: facts.cpu_model,
                cpus: facts.cpus,
                mem_mib: facts.mem_mib,
                vm_vcpus: facts.vm_vcpus,
                vm_mem_mib: facts.vm_mem_mib,
                hearth_version: facts.hearth_version,
                vmm: facts.vmm,
                network_problem: facts.network_problem,
                problems: facts.problems,
            },
            state: old.state,
            cordoned: old.cordoned,
        }
    }
}

/// What the drivers of that time could do; a start tells anew.
fn capabilities_1(driver: Driver) -> Capabilities {
    let common = Capabilities { pause: true, guest_agent: true, power_off_told: true, ..Capabilities::NONE };
    match driver {
        Driver::Qemu => Capabilities { console_input: true, ..common },
        Driver::Simulated => common,
        // There was none.
        Driver::Firecracker => Capabilities::NONE,
    }
}

/// Schema 1 of a webhook: its secret lies under its id, whichever it is.
#[derive(Serialize, Deserialize)]
pub(super) struct Webhook1 {
    id: WebhookId,
    name: Name,
    project: Name,
    labels: Labels,
    generation: Generation,
    created_at: Timestamp,
    updated_at: Timestamp,
    spec: WebhookSpec,
    cursor: u64,
    state: State,
    attempt: Attempt,
    deliveries: u64,
    dead: Vec<DeadRef>,
    dead_dropped: u64,
    redeliver: Vec<u64>,
    delivered: u64,
    last_success: Option<Success>,
    last_failure: Option<Failure>,
}

impl From<Webhook1> for Webhook {
    fn from(old: Webhook1) -> Webhook {
        Webhook {
            id: old.id,
            name: old.name,
            project: old.project,
            labels: old.labels,
            generation: old.generation,
            created_at: old.created_at,
            updated_at: old.updated_at,
            spec: old.spec,
            cursor: old.cursor,
            state: old.state,
            attempt: old.attempt,
            deliveries: old.deliveries,
            dead: old.dead,
            dead_dropped: old.dead_dropped,
            redeliver: old.redeliver,
            delivered: old.delivered,
            last_success: old.last_success,
            last_failure: old.last_failure,
            secret: 0,
        }
    }
}
