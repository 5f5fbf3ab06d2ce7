//! Everything that can happen to a VM: commands, reports from the world, ends of effects, timers.

use super::{
    devices::{CloudInit, CpuTemplate},
    drives::DrivesChange,
    nic::NetworksChange,
    state::Machine,
};
use crate::host::Offer;
use crate::{Attempt, Labels, Name, OperationId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Someone asks.
    Command { command: Command, ticket: Ticket },
    /// The world reports.
    Observed(Observed),
    /// The effect that was issued as `attempt` ended.
    Finished { attempt: Attempt, result: Finished },
    /// The timer that was started for `attempt` fired.
    Elapsed { attempt: Attempt, timer: Timer },
    /// The record was just loaded, after a restart of hearth or of the VM's actor; nothing is known of the world.
    Recovered,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Start,
    Stop(StopMode),
    Pause,
    Resume,
    Reboot(StopMode),
    /// `force` ends a running VM first.
    Delete {
        force: bool,
    },
    Update(Change),
    /// What that operation did is undone, and it ends as cancelled.
    Cancel {
        operation: OperationId,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// The guest is asked, and the process is ended when the deadline passes.
    Graceful {
        deadline_ms: u64,
    },
    Force,
}

/// What a PATCH may change. Absent: as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    pub name: Option<Name>,
    pub labels: Option<Box<Labels>>,
    pub restart: Option<super::RestartPolicy>,
    /// Only while no machine exists.
    pub vcpus: Option<u32>,
    pub mem_max_mib: Option<Option<u32>>,
    pub cmdline: Option<Option<String>>,
    pub cpu_template: Option<Option<CpuTemplate>>,
    /// At any time, replaced as a whole or taken away. The guest's seed says it from its next start on, a metadata service at once.
    pub cloud_init: Option<Option<Box<CloudInit>>>,
    /// Meant for a `cloud_init` that is replaced.
    pub password: PasswordChange,
    /// Never less than it is.
    pub disk_mib: Option<u64>,
    /// Only while no machine exists, as the disk.
    pub drives: Option<Box<DrivesChange>>,
    /// Only while no machine exists; all of them.
    pub networks: Option<Box<NetworksChange>>,
    /// These a running or paused machine takes over at once.
    pub rate_limits: RateLimitsChange,
    pub balloon_mib: Option<u32>,
    /// As well, between what the machine began with and `mem_max_mib`, where it was made with one.
    pub mem_mib: Option<u32>,
    /// As well; replaced as a whole, or taken away.
    pub metadata: Option<Option<Box<str>>>,
}

/// What becomes of the password that was made before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PasswordChange {
    /// What comes with the new `cloud_init` takes its place: another one, while the VM was never started, or none.
    #[default]
    Replaced,
    /// It stays.
    Kept,
}

/// Each limit by itself. Absent: as it is; `Some(None)`: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimitsChange {
    pub disk_mib_per_s: Option<Option<u32>>,
    pub disk_ops_per_s: Option<Option<u32>>,
    pub rx_mbit_per_s: Option<Option<u32>>,
    pub tx_mbit_per_s: Option<Option<u32>>,
}

/// Who asked, and under which number the work is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    pub operation: OperationId,
    /// For the audit: `user:admin`, `policy:restart`.
    pub actor: String,
    /// Whether the guest could be told something at the moment of the command.
    pub agent: Agent,
    /// What the host's driver can do; absent where nothing is known of the host, and then nothing is refused by it.
    pub offer: Option<Offer>,
}

/// The link to the guest's agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    Connected,
    Away,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// The process of that launch is gone.
    Exited { launch: Attempt, exit: Exit },
    /// The guest's agent said hello for the first time in that launch.
    GuestReady { launch: Attempt },
    /// What was found when the host was asked about the recorded machine.
    Inspected { launch: Attempt, found: Inspection },
}

/// How a VMM ended, as far as anyone can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// Powered off from inside.
    GuestShutdown,
    GuestReboot,
    GuestPanic,
    /// By a signal that was not ours.
    Killed {
        signal: i32,
    },
    /// It gave up by itself.
    Failed {
        code: i32,
        detail: String,
    },
    /// It ended while nobody watched, or tells nothing.
    Unknown,
    /// By the kernel, for want of memory: its control group was at its limit (`memory.events`, `oom_kill`), or the host had none left.
    OutOfMemory,
    /// It made a system call that its filter forbids (Firecracker: code 148; a plain filter: SIGSYS).
    Seccomp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspection {
    Running,
    Paused,
    /// The VMM stopped the vCPUs by itself: the host's disk has no room for what the guest writes. It goes on where it was when it is resumed.
    DiskFull,
    /// The process exists but was never released: it holds before its first instruction.
    Held,
    Gone {
        exit: Exit,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    DiskReady,
    /// Nothing of the disk is left. `code` is stable: `disk-full`, …
    DiskFailed {
        code: String,
        detail: String,
    },
    /// The process exists and holds before its first instruction.
    Launched {
        machine: Machine,
    },
    /// Nothing is left but what `Clean` gives back. `code` is stable: `vmm-missing`, …
    LaunchFailed {
        code: String,
        detail: String,
    },
    Released,
    ReleaseFailed {
        detail: String,
    },
    Paused,
    PauseFailed {
        detail: String,
    },
    Resumed,
    ResumeFailed {
        detail: String,
    },
    /// Limits, balloon and metadata are as recorded.
    Tuned,
    /// They may be, in part.
    TuneFailed {
        detail: String,
    },
    /// The guest acknowledged that it will shut down; its exit is reported by `Exited`.
    ShutdownAsked,
    ShutdownFailed {
        detail: String,
    },
    /// The process is no more; `Exited` may come too, in any order.
    Killed,
    KillFailed {
        detail: String,
    },
    Cleaned,
    CleanFailed {
        detail: String,
    },
    Removed,
    RemoveFailed {
        detail: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timer {
    /// The guest's agent had this long to say hello.
    Boot,
    /// The guest had this long to shut down.
    Stop,
    /// A restart by policy is due.
    Backoff,
    /// An effect failed and is tried again.
    Retry,
    /// A machine that is held is to be let go on. Its number is the launch's, and it is for [`super::hold`], not for the step.
    Hold,
}
