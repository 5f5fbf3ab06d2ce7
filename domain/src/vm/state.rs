//! What a VM is: the record that the journal keeps, and the states with the data that only they have.

use super::spec::VmSpec;
use crate::{Attempt, Generation, HostId, ImageId, Labels, Name, OperationId, Timestamp, VmId, operation::OperationKind};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// The durable record of a VM. Its actor alone changes it, and only by [`super::step()`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vm {
    pub id: VmId,
    pub name: Name,
    pub project: Name,
    pub labels: Labels,
    pub generation: Generation,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub spec: VmSpec,
    pub boot: BootImages,
    pub host: HostId,
    /// One for each of `spec.networks`, in its order. Empty: the VM has no network, by its spec or because the machine cannot give it one (then
    /// `network_note` says why).
    pub nics: Vec<Nic>,
    pub network_note: Option<String>,
    pub state: State,
    /// The newest attempt that was issued; older results are ignored.
    pub attempt: Attempt,
    pub operation: Option<InFlight>,
    pub restarts: Restarts,
    /// Why the VM is in this state, where that is not plain: a failure, or how the last run ended.
    pub reason: Option<Reason>,
    /// Limits, the balloon or metadata were changed since the machine was made: it may not have them, so that they are made so again whenever it
    /// is found. It is not cleared when they hold, which would be a change of the record that nobody sees.
    pub retuned: bool,
    pub memory: MachineMemory,
}

/// What memory the newest launch gave its machine. All zero before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MachineMemory {
    /// It began with so much, below which it can't go.
    pub booted_mib: u32,
    /// The most that it was to have since: a guest gives back what it likes, so that all of this may still be in use.
    pub most_mib: u32,
}

impl Vm {
    /// A machine is made with what is recorded now.
    pub(super) fn launches(&mut self) {
        self.retuned = false;
        self.memory = MachineMemory { booted_mib: self.spec.mem_mib, most_mib: self.spec.mem_mib };
    }

    /// How much of the host's memory it holds while its state holds any.
    pub fn held_mem_mib(&self) -> u32 {
        self.memory.most_mib.max(self.spec.mem_mib)
    }

    /// Whether its last run may have left something that still uses what the VM was given: one that failed because it could not be cleaned up says
    /// so, and the next start or deletion tries again.
    pub fn may_be_left(&self) -> bool {
        let codes = [ReasonCode::CleanFailed, ReasonCode::DeleteFailed, ReasonCode::ActorFailed];
        self.state == State::Failed && self.reason.as_ref().is_some_and(|reason| codes.contains(&reason.code))
    }
}

/// The images that the spec's names meant when the VM was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootImages {
    pub kernel: ImageId,
    pub rootfs: ImageId,
}

/// One of the VM's network interfaces: its address is given once by our own address management and kept for the interface's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub gateway: Ipv4Addr,
    pub mac: [u8; 6],
    /// The host's TAP device, by the interface's place ([`super::nic::tap_of`]); at most 15 characters.
    pub tap: String,
}

/// The operation that the VM works on; at most one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    pub id: OperationId,
    pub kind: OperationKind,
}

/// Which program runs the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Driver {
    Firecracker,
    Qemu,
    Simulated,
}

impl Driver {
    pub fn as_str(self) -> &'static str {
        match self {
            Driver::Firecracker => "firecracker",
            Driver::Qemu => "qemu",
            Driver::Simulated => "simulated",
        }
    }
}

/// One VMM process. Pid alone can be reused; pid, start time and executable together name one process of this boot of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub launch: Attempt,
    pub driver: Driver,
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`, clock ticks since the host's boot.
    pub start_ticks: u64,
    pub executable: String,
    pub version: String,
}

/// Where a VM is. Names are those of the API; the data is what only that state has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The disk is being made; `start`: and then it is to run.
    Creating {
        start: bool,
    },
    Created,
    Starting(Starting),
    Running(Machine),
    Pausing(Machine),
    Paused(Machine),
    Resuming(Machine),
    Stopping(Stopping),
    Stopped,
    /// Entered by the snapshot procedure only; recovery leaves it for `Paused`.
    Snapshotting(Machine),
    /// Entered by the restore procedure only; recovery ends it as failed.
    Restoring,
    Failed,
    /// Resources are being removed; ends with the record's deletion.
    Deleting,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Starting {
    /// The process is being made, or an earlier one's remains cleaned; it may exist, held before its first instruction.
    Launching,
    /// Its identity is durable; it may run now.
    Releasing(Machine),
    /// It runs; the guest's agent has not said hello yet.
    Booting(Machine),
    /// A restart by policy waits for its time.
    BackingOff,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    pub stage: StopStage,
    pub then: Then,
    /// How often the stage's effect failed.
    pub tries: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopStage {
    /// The guest was asked to shut down and has until the deadline.
    Asking(Machine),
    /// The process was told to end.
    Killing(Machine),
    /// The process is gone; what it used is being given back.
    Cleaning,
    /// The guest's agent is not connected: the guest is asked as soon as it is, and has not heard of it yet. The deadline runs.
    Waiting(Machine),
}

/// What follows once nothing of the run is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    Stopped,
    /// At once, on a user's wish or because the guest rebooted.
    Relaunch,
    /// By the restart policy, after a back-off.
    Restart,
    Failed,
    Delete,
}

/// Restarts by policy within the current window, and in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Restarts {
    pub in_window: u32,
    pub window_start: Timestamp,
    pub total: u64,
}

/// A stable code and a sentence with what was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub code: ReasonCode,
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReasonCode {
    LaunchFailed,
    AgentTimeout,
    GuestShutdown,
    GuestReboot,
    GuestPanic,
    VmmKilled,
    VmmFailed,
    VmmGone,
    RestartBudgetSpent,
    CleanFailed,
    ActorFailed,
    RestoreInterrupted,
    /// Its deletion failed half-way: the disk may be gone, so it can only be deleted again.
    DeleteFailed,
    OutOfMemory,
    /// The VMM made a system call that its filter forbids: a bug of it, or someone at work in it.
    SeccompViolation,
    /// It runs, but not with the limits or the balloon that were asked for last: those hold from the next start.
    NotApplied,
    /// The VMM holds the guest, whose disk found no room on the host's; see [`super::hold`]. Shown, and in no record.
    DiskFull,
}

impl ReasonCode {
    pub fn as_str(self) -> &'static str {
        match self {
            ReasonCode::LaunchFailed => "launch-failed",
            ReasonCode::AgentTimeout => "agent-timeout",
            ReasonCode::GuestShutdown => "guest-shutdown",
            ReasonCode::GuestReboot => "guest-reboot",
            ReasonCode::GuestPanic => "guest-panic",
            ReasonCode::VmmKilled => "vmm-killed",
            ReasonCode::VmmFailed => "vmm-failed",
            ReasonCode::VmmGone => "vmm-gone",
            ReasonCode::RestartBudgetSpent => "restart-budget-spent",
            ReasonCode::CleanFailed => "clean-failed",
            ReasonCode::ActorFailed => "actor-failed",
            ReasonCode::RestoreInterrupted => "restore-interrupted",
            ReasonCode::DeleteFailed => "delete-failed",
            ReasonCode::OutOfMemory => "out-of-memory",
            ReasonCode::SeccompViolation => "seccomp-violation",
            ReasonCode::NotApplied => "not-applied",
            ReasonCode::DiskFull => "disk-full",
        }
    }
}

impl State {
    /// The name in the API.
    pub fn name(&self) -> &'static str {
        match self {
            State::Creating { .. } => "creating",
            State::Created => "created",
            State::Starting(_) => "starting",
            State::Running(_) => "running",
            State::Pausing(_) => "pausing",
            State::Paused(_) => "paused",
            State::Resuming(_) => "resuming",
            State::Stopping(_) => "stopping",
            State::Stopped => "stopped",
            State::Snapshotting(_) => "snapshotting",
            State::Restoring => "restoring",
            State::Failed => "failed",
            State::Deleting => "deleting",
        }
    }

    /// The VMM process of this state, if one may exist.
    pub fn machine(&self) -> Option<&Machine> {
        match self {
            State::Starting(Starting::Releasing(machine) | Starting::Booting(machine))
            | State::Running(machine)
            | State::Pausing(machine)
            | State::Paused(machine)
            | State::Resuming(machine)
            | State::Snapshotting(machine) => Some(machine),
            State::Stopping(stopping) => match &stopping.stage {
                StopStage::Asking(machine) | StopStage::Killing(machine) | StopStage::Waiting(machine) => Some(machine),
                StopStage::Cleaning => None,
            },
            State::Creating { .. }
            | State::Created
            | State::Starting(Starting::Launching | Starting::BackingOff)
            | State::Stopped
            | State::Restoring
            | State::Failed
            | State::Deleting => None,
        }
    }

    /// Whether the VM's memory and vCPUs count against its host.
    pub fn holds_capacity(&self) -> bool {
        match self {
            State::Starting(_)
            | State::Running(_)
            | State::Pausing(_)
            | State::Paused(_)
            | State::Resuming(_)
            | State::Snapshotting(_)
            | State::Restoring => true,
            // Of a VM that goes nothing runs any more, or never did: a host that is full must not keep one from being deleted.
            State::Stopping(stopping) => stopping.stage != StopStage::Cleaning || stopping.then != Then::Delete,
            State::Creating { start } => *start,
            State::Created | State::Stopped | State::Failed | State::Deleting => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else a stopped VM, which is cleaned up once more when it is deleted, could not be deleted on a host that is full.
    #[test]
    fn what_is_cleaned_up_to_be_deleted_holds_nothing() {
        let cleaning = |then| State::Stopping(Stopping { stage: StopStage::Cleaning, then, tries: 0 });
        assert!(!cleaning(Then::Delete).holds_capacity());
        for then in [Then::Stopped, Then::Relaunch, Then::Restart, Then::Failed] {
            assert!(cleaning(then).holds_capacity(), "{then:?}: a machine may be there, or comes again");
        }
    }
}
