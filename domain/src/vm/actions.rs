//! What may be asked of a VM now, and why not the rest. One table: commands are admitted by it and the API shows it.

use super::{
    cancel,
    devices::Devices,
    drives,
    input::{Change, Command, PasswordChange, StopMode},
    state::{ReasonCode, Starting, State, StopStage, Stopping, Then, Vm},
};
use crate::{
    host::{Capability, Lacking, Offer},
    operation::NotCancellable,
};

/// Everything that can be asked of a VM, by its name in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Start,
    Stop,
    Pause,
    Resume,
    Reboot,
    Delete,
    Update,
    Shell,
    Exec,
    Console,
    Logs,
}

impl Action {
    pub const ALL: [Action; 11] = [
        Action::Start,
        Action::Stop,
        Action::Pause,
        Action::Resume,
        Action::Reboot,
        Action::Delete,
        Action::Update,
        Action::Shell,
        Action::Exec,
        Action::Console,
        Action::Logs,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Action::Start => "start",
            Action::Stop => "stop",
            Action::Pause => "pause",
            Action::Resume => "resume",
            Action::Reboot => "reboot",
            Action::Delete => "delete",
            Action::Update => "update",
            Action::Shell => "shell",
            Action::Exec => "exec",
            Action::Console => "console",
            Action::Logs => "logs",
        }
    }
}

/// Why not. The sentence is what users read; the code is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the VM is still being created")]
    StillCreating,
    #[error("the VM is already starting")]
    AlreadyStarting,
    #[error("the VM is already running")]
    AlreadyRunning,
    #[error("the VM is already paused")]
    AlreadyPaused,
    #[error("the VM is paused")]
    Paused,
    #[error("the VM is not paused")]
    NotPaused,
    #[error("the VM is not running")]
    NotRunning,
    #[error("the VM is already stopping")]
    AlreadyStopping,
    #[error("the VM is being deleted")]
    Deleting,
    #[error("the VM is busy with another operation")]
    Busy,
    #[error("the VM is running")]
    RunningNeedsForce,
    #[error("a paused guest can't shut down")]
    PausedNeedsForce,
    #[error(
        "vCPUs, mem_max_mib, command line, network interfaces and CPU template can't be changed while the VM runs, nor drives added, removed, \
         made read-only or writable, or grown if read-only"
    )]
    OnlyWhenStopped,
    #[error("the VM's memory can't be changed while it runs, for it has no mem_max_mib")]
    MemoryFixed,
    #[error("the VM was started with more memory than that, and can't have less while it runs")]
    MemoryBelowStart,
    #[error("the disk is larger than that already, and can only grow")]
    DiskSmaller,
    #[error("a drive is larger than that already, and can only grow")]
    DriveSmaller,
    #[error("a new drive needs a size")]
    DriveWithoutSize,
    #[error("a drive is named twice, and one thing can be done with it at a time")]
    DriveNamedTwice,
    #[error("the VM has no drive of that name")]
    NoSuchDrive,
    #[error("the VM's last run could not be cleaned up, and may use its network interfaces still")]
    InterfacesInUse,
    #[error("no password was made for the VM")]
    NoPassword,
    #[error("the VM was started already, and cloud-init sets passwords at a guest's first boot only")]
    PasswordTooLate,
    #[error("the VM's deletion failed half-way, its disk may be gone")]
    HalfDeleted,
    #[error(transparent)]
    NotCancellable(NotCancellable),
    /// Not in this state or another: the host's driver can't.
    #[error(transparent)]
    NotOffered(Lacking),
    /// The same, of one field of a specification.
    #[error("{field}: {lacking}")]
    FieldNotOffered { field: &'static str, lacking: Lacking },
}

impl Refused {
    pub fn code(self) -> &'static str {
        match self {
            Refused::StillCreating => "vm-creating",
            Refused::AlreadyStarting => "vm-already-starting",
            Refused::AlreadyRunning => "vm-already-running",
            Refused::AlreadyPaused => "vm-already-paused",
            Refused::Paused => "vm-paused",
            Refused::NotPaused => "vm-not-paused",
            Refused::NotRunning => "vm-not-running",
            Refused::AlreadyStopping => "vm-already-stopping",
            Refused::Deleting => "vm-deleting",
            Refused::Busy => "vm-busy",
            Refused::RunningNeedsForce => "vm-running",
            Refused::PausedNeedsForce => "vm-paused-needs-force",
            Refused::OnlyWhenStopped | Refused::MemoryFixed | Refused::MemoryBelowStart => "only-when-stopped",
            Refused::HalfDeleted => "vm-half-deleted",
            Refused::NotCancellable(why) => why.code(),
            Refused::DiskSmaller => "disk-smaller",
            Refused::DriveSmaller => "drive-smaller",
            Refused::DriveWithoutSize => "drive-without-size",
            Refused::DriveNamedTwice => "drive-named-twice",
            Refused::NoSuchDrive => "no-such-drive",
            Refused::InterfacesInUse => "interfaces-in-use",
            Refused::NoPassword => "no-password",
            Refused::PasswordTooLate => "password-too-late",
            Refused::NotOffered(_) | Refused::FieldNotOffered { .. } => "unsupported-by-driver",
        }
    }

    /// The field of the specification that is at fault, where it is one.
    pub fn field(self) -> Option<&'static str> {
        match self {
            Refused::MemoryFixed | Refused::MemoryBelowStart => Some("spec.mem_mib"),
            Refused::DiskSmaller => Some("spec.disk_mib"),
            Refused::NoPassword => Some("spec.cloud_init.password"),
            Refused::FieldNotOffered { field, .. } => Some(field),
            other => drives::field(other),
        }
    }

    /// Whether the field may have that value, only not in this state.
    pub fn is_of_the_moment(self) -> bool {
        matches!(self, Refused::MemoryFixed | Refused::MemoryBelowStart)
    }

    /// What would make it legal.
    pub fn hint(self) -> &'static str {
        match self {
            Refused::StillCreating | Refused::AlreadyStarting | Refused::Busy => "wait for the operation in flight, or use force",
            Refused::AlreadyRunning | Refused::AlreadyPaused => "nothing needs to be done",
            Refused::Paused => "resume it first",
            Refused::NotPaused => "pause it first",
            Refused::NotRunning => "start it first",
            Refused::AlreadyStopping => "wait until it has stopped, or stop it with force",
            Refused::Deleting => "wait until it is gone",
            Refused::RunningNeedsForce => "stop it first, or delete it with force",
            Refused::PausedNeedsForce => "resume it first, or stop it with force",
            Refused::OnlyWhenStopped | Refused::MemoryBelowStart => "stop it first",
            Refused::MemoryFixed => "stop it first; with mem_max_mib it can be given more while it runs from its next start on",
            Refused::HalfDeleted => "delete it again",
            Refused::NotCancellable(why) => why.hint(),
            Refused::DiskSmaller => "leave it out, or make a new VM with a smaller disk",
            Refused::DriveSmaller => "leave its size out, or add a smaller one under another name",
            Refused::DriveWithoutSize => "give size_mib, or check the name: see the VM's spec.drives",
            Refused::DriveNamedTwice => "name each once; to replace one, take it away first and add it by a second change",
            Refused::NoSuchDrive => "see the VM's spec.drives for their names",
            Refused::InterfacesInUse => "start it, which ends and gives back what is left, then stop it",
            Refused::NoPassword => "leave it out, or ask for one with \"generate\"",
            Refused::PasswordTooLate => "change it in the guest (`hearth vm shell NAME`, then passwd), or make the VM anew",
            Refused::NotOffered(_) | Refused::FieldNotOffered { .. } => {
                "see `hearth host get` for what each host's driver can do; another driver may (hearth up --vmm)"
            }
        }
    }
}

/// Whether `command` may be carried out now, by this host's driver.
pub fn admit(vm: &Vm, command: &Command, offer: Option<Offer>) -> Result<(), Refused> {
    match command {
        Command::Start => start(vm),
        Command::Stop(mode) => stop(&vm.state, *mode),
        Command::Pause => offered(offer, Capability::Pause).and_then(|()| pause(&vm.state)),
        // Whatever the driver offers: what was paused while it could (by an earlier hearth, under another release) must not stay so.
        Command::Resume => resume(&vm.state),
        Command::Reboot(_) => reboot(&vm.state),
        Command::Delete { force } => delete(&vm.state, *force),
        Command::Cancel { operation } => cancel::admit(vm, *operation).map_err(Refused::NotCancellable),
        Command::Update(change) => equipped(&change.asks(), offer).and_then(|()| update(vm, change, offer)),
    }
}

/// Whether the host's driver can do what is asked of devices.
pub fn equipped(devices: &Devices, offer: Option<Offer>) -> Result<(), Refused> {
    let Some(offer) = offer else { return Ok(()) };
    let judge = |(what, field)| offer.has(what).map_err(|lacking| Refused::FieldNotOffered { field, lacking });
    devices.needs().into_iter().try_for_each(judge)
}

fn update(vm: &Vm, change: &Change, offer: Option<Offer>) -> Result<(), Refused> {
    if change.disk_mib.is_some_and(|wanted| vm.spec.disk_mib.is_some_and(|is| wanted < is)) {
        return Err(Refused::DiskSmaller);
    }
    if let Some(change) = &change.drives {
        vm.spec.devices.drives.admit(change)?;
    }
    updatable(vm, change, offer)?;
    if change.networks.is_some() && vm.may_be_left() {
        // That one can't be started, which is what would give them back.
        return Err(if is_half_deleted(vm) { Refused::HalfDeleted } else { Refused::InterfacesInUse });
    }
    password(vm, change)
}

/// A new one only where no guest has booted yet: the instance of a VM is the same for its life, so that cloud-init would not look at it.
fn password(vm: &Vm, change: &Change) -> Result<(), Refused> {
    let Some(Some(given)) = &change.cloud_init else { return Ok(()) };
    let before = vm.spec.devices.cloud_init.as_ref().is_some_and(|before| before.password_hash.is_some());
    match change.password {
        PasswordChange::Kept if !before => Err(Refused::NoPassword),
        PasswordChange::Replaced
            if given.password_hash.is_some() && !matches!(vm.state, State::Creating { .. } | State::Created) =>
        {
            Err(Refused::PasswordTooLate)
        }
        PasswordChange::Kept | PasswordChange::Replaced => Ok(()),
    }
}

fn updatable(vm: &Vm, change: &Change, offer: Option<Offer>) -> Result<(), Refused> {
    match &vm.state {
        State::Deleting => Err(Refused::Deleting),
        State::Created | State::Stopped | State::Failed => Ok(()),
        _ if change.remakes(&vm.spec) => Err(Refused::OnlyWhenStopped),
        _ if change.mem_mib.is_some() && vm.spec.devices.mem_max_mib.is_none() => Err(Refused::MemoryFixed),
        // With what was recorded before a machine is under way, or something else is asked of it.
        State::Starting(Starting::Launching | Starting::Releasing(_) | Starting::Booting(_)) if change.tunes(offer) => {
            Err(Refused::AlreadyStarting)
        }
        State::Pausing(_) | State::Resuming(_) | State::Snapshotting(_) | State::Restoring if change.tunes(offer) => {
            Err(Refused::Busy)
        }
        State::Running(_) | State::Paused(_) if change.mem_mib.is_some_and(|wanted| wanted < vm.memory.booted_mib) => {
            Err(Refused::MemoryBelowStart)
        }
        // What a machine holds of the host's memory is settled with its launch, and no machine is there that could be told.
        State::Creating { .. } if change.mem_mib.is_some() => Err(Refused::StillCreating),
        State::Starting(_) if change.mem_mib.is_some() => Err(Refused::AlreadyStarting),
        State::Stopping(_) if change.mem_mib.is_some() => Err(Refused::AlreadyStopping),
        _ => Ok(()),
    }
}

/// Every action and, where it is refused, why. `stop` is shown when either way of it is possible; `delete` is judged without
/// force.
pub fn table(vm: &Vm, offer: Option<Offer>) -> Vec<(Action, Option<Refused>)> {
    let judge = |action| match action {
        Action::Start => start(vm).err(),
        Action::Stop => {
            stop(&vm.state, StopMode::Graceful { deadline_ms: 1 }).or_else(|_| stop(&vm.state, StopMode::Force)).err()
        }
        Action::Pause => offered(offer, Capability::Pause).and_then(|()| pause(&vm.state)).err(),
        Action::Resume => resume(&vm.state).err(),
        Action::Reboot => reboot(&vm.state).err(),
        Action::Delete => delete(&vm.state, false).err(),
        Action::Update => (vm.state == State::Deleting).then_some(Refused::Deleting),
        Action::Shell | Action::Exec => offered(offer, Capability::GuestAgent).and_then(|()| guest(&vm.state)).err(),
        Action::Console => vm.state.machine().is_none().then_some(Refused::NotRunning),
        Action::Logs => None,
    };
    Action::ALL.into_iter().map(|action| (action, judge(action))).collect()
}

/// What the driver can't do it can't do in any state, so this is said first.
fn offered(offer: Option<Offer>, what: Capability) -> Result<(), Refused> {
    offer.map_or(Ok(()), |offer| offer.has(what)).map_err(Refused::NotOffered)
}

fn is_half_deleted(vm: &Vm) -> bool {
    vm.state == State::Failed && vm.reason.as_ref().is_some_and(|reason| reason.code == ReasonCode::DeleteFailed)
}

fn start(vm: &Vm) -> Result<(), Refused> {
    match &vm.state {
        // Started, it would boot without its disk or not at all.
        State::Failed if is_half_deleted(vm) => Err(Refused::HalfDeleted),
        State::Created | State::Stopped | State::Failed => Ok(()),
        State::Creating { .. } => Err(Refused::StillCreating),
        State::Starting(_) => Err(Refused::AlreadyStarting),
        State::Running(_) => Err(Refused::AlreadyRunning),
        State::Paused(_) => Err(Refused::Paused),
        State::Stopping(_) => Err(Refused::AlreadyStopping),
        State::Deleting => Err(Refused::Deleting),
        State::Pausing(_) | State::Resuming(_) | State::Snapshotting(_) | State::Restoring => Err(Refused::Busy),
    }
}

fn stop(state: &State, mode: StopMode) -> Result<(), Refused> {
    match (state, mode) {
        (State::Running(_) | State::Starting(_), _) => Ok(()),
        (State::Paused(_) | State::Pausing(_) | State::Resuming(_) | State::Snapshotting(_), StopMode::Force) => Ok(()),
        (State::Paused(_), StopMode::Graceful { .. }) => Err(Refused::PausedNeedsForce),
        (State::Pausing(_) | State::Resuming(_) | State::Snapshotting(_), StopMode::Graceful { .. }) => Err(Refused::Busy),
        // Who waits for a guest that does not shut down may lose patience.
        (State::Stopping(stopping), StopMode::Force) if can_be_hurried(stopping) => Ok(()),
        (State::Stopping(_), _) => Err(Refused::AlreadyStopping),
        (State::Creating { .. }, _) => Err(Refused::StillCreating),
        (State::Created | State::Stopped | State::Failed, _) => Err(Refused::NotRunning),
        (State::Restoring, _) => Err(Refused::Busy),
        (State::Deleting, _) => Err(Refused::Deleting),
    }
}

/// A stop must not turn a deletion into something less.
fn can_be_hurried(stopping: &Stopping) -> bool {
    matches!(stopping.stage, StopStage::Asking(_) | StopStage::Waiting(_)) && stopping.then != Then::Delete
}

fn pause(state: &State) -> Result<(), Refused> {
    match state {
        State::Running(_) => Ok(()),
        State::Paused(_) => Err(Refused::AlreadyPaused),
        State::Pausing(_) | State::Resuming(_) | State::Snapshotting(_) | State::Restoring => Err(Refused::Busy),
        other => guest(other),
    }
}

fn resume(state: &State) -> Result<(), Refused> {
    match state {
        State::Paused(_) => Ok(()),
        State::Pausing(_) | State::Resuming(_) | State::Snapshotting(_) | State::Restoring => Err(Refused::Busy),
        State::Deleting => Err(Refused::Deleting),
        State::Creating { .. }
        | State::Created
        | State::Starting(_)
        | State::Running(_)
        | State::Stopping(_)
        | State::Stopped
        | State::Failed => Err(Refused::NotPaused),
    }
}

fn reboot(state: &State) -> Result<(), Refused> {
    match state {
        State::Paused(_) => Err(Refused::Paused),
        other => guest(other),
    }
}

/// What needs a guest that runs.
fn guest(state: &State) -> Result<(), Refused> {
    match state {
        State::Running(_) => Ok(()),
        State::Paused(_) => Err(Refused::Paused),
        State::Creating { .. } => Err(Refused::StillCreating),
        State::Deleting => Err(Refused::Deleting),
        State::Pausing(_) | State::Resuming(_) | State::Snapshotting(_) | State::Restoring => Err(Refused::Busy),
        State::Stopping(_) => Err(Refused::AlreadyStopping),
        State::Created | State::Starting(_) | State::Stopped | State::Failed => Err(Refused::NotRunning),
    }
}

fn delete(state: &State, force: bool) -> Result<(), Refused> {
    match state {
        State::Created | State::Stopped | State::Failed => Ok(()),
        State::Deleting => Err(Refused::Deleting),
        // Its machine is being given back already; deleting waits for that in any case.
        State::Stopping(stopping) if stopping.then == Then::Delete => Err(Refused::Deleting),
        // It failed, its operation said so, and what is left of it is being given back: nothing runs on that force would have to end.
        State::Stopping(stopping) if stopping.then == Then::Failed => Ok(()),
        _ if force => Ok(()),
        State::Creating { .. } => Err(Refused::StillCreating),
        State::Stopping(_) => Err(Refused::AlreadyStopping),
        State::Starting(Starting::Launching | Starting::Releasing(_) | Starting::Booting(_) | Starting::BackingOff)
        | State::Running(_)
        | State::Pausing(_)
        | State::Paused(_)
        | State::Resuming(_)
        | State::Snapshotting(_)
        | State::Restoring => Err(Refused::RunningNeedsForce),
    }
}
