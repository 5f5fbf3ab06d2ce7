//! What happens next to a VM: the one table of state and input.
//!
//! Limits are named here, each with its reason. The arms are one line and one call; the helpers are in `step/`, a file per kind of input.

mod build;
mod command;
mod elapsed;
mod ended;
mod finished;
mod observed;
mod recovered;
#[cfg(test)]
pub(super) mod tests;

use super::{
    actions::{self, Refused},
    effect::{Effect, Step},
    input::{Finished, Input, Observed, Ticket, Timer},
    spec::VmSpec,
    state::{BootImages, InFlight, MachineMemory, Nic, Restarts, Starting, State, StopStage, Vm},
};
use crate::{
    Attempt, Generation, HostId, Labels, Name, Timestamp, VmId,
    mutant::{self, Mutant},
    operation::{Change as OperationChange, OperationKind},
};
use build::Next;

/// A guest under software emulation on a busy machine took up to 23 s (20 at once); five times that is no boot any more.
pub const BOOT_DEADLINE_MS: u64 = 120_000;
/// How long a guest may take to shut down when the user does not say: systemd's own default for a unit is 90 s, most need 2 s.
pub const STOP_DEADLINE_MS: u64 = 30_000;
/// Restarts by policy within [`RESTART_WINDOW_MS`]; one more and the VM is failed.
pub const RESTARTS_MAX: u32 = 5;
pub const RESTART_WINDOW_MS: u64 = 600_000;
/// First wait before a restart by policy, doubled each time up to the maximum.
pub const BACKOFF_FIRST_MS: u64 = 1_000;
pub const BACKOFF_MAX_MS: u64 = 60_000;
/// Tries of an effect that must succeed in the end (ending a process, giving back what it used), one every [`RETRY_MS`].
pub const TRIES_MAX: u8 = 5;
pub const RETRY_MS: u64 = 2_000;

/// All that a new VM is made from.
#[derive(Debug, Clone)]
pub struct Draft {
    pub id: VmId,
    pub name: Name,
    pub project: Name,
    pub labels: Labels,
    pub spec: VmSpec,
    pub boot: BootImages,
    pub host: HostId,
    pub nics: Vec<Nic>,
    pub network_note: Option<String>,
    pub start: bool,
}

/// A new VM. Whether its name is free and its images exist was settled by who made the draft.
pub fn create(draft: Draft, ticket: Ticket, now: Timestamp) -> Step {
    let vm = Vm {
        id: draft.id,
        name: draft.name,
        project: draft.project,
        labels: draft.labels,
        generation: Generation(0),
        created_at: now,
        updated_at: now,
        spec: draft.spec,
        boot: draft.boot,
        host: draft.host,
        nics: draft.nics,
        network_note: draft.network_note,
        state: State::Creating { start: draft.start },
        attempt: Attempt(0),
        operation: Some(InFlight { id: ticket.operation, kind: OperationKind::VmCreate }),
        restarts: Restarts::default(),
        reason: None,
        retuned: false,
        memory: MachineMemory::default(),
    };
    let mut next = Next::of(&vm, now);
    next.operations.push(OperationChange::Begin {
        id: ticket.operation,
        kind: OperationKind::VmCreate,
        actor: ticket.actor.clone(),
    });
    next.advance("disk", 10);
    next.event_by("vm-creating", &ticket);
    next.issue(Effect::PrepareDisk);
    next.done()
}

/// The next record, events, changes of operations and effects; or why the command is refused. Late and doubled reports change nothing.
pub fn step(vm: &Vm, input: Input, now: Timestamp) -> Result<Step, Refused> {
    let next = Next::of(vm, now);
    match (&vm.state, input) {
        (_, Input::Command { command, ticket }) => {
            actions::admit(vm, &command, ticket.offer)?;
            Ok(command::carry_out(next, command, ticket))
        }

        // An answer to an older attempt says nothing about this one.
        (_, Input::Finished { attempt, .. } | Input::Elapsed { attempt, .. })
            if attempt != vm.attempt && !mutant::on(Mutant::TakesOldAnswers) =>
        {
            Ok(Next::nothing(vm))
        }

        (State::Creating { start }, Input::Finished { result: Finished::DiskReady, .. }) => {
            Ok(finished::disk_ready(next, *start))
        }
        (State::Creating { .. }, Input::Finished { result: Finished::DiskFailed { code, detail }, .. }) => {
            Ok(finished::disk_failed(next, code, detail))
        }
        (State::Starting(Starting::Launching), Input::Finished { result: Finished::Launched { machine }, .. }) => {
            Ok(finished::launched(next, machine))
        }
        (State::Starting(Starting::Launching), Input::Finished { result: Finished::LaunchFailed { code, detail }, .. }) => {
            Ok(ended::launch_failed(next, code, detail))
        }
        (State::Starting(Starting::Releasing(machine)), Input::Finished { result: Finished::Released, .. }) => {
            Ok(finished::released(next, machine.clone()))
        }
        (State::Starting(Starting::Releasing(machine)), Input::Finished { result: Finished::ReleaseFailed { detail }, .. }) => {
            Ok(ended::release_failed(next, machine.clone(), detail))
        }
        (State::Pausing(machine), Input::Finished { result: Finished::Paused, .. }) => {
            Ok(finished::paused(next, machine.clone()))
        }
        (State::Pausing(machine), Input::Finished { result: Finished::PauseFailed { detail }, .. }) => {
            Ok(finished::pause_failed(next, machine.clone(), detail))
        }
        (State::Resuming(machine), Input::Finished { result: Finished::Resumed, .. }) => {
            Ok(finished::resumed(next, machine.clone()))
        }
        (State::Resuming(machine), Input::Finished { result: Finished::ResumeFailed { detail }, .. }) => {
            Ok(finished::resume_failed(next, machine.clone(), detail))
        }
        (State::Running(_) | State::Paused(_), Input::Finished { result: Finished::Tuned, .. }) => Ok(finished::tuned(next)),
        (State::Running(_) | State::Paused(_), Input::Finished { result: Finished::TuneFailed { detail }, .. }) => {
            Ok(finished::tune_failed(next, &detail))
        }
        (State::Stopping(stopping), Input::Finished { result, .. }) => Ok(finished::stopping(next, stopping.clone(), result)),
        (State::Deleting, Input::Finished { result: Finished::Removed, .. }) => Ok(finished::removed(next)),
        (State::Deleting, Input::Finished { result: Finished::RemoveFailed { detail }, .. }) => {
            Ok(finished::remove_failed(next, detail))
        }
        // No other state waits for an effect, and no state for another one's answer.
        (_, Input::Finished { .. }) => Ok(Next::nothing(vm)),

        (State::Starting(Starting::Booting(machine)), Input::Elapsed { timer: Timer::Boot, .. }) => {
            Ok(elapsed::boot(next, machine.clone()))
        }
        (State::Starting(Starting::BackingOff), Input::Elapsed { timer: Timer::Backoff, .. }) => Ok(finished::launch(next)),
        (State::Stopping(stopping), Input::Elapsed { timer, .. }) => Ok(elapsed::stopping(next, stopping.clone(), timer)),
        (_, Input::Elapsed { .. }) => Ok(Next::nothing(vm)),

        (_, Input::Observed(observed)) => Ok(match (vm.state.machine(), observed) {
            (Some(machine), Observed::Exited { launch, exit }) if machine.launch == launch => ended::exited(next, exit),
            (Some(machine), Observed::GuestReady { launch }) if machine.launch == launch => {
                observed::guest_ready(next, machine.clone())
            }
            (Some(machine), Observed::Inspected { launch, found }) if machine.launch == launch => {
                observed::inspected(next, machine.clone(), found)
            }
            // A report about a machine that this VM has no longer.
            (_, Observed::Exited { .. } | Observed::GuestReady { .. } | Observed::Inspected { .. }) => Next::nothing(vm),
        }),

        (_, Input::Recovered) => Ok(recovered::recover(next)),
    }
}

/// Sets a VM aside whose actor failed more often than its budget allows.
pub fn quarantine(vm: &Vm, error: &str, now: Timestamp) -> Step {
    ended::quarantine(Next::of(vm, now), error)
}

/// The stage's own effect, to be done (again).
fn effect_of(stage: &StopStage) -> Effect {
    match stage {
        StopStage::Asking(machine) | StopStage::Waiting(machine) => {
            Effect::AskShutdown { machine: machine.clone(), deadline_ms: STOP_DEADLINE_MS }
        }
        StopStage::Killing(machine) => Effect::Kill(machine.clone()),
        StopStage::Cleaning => Effect::Clean,
    }
}
