//! What is tried: every command in every place where a VM can rest and which admits it, every way in which a machine can end under every
//! policy, every creation, and what is done with images. Nothing here lists steps, and the commands, ends and policies are chains that do
//! not compile when a variant is added, until it has its place in them.

use domain::OperationId;
use domain::vm::{Change, Command, Exit, Interface, Mac, NetworksChange, RateLimitsChange, RestartPolicy, StopMode};
use std::fmt;

/// What is done, from where.
#[derive(Debug, Clone)]
pub struct Procedure {
    pub from: Place,
    pub act: Act,
    pub policy: RestartPolicy,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    Create {
        start: bool,
    },
    Command(Command),
    /// The machine ends by itself.
    Ends(Exit),
    ImportImage,
    DeleteImage,
    RenameImage,
}

/// Where the VM waits for somebody, or something, to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// There is none.
    Nowhere,
    Created,
    /// Its guest does not say hello.
    Booting,
    Running,
    Paused,
    Stopped,
    Failed,
    /// Its restart by policy is due later.
    BackingOff,
}

impl fmt::Display for Procedure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} {:?}", self.from, self.act, self.policy)
    }
}

const GRACEFUL: StopMode = StopMode::Graceful { deadline_ms: 10_000 };

/// The command after that one; each variant has its place in the chain.
fn next_command(command: Option<&Command>) -> Option<Command> {
    Some(match command {
        None => Command::Start,
        Some(Command::Start) => Command::Stop(GRACEFUL),
        Some(Command::Stop(StopMode::Graceful { .. })) => Command::Stop(StopMode::Force),
        Some(Command::Stop(StopMode::Force)) => Command::Pause,
        Some(Command::Pause) => Command::Resume,
        Some(Command::Resume) => Command::Reboot(GRACEFUL),
        Some(Command::Reboot(StopMode::Graceful { .. })) => Command::Reboot(StopMode::Force),
        Some(Command::Reboot(StopMode::Force)) => Command::Delete { force: false },
        Some(Command::Delete { force: false }) => Command::Delete { force: true },
        // Which operation is meant is known when it is asked.
        Some(Command::Delete { force: true }) => Command::Cancel { operation: OperationId::from_bits(0) },
        Some(Command::Cancel { .. }) => Command::Update(Change { name: Some("renamed".parse().unwrap()), ..Change::default() }),
        // All that a running machine takes over.
        Some(Command::Update(change)) if change.name.is_some() => {
            let rate_limits = RateLimitsChange { disk_mib_per_s: Some(Some(9)), ..RateLimitsChange::default() };
            let metadata = Some(Some("{\"role\":\"web\"}".into()));
            let (disk_mib, mem_mib) = (Some(9), Some(192));
            Command::Update(Change { rate_limits, balloon_mib: Some(9), mem_mib, disk_mib, metadata, ..Change::default() })
        }
        Some(Command::Update(change)) if change.networks.is_none() => {
            // The one that it has stays; the other is new.
            let chosen = Interface { mac: Mac::new([2, 0, 0, 0, 0, 1]).ok(), .."default".into() };
            let networks = NetworksChange::to(vec![chosen, "default".into()]);
            Command::Update(Change { networks: Some(Box::new(networks)), ..Change::default() })
        }
        Some(Command::Update(_)) => return None,
    })
}

fn next_exit(exit: Option<&Exit>) -> Option<Exit> {
    Some(match exit {
        None => Exit::GuestShutdown,
        Some(Exit::GuestShutdown) => Exit::GuestReboot,
        Some(Exit::GuestReboot) => Exit::GuestPanic,
        Some(Exit::GuestPanic) => Exit::Killed { signal: 9 },
        Some(Exit::Killed { .. }) => Exit::Failed { code: 1, detail: "seen".into() },
        Some(Exit::Failed { .. }) => Exit::Unknown,
        Some(Exit::Unknown) => Exit::OutOfMemory,
        Some(Exit::OutOfMemory) => Exit::Seccomp,
        Some(Exit::Seccomp) => return None,
    })
}

fn next_policy(policy: Option<RestartPolicy>) -> Option<RestartPolicy> {
    Some(match policy {
        None => RestartPolicy::Never,
        Some(RestartPolicy::Never) => RestartPolicy::OnFailure,
        Some(RestartPolicy::OnFailure) => RestartPolicy::Always,
        Some(RestartPolicy::Always) => return None,
    })
}

pub fn creations() -> Vec<Procedure> {
    let create = |start| Procedure { from: Place::Nowhere, act: Act::Create { start }, policy: RestartPolicy::Never };
    vec![create(false), create(true)]
}

/// Whether a place admits a command is found out by asking.
pub fn commands(from: Place) -> Vec<Procedure> {
    let all = std::iter::successors(next_command(None), |last| next_command(Some(last)));
    // A restart is waited for only under a policy that restarts.
    let policy = if from == Place::BackingOff { RestartPolicy::Always } else { RestartPolicy::Never };
    all.map(|command| Procedure { from, act: Act::Command(command), policy }).collect()
}

pub fn ends(from: Place) -> Vec<Procedure> {
    let policies = || std::iter::successors(next_policy(None), |last| next_policy(Some(*last)));
    let exits = std::iter::successors(next_exit(None), |last| next_exit(Some(last)));
    exits.flat_map(|exit| policies().map(move |policy| Procedure { from, act: Act::Ends(exit.clone()), policy })).collect()
}

pub fn images() -> Vec<Procedure> {
    [Act::ImportImage, Act::DeleteImage, Act::RenameImage]
        .map(|act| Procedure { from: Place::Nowhere, act, policy: RestartPolicy::Never })
        .into()
}
