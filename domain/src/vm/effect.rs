//! What the decision wants done. Effects are carried out in order, after the state that explains them is durable.

use super::{
    input::{Finished, Timer},
    state::{Machine, Vm},
};
use crate::{event::Draft as EventDraft, operation::Change as OperationChange};

/// The answer of [`super::step()`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The next record; absent: the VM is no more.
    pub next: Option<Vm>,
    pub events: Vec<EventDraft>,
    pub operations: Vec<OperationChange>,
    pub effects: Vec<Effect>,
}

/// Each is idempotent: after a crash it may be carried out twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make the VM's folder and disk. Comes back as `DiskReady` or `DiskFailed`.
    PrepareDisk,
    /// End and clear what an earlier launch may have left, make the network interface and the process, held before its first
    /// instruction. `Launched` or `LaunchFailed` (then nothing is left).
    Launch,
    /// Let the process run. `Released` or `ReleaseFailed`; from here on `Exited` may come.
    Release(Machine),
    /// Connect to the guest's agent, again and again until the machine ends. `GuestReady` once a launch.
    AwaitGuest(Machine),
    /// Report the end of the process. `Exited` once.
    Watch(Machine),
    /// Ask the host what is true of the process, and make limits, balloon and metadata of one that runs as recorded: hearth may have ended between
    /// a change's record and its `Tune`. `Inspected`.
    Inspect(Machine),
    /// Stop the vCPUs. `Paused` or `PauseFailed`.
    Pause(Machine),
    /// Let the vCPUs run and set the guest's clock. `Resumed` or `ResumeFailed`.
    Resume(Machine),
    /// Make limits, balloon and metadata of the machine as recorded. `Tuned` or `TuneFailed`; the machine goes on either way.
    Tune(Machine),
    /// Let the vCPUs go on that the VMM holds for want of room on the host's disk, set the guest's clock, and look whether they do. Wanted by
    /// [`super::hold`], and answered to it (`Tried`); within the queue, so that a pause that is asked for comes before it or after it.
    GoOn(Machine),
    /// Ask the guest to shut down. `ShutdownAsked` or `ShutdownFailed`.
    AskShutdown { machine: Machine, deadline_ms: u64 },
    /// End the process. `Killed` or `KillFailed`.
    Kill(Machine),
    /// Give back what a run used: network interface, cgroup, sockets. `Cleaned` or `CleanFailed`.
    Clean,
    /// Remove the VM's folder with its disk. `Removed` or `RemoveFailed`.
    Remove,
    /// `Elapsed` after that time, unless a later attempt was issued.
    StartTimer { timer: Timer, after_ms: u64 },
}

impl Effect {
    /// Whether `result` is an answer to this effect: used by the table of tests and by the simulator.
    pub fn is_answered_by(&self, result: &Finished) -> bool {
        matches!(
            (self, result),
            (Effect::PrepareDisk, Finished::DiskReady | Finished::DiskFailed { .. })
                | (Effect::Launch, Finished::Launched { .. } | Finished::LaunchFailed { .. })
                | (Effect::Release(_), Finished::Released | Finished::ReleaseFailed { .. })
                | (Effect::Pause(_), Finished::Paused | Finished::PauseFailed { .. })
                | (Effect::Resume(_), Finished::Resumed | Finished::ResumeFailed { .. })
                | (Effect::Tune(_), Finished::Tuned | Finished::TuneFailed { .. })
                | (Effect::AskShutdown { .. }, Finished::ShutdownAsked | Finished::ShutdownFailed { .. })
                | (Effect::Kill(_), Finished::Killed | Finished::KillFailed { .. })
                | (Effect::Clean, Finished::Cleaned | Finished::CleanFailed { .. })
                | (Effect::Remove, Finished::Removed | Finished::RemoveFailed { .. })
        )
    }
}
