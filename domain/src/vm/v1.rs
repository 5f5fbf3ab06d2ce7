//! A VM's record as the first version of its format had it, for reading journals of that time. Never written.
//!
//! It differs from today's in one place: a stop that waits for the guest did not say until when.

use super::{
    spec::VmSpec,
    state::{self, BootImages, Deadline, InFlight, Machine, Nic, Reason, Restarts, Starting, Then},
    step::STOP_DEADLINE_MS,
};
use crate::{Attempt, Generation, HostId, Labels, Name, Timestamp, VmId};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub struct Vm {
    id: VmId,
    name: Name,
    project: Name,
    labels: Labels,
    generation: Generation,
    created_at: Timestamp,
    updated_at: Timestamp,
    spec: VmSpec,
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

#[derive(Debug, Deserialize)]
enum State {
    Creating { start: bool },
    Created,
    Starting(Starting),
    Running(Machine),
    Pausing(Machine),
    Paused(Machine),
    Resuming(Machine),
    Stopping(Stopping),
    Stopped,
    Snapshotting(Machine),
    Restoring,
    Failed,
    Deleting,
}

#[derive(Debug, Deserialize)]
struct Stopping {
    stage: StopStage,
    then: Then,
    tries: u8,
}

#[derive(Debug, Deserialize)]
enum StopStage {
    Asking(Machine),
    Killing(Machine),
    Cleaning,
}

impl From<Vm> for state::Vm {
    fn from(old: Vm) -> state::Vm {
        // What hearth of that time gave every guest after a crash.
        let deadline = Deadline { since: old.updated_at, after_ms: STOP_DEADLINE_MS };
        state::Vm {
            id: old.id,
            name: old.name,
            project: old.project,
            labels: old.labels,
            generation: old.generation,
            created_at: old.created_at,
            updated_at: old.updated_at,
            spec: old.spec,
            boot: old.boot,
            host: old.host,
            nic: old.nic,
            network_note: old.network_note,
            state: state_of(old.state, deadline),
            attempt: old.attempt,
            operation: old.operation,
            restarts: old.restarts,
            reason: old.reason,
        }
    }
}

fn state_of(old: State, deadline: Deadline) -> state::State {
    match old {
        State::Creating { start } => state::State::Creating { start },
        State::Created => state::State::Created,
        State::Starting(starting) => state::State::Starting(starting),
        State::Running(machine) => state::State::Running(machine),
        State::Pausing(machine) => state::State::Pausing(machine),
        State::Paused(machine) => state::State::Paused(machine),
        State::Resuming(machine) => state::State::Resuming(machine),
        State::Stopping(Stopping { stage, then, tries }) => {
            let stage = match stage {
                StopStage::Asking(machine) => state::StopStage::Asking(machine, deadline),
                StopStage::Killing(machine) => state::StopStage::Killing(machine),
                StopStage::Cleaning => state::StopStage::Cleaning,
            };
            state::State::Stopping(state::Stopping { stage, then, tries })
        }
        State::Stopped => state::State::Stopped,
        State::Snapshotting(machine) => state::State::Snapshotting(machine),
        State::Restoring => state::State::Restoring,
        State::Failed => state::State::Failed,
        State::Deleting => state::State::Deleting,
    }
}
