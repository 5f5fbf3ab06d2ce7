//! Carrying out a VM's effects: one at a time, in order, as tasks that end with the actor.
//!
//! Ending the machine goes before everything that can be given up. What was given up may have taken effect; its answer carries an older
//! attempt and is ignored. Following the machine (its end, its guest) runs beside the queue.

use super::{
    messages::{VmMsg, VmRef},
    plan::{disk_plan, machine_plan, tuning},
};
use crate::{
    ambient,
    error::chain,
    shared::{Shared, now},
    supervise::{Backoff, Progress, jitter},
    view::AgentView,
};
use domain::{
    Attempt, VmId,
    mutant::{self, Mutant},
    vm::{Effect, Exit, Finished, Inspection, Machine, Nic, Observed, Vm, hold::Found},
};
use futures_util::poll;
use host::{
    guest::{GuestSession, ShutdownKind},
    net::{Interface, NetError, Network},
    vmm::{Follower, VmmError},
};
use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// One try to reach the guest's agent; a guest that boots needs several under emulation.
const GUEST_TRY: Duration = Duration::from_secs(30);
/// Between two tries: a guest that refuses at once must not keep a processor busy, and one that has just opened its port must not wait.
const GUEST_AGAIN: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
/// The host may be slow to answer right after a start; more often than this and the process is taken for lost.
const INSPECT_TRIES: u32 = 3;
/// While it is hearth that is short of what it needs to look.
const INSPECT_AGAIN: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));

/// Until a guest that was let go on is looked at. What it could not write is tried again at once, and fails within milliseconds if there still
/// is no room; nothing announces that it went well.
const GOES_ON: Duration = Duration::from_secs(1);

/// Longer than any effect takes on a machine that is well, and than the drivers' own deadlines: what has not answered by then never will.
/// It may have taken effect all the same, as what follows a failure allows for.
const EFFECT_DEADLINE: Duration = Duration::from_secs(600);

/// How a queued effect ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    Finished(Finished),
    Inspected {
        launch: Attempt,
        found: Inspection,
    },
    /// Of [`Effect::GoOn`].
    WentOn {
        launch: Attempt,
        found: Found,
    },
}

/// What tells apart effects that may have the same attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inspect,
    GoOn,
    Tune,
    Other,
}

impl Kind {
    fn of(effect: &Effect) -> Kind {
        match effect {
            Effect::Inspect(_) => Kind::Inspect,
            Effect::GoOn(_) => Kind::GoOn,
            Effect::Tune(_) => Kind::Tune,
            _ => Kind::Other,
        }
    }

    fn of_answer(outcome: &Outcome) -> Kind {
        match outcome {
            Outcome::Inspected { .. } => Kind::Inspect,
            Outcome::WentOn { .. } => Kind::GoOn,
            Outcome::Finished(Finished::Tuned | Finished::TuneFailed { .. }) => Kind::Tune,
            Outcome::Finished(_) => Kind::Other,
        }
    }
}

struct Job {
    record: Arc<Vm>,
    effect: Effect,
    guest: Option<Arc<dyn GuestSession>>,
}

/// The effect that is under way. Its set holds that one task and goes with it: a set of all would keep the room of the last task, some
/// kilobytes, for as long as the VM does nothing.
struct Running {
    attempt: Attempt,
    can_be_given_up: bool,
    kind: Kind,
    _task: JoinSet<()>,
}

#[derive(Default)]
pub(super) struct Performer {
    queue: VecDeque<Job>,
    running: Option<Running>,
    /// Which launch the driver follows by itself.
    followed: Option<Attempt>,
    watch: Option<JoinSet<()>>,
    guest: Option<JoinSet<()>>,
}

impl Performer {
    pub fn queue(&mut self, record: Arc<Vm>, effect: Effect, guest: Option<Arc<dyn GuestSession>>) {
        if matches!(effect, Effect::Kill(_)) {
            self.queue.retain(|job| !can_be_given_up(&job.effect));
            if self.running.as_ref().is_some_and(|running| running.can_be_given_up) {
                self.running = None;
            }
        }
        // The newest is made from a record that has all of the older ones; and a guest that shuts down needs none.
        if matches!(effect, Effect::Tune(_) | Effect::AskShutdown { .. }) {
            self.queue.retain(|job| !matches!(job.effect, Effect::Tune(_)));
        }
        self.queue.push_back(Job { record, effect, guest });
    }

    /// The effect of that attempt ended. Not each has an attempt of its own, and a doubled answer of another must not end it.
    pub fn ended(&mut self, attempt: Attempt, outcome: &Outcome, progress: &Progress) {
        let kind = Kind::of_answer(outcome);
        if self.running.as_ref().is_some_and(|running| running.attempt == attempt && running.kind == kind) {
            self.running = None;
            progress.performed();
        }
    }

    /// Starts the next effect, if none is under way.
    pub fn next(&mut self, myself: &VmRef, shared: &Arc<Shared>) {
        if self.running.is_some() {
            return;
        }
        let Some(job) = self.queue.pop_front() else { return };
        if self.queue.is_empty() {
            // With its room: the queue of a VM that does nothing holds none.
            self.queue = VecDeque::new();
        }
        let attempt = job.record.attempt;
        let can_be_given_up = can_be_given_up(&job.effect);
        let kind = Kind::of(&job.effect);
        let (what, deadline) = effort(&job.effect);
        myself.progress().performs(what, deadline);
        let (myself, shared) = (myself.clone(), Arc::clone(shared));
        let task = task(async move {
            let too_late = given_up_on(&job.effect);
            let outcome = tokio::time::timeout(EFFECT_DEADLINE, carry_out(&shared, job)).await.unwrap_or(too_late);
            if let Some(outcome) = outcome {
                #[cfg(feature = "simulation")]
                ambient::simulated::echo({
                    let (myself, outcome) = (myself.clone(), outcome.clone());
                    move || drop(myself.cast(VmMsg::Done { attempt, outcome: Box::new(outcome) }))
                });
                let _ = myself.cast(VmMsg::Done { attempt, outcome: Box::new(outcome) });
            }
        });
        self.running = Some(Running { attempt, can_be_given_up, kind, _task: task });
    }

    /// By the driver itself if it can, else by a task that waits for the end.
    pub fn watch(&mut self, myself: &VmRef, shared: &Arc<Shared>, id: VmId, machine: Machine) {
        self.unfollow();
        let follower = Following { actor: myself.clone(), launch: machine.launch };
        if shared.vmm.follow(id, &machine, Arc::new(follower)) {
            self.followed = Some(machine.launch);
            return;
        }
        if mutant::on(Mutant::MissesTheEnd) {
            return;
        }
        let (myself, shared) = (myself.clone(), Arc::clone(shared));
        self.watch = Some(task(async move {
            let launch = machine.launch;
            tokio::select! {
                // In order, so that a simulation repeats itself.
                biased;
                exit = shared.vmm.exited(id, &machine) => {
                    let _ = myself.cast(VmMsg::Observed(Box::new(Observed::Exited { launch, exit })));
                }
                () = tell_full(&myself, &shared, id, &machine) => {}
            }
        }));
    }

    pub fn await_guest(&mut self, myself: &VmRef, shared: &Arc<Shared>, id: VmId, machine: Machine) {
        if self.followed == Some(machine.launch) {
            return;
        }
        let (myself, shared) = (myself.clone(), Arc::clone(shared));
        self.guest = Some(task(async move { follow_guest(&myself, &shared, id, &machine).await }));
    }

    /// There is no machine to follow any more. What a driver still tells of an older launch is known as such.
    pub fn unfollow(&mut self) {
        (self.followed, self.watch, self.guest) = (None, None, None);
    }
}

/// Tells whenever the machine is found held for want of room, until the actor is gone.
async fn tell_full(myself: &VmRef, shared: &Shared, id: VmId, machine: &Machine) {
    loop {
        shared.vmm.disk_full(id, machine).await;
        if myself.cast(VmMsg::Full { launch: machine.launch }).is_err() {
            return;
        }
    }
}

/// One task that ends when the set is dropped.
fn task(work: impl Future<Output = ()> + Send + 'static) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(work);
    tasks
}

/// The actor, as the driver tells it about a launch.
struct Following {
    actor: VmRef,
    launch: Attempt,
}

impl Follower for Following {
    fn guest_up(&self, session: Arc<dyn GuestSession>) {
        let _ = self.actor.cast(VmMsg::GuestUp { launch: self.launch, session });
    }

    fn guest_down(&self) {
        let _ = self.actor.cast(VmMsg::GuestDown { launch: self.launch });
    }

    fn exited(&self, exit: Exit) {
        let _ = self.actor.cast(VmMsg::Observed(Box::new(Observed::Exited { launch: self.launch, exit })));
    }
}

/// What an effect is called, and how long it may take before its supervisor tells: past it the effect goes on, and someone should look.
/// Disks and processes are made in seconds on machines under load (measured: 3 s under emulation); a minute is no load any more. What asks
/// the VMM or the guest has a deadline of its own within.
fn effort(effect: &Effect) -> (&'static str, Duration) {
    const MADE_WITHIN: Duration = Duration::from_secs(60);
    const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
    match effect {
        Effect::PrepareDisk => ("prepare disk", MADE_WITHIN),
        Effect::Launch => ("launch", MADE_WITHIN),
        Effect::Release(_) => ("release", ANSWERED_WITHIN),
        Effect::Inspect(_) => ("inspect", ANSWERED_WITHIN),
        Effect::Pause(_) => ("pause", ANSWERED_WITHIN),
        Effect::Resume(_) => ("resume", ANSWERED_WITHIN),
        Effect::Tune(_) => ("tune", ANSWERED_WITHIN),
        Effect::GoOn(_) => ("let go on", ANSWERED_WITHIN),
        Effect::AskShutdown { deadline_ms, .. } => ("ask the guest", Duration::from_millis(*deadline_ms) + ANSWERED_WITHIN),
        Effect::Kill(_) => ("end the machine", ANSWERED_WITHIN),
        Effect::Clean => ("clean up", MADE_WITHIN),
        Effect::Remove => ("remove the disk", MADE_WITHIN),
        Effect::AwaitGuest(_) => ("await the guest", ANSWERED_WITHIN),
        Effect::Watch(_) => ("watch", ANSWERED_WITHIN),
        Effect::StartTimer { .. } => ("timer", ANSWERED_WITHIN),
    }
}

/// What ending the machine makes pointless. Making and removing things is finished first, so that nothing is left half-made.
fn can_be_given_up(effect: &Effect) -> bool {
    match effect {
        Effect::AskShutdown { .. }
        | Effect::Pause(_)
        | Effect::Resume(_)
        | Effect::Tune(_)
        | Effect::GoOn(_)
        | Effect::Release(_)
        | Effect::Inspect(_) => true,
        Effect::PrepareDisk
        | Effect::Launch
        | Effect::AwaitGuest(_)
        | Effect::Watch(_)
        | Effect::Kill(_)
        | Effect::Clean
        | Effect::Remove
        | Effect::StartTimer { .. } => false,
    }
}

/// What an effect that never answers has ended as.
fn given_up_on(effect: &Effect) -> Option<Outcome> {
    let detail = format!("the machine did not answer within {} s", EFFECT_DEADLINE.as_secs());
    let finished = match effect {
        Effect::PrepareDisk => Finished::DiskFailed { code: "disk-failed".to_owned(), detail },
        Effect::Launch => Finished::LaunchFailed { code: "launch-failed".to_owned(), detail },
        Effect::Release(_) => Finished::ReleaseFailed { detail },
        Effect::Inspect(machine) => {
            let found = Inspection::Gone { exit: Exit::Failed { code: -1, detail } };
            return Some(Outcome::Inspected { launch: machine.launch, found });
        }
        Effect::Pause(_) => Finished::PauseFailed { detail },
        Effect::Resume(_) => Finished::ResumeFailed { detail },
        Effect::Tune(_) => Finished::TuneFailed { detail },
        Effect::GoOn(machine) => return Some(Outcome::WentOn { launch: machine.launch, found: Found::Unknown }),
        Effect::AskShutdown { .. } => Finished::ShutdownFailed { detail },
        Effect::Kill(_) => Finished::KillFailed { detail },
        Effect::Clean => Finished::CleanFailed { detail },
        Effect::Remove => Finished::RemoveFailed { detail },
        Effect::AwaitGuest(_) | Effect::Watch(_) | Effect::StartTimer { .. } => return None,
    };
    Some(Outcome::Finished(finished))
}

/// Until the machine ends (the task is then aborted): connect, tell, keep what is shown fresh, connect again.
async fn follow_guest(myself: &VmRef, shared: &Shared, id: VmId, machine: &Machine) {
    let mut again = GUEST_AGAIN;
    loop {
        match shared.vmm.guest(id, machine, GUEST_TRY).await {
            Ok(session) => {
                // Asked with the first poll and so before all that others ask of the agent, which answers in order: nobody needs to
                // wait for the answers. Unconstrained, or tokio might make that poll do nothing.
                let mut settled = pin!(tokio::task::unconstrained(settle(id, &*session)));
                let early = poll!(settled.as_mut());
                if myself.cast(VmMsg::GuestUp { launch: machine.launch, session: Arc::clone(&session) }).is_err() {
                    return;
                }
                if early.is_pending() {
                    settled.await;
                }
                again.reset();
                let why = keep_fresh(shared, id, &session).await;
                tracing::debug!(vm = %id, %why, "the session with the guest's agent ended");
                let _ = myself.cast(VmMsg::GuestDown { launch: machine.launch });
            }
            Err(VmmError::Gone) => return,
            Err(error) => tracing::debug!(vm = %id, error = %chain(&error), "the guest's agent does not answer yet"),
        }
        // Nothing announces that a guest opens its port.
        tokio::time::sleep(again.next(jitter())).await;
    }
}

/// What a guest that just came up, or back, needs of its host first.
async fn settle(id: VmId, session: &dyn GuestSession) {
    let bytes = entropy();
    let (clock, generator) = tokio::join!(
        biased;
        // It may stand hours back: the guest was paused, or hearth was away.
        session.set_clock(ambient::system_time()),
        // A young guest has little randomness of its own, and none that others could not guess.
        session.add_entropy(&bytes)
    );
    if let Err(fault) = clock {
        tracing::debug!(vm = %id, %fault, "the guest's clock was not set");
    }
    if let Err(fault) = generator {
        tracing::debug!(vm = %id, %fault, "the guest's generator was not stirred");
    }
}

fn entropy() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&ambient::random().to_le_bytes());
    bytes[16..].copy_from_slice(&ambient::random().to_le_bytes());
    bytes
}

/// Until the session ends: when it was last heard of, and which addresses it has.
async fn keep_fresh(shared: &Shared, id: VmId, session: &Arc<dyn GuestSession>) -> host::guest::GuestFault {
    let mut samples = session.metrics();
    let mut addresses = session.addresses();
    loop {
        tokio::select! {
            // In order, so that a simulation repeats itself; that the session is over matters most.
            biased;
            fault = session.closed() => return fault,
            Ok(()) = samples.changed() => {}
            Ok(()) = addresses.changed() => {}
            else => return session.closed().await,
        }
        let found: Vec<std::net::IpAddr> = addresses
            .borrow_and_update()
            .iter()
            .flat_map(|interface| interface.addresses.iter().map(|address| address.address))
            .filter(|address| !is_link_local(address))
            .collect();
        shared.view.touch_vm(id, |row| {
            if let Some(agent) = &row.agent {
                row.agent = Some(Arc::new(AgentView { last_seen: now(), addresses: found, ..AgentView::clone(agent) }));
            }
        });
    }
}

/// `fe80::…` says nothing to a user: it needs the interface's name to be used.
pub(super) fn is_link_local(address: &std::net::IpAddr) -> bool {
    match address {
        std::net::IpAddr::V4(address) => address.is_link_local(),
        std::net::IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

async fn carry_out(shared: &Shared, job: Job) -> Option<Outcome> {
    let id = job.record.id;
    let vmm = &shared.vmm;
    let finished = match job.effect {
        Effect::PrepareDisk => prepare_disk(shared, &job.record).await,
        Effect::Launch => launch(shared, &job.record).await,
        Effect::Release(machine) => match vmm.release(id, &machine).await {
            Ok(()) => Finished::Released,
            Err(error) => Finished::ReleaseFailed { detail: chain(&error) },
        },
        Effect::Inspect(machine) => return Some(inspect(shared, id, machine).await),
        Effect::Pause(machine) => match vmm.pause(id, &machine).await {
            Ok(()) => Finished::Paused,
            Err(error) => Finished::PauseFailed { detail: chain(&error) },
        },
        Effect::Resume(machine) => match vmm.resume(id, &machine).await {
            Ok(()) => {
                set_clock(id, job.guest).await;
                Finished::Resumed
            }
            Err(error) => Finished::ResumeFailed { detail: chain(&error) },
        },
        Effect::Tune(machine) => match tune(shared, &job.record, &machine).await {
            Ok(()) => Finished::Tuned,
            Err(detail) => Finished::TuneFailed { detail },
        },
        Effect::GoOn(machine) => return Some(go_on(shared, id, machine, job.guest).await),
        Effect::AskShutdown { deadline_ms, .. } => ask_shutdown(job.guest, deadline_ms).await,
        Effect::Kill(machine) => match vmm.kill(id, &machine).await {
            Ok(()) | Err(VmmError::Gone) => Finished::Killed,
            Err(error) => Finished::KillFailed { detail: chain(&error) },
        },
        Effect::Clean => clean(shared, &job.record).await,
        Effect::Remove if mutant::on(Mutant::LeavesTheDisk) => Finished::Removed,
        Effect::Remove => match vmm.remove(id).await {
            Ok(()) => Finished::Removed,
            Err(error) => Finished::RemoveFailed { detail: chain(&error) },
        },
        // Followed beside the queue.
        Effect::AwaitGuest(_) | Effect::Watch(_) | Effect::StartTimer { .. } => return None,
    };
    Some(Outcome::Finished(finished))
}

/// The stable code of a failure that users meet.
fn code_of(error: &VmmError, otherwise: &str) -> String {
    match error {
        VmmError::DiskFull { .. } => "disk-full",
        VmmError::DiskTooSmall { .. } => "disk-too-small",
        VmmError::DiskAltered { .. } => "disk-altered",
        VmmError::DriveLost { .. } => "drive-lost",
        VmmError::ProgramMissing { .. } => "vmm-missing",
        VmmError::Network { .. } => "network-failed",
        VmmError::Base { .. } => "image-unreadable",
        _ => otherwise,
    }
    .to_owned()
}

/// The one is not left undone for the other. Says what could not be told, and why.
async fn tune(shared: &Shared, record: &Vm, machine: &Machine) -> Result<(), String> {
    let tuned = shared.vmm.tune(record.id, machine, &tuning(record)).await;
    let served = match shared.vmm.capabilities().metadata {
        true => shared.vmm.serve_metadata(machine, &machine_plan(shared, record)).await,
        false => Ok(()),
    };
    let halves = [("limits, memory and disks", tuned), ("the metadata", served)];
    let failed = halves.into_iter().filter_map(|(what, told)| Some(format!("{what}: {}", chain(&told.err()?))));
    let failed = failed.collect::<Vec<_>>().join(", and ");
    if failed.is_empty() { Ok(()) } else { Err(failed) }
}

async fn prepare_disk(shared: &Shared, record: &Vm) -> Finished {
    match shared.vmm.prepare_disk(&disk_plan(shared, record)).await {
        Ok(()) => Finished::DiskReady,
        Err(error) => Finished::DiskFailed { code: code_of(&error, "disk-failed"), detail: chain(&error) },
    }
}

async fn launch(shared: &Shared, record: &Vm) -> Finished {
    if let Some(network) = &shared.network
        && let Err(error) = plug_in(network.as_ref(), record.id, &record.nics).await
    {
        return Finished::LaunchFailed { code: "network-failed".to_owned(), detail: chain(&error) };
    }
    let plan = machine_plan(shared, record);
    match shared.vmm.launch(&plan, record.attempt).await {
        Ok(machine) => Finished::Launched { machine },
        Err(error) => Finished::LaunchFailed { code: code_of(&error, "launch-failed"), detail: chain(&error) },
    }
}

/// The interfaces are there, and only their VM's addresses and MACs pass them.
async fn plug_in(network: &dyn Network, id: VmId, nics: &[Nic]) -> Result<(), NetError> {
    if nics.is_empty() {
        return Ok(());
    }
    for nic in nics {
        network.attach(id, &nic.tap).await?;
    }
    let bound = nics.iter().map(|nic| Interface { tap: nic.tap.clone(), address: nic.address, mac: nic.mac });
    network.bind(id, &bound.collect::<Vec<_>>()).await
}

async fn inspect(shared: &Shared, id: VmId, machine: Machine) -> Outcome {
    let launch = machine.launch;
    let (mut detail, mut tries, mut again) = (String::new(), 0, INSPECT_AGAIN);
    while tries < INSPECT_TRIES {
        match shared.vmm.inspect(id, &machine).await {
            Ok(found) => return Outcome::Inspected { launch, found },
            // Says nothing about the machine, which may well run: until the effect's own deadline it is not taken for lost.
            Err(VmmError::Short { detail }) => {
                tracing::warn!(vm = %id, detail, "the VM's process can't be looked at");
                tokio::time::sleep(again.next(jitter())).await;
            }
            Err(error) => {
                detail = chain(&error);
                tries += 1;
            }
        }
    }
    // Cleaning, which follows, ends the process whatever it does.
    Outcome::Inspected { launch, found: Inspection::Gone { exit: Exit::Failed { code: -1, detail } } }
}

/// Only what its VMM holds: one that runs, or that somebody paused, is left as it is.
async fn go_on(shared: &Shared, id: VmId, machine: Machine, guest: Option<Arc<dyn GuestSession>>) -> Outcome {
    let launch = machine.launch;
    let found = match shared.vmm.inspect(id, &machine).await {
        Ok(Inspection::Running) => Found::Runs,
        Ok(Inspection::DiskFull) if shared.vmm.resume(id, &machine).await.is_ok() => {
            tokio::time::sleep(GOES_ON).await;
            match shared.vmm.inspect(id, &machine).await {
                Ok(Inspection::Running) => {
                    set_clock(id, guest).await;
                    Found::Runs
                }
                Ok(Inspection::DiskFull) => Found::StillFull,
                Ok(Inspection::Paused | Inspection::Held | Inspection::Gone { .. }) | Err(_) => Found::Unknown,
            }
        }
        Ok(Inspection::DiskFull | Inspection::Paused | Inspection::Held | Inspection::Gone { .. }) | Err(_) => Found::Unknown,
    };
    Outcome::WentOn { launch, found }
}

async fn set_clock(id: VmId, guest: Option<Arc<dyn GuestSession>>) {
    let Some(guest) = guest else { return };
    if let Err(fault) = guest.set_clock(ambient::system_time()).await {
        tracing::warn!(vm = %id, %fault, "the guest's clock was not set after the pause");
    }
}

async fn ask_shutdown(guest: Option<Arc<dyn GuestSession>>, deadline_ms: u64) -> Finished {
    let Some(guest) = guest else {
        return Finished::ShutdownFailed { detail: "the guest's agent is not connected".to_owned() };
    };
    match guest.shutdown(ShutdownKind::Poweroff, Duration::from_millis(deadline_ms)).await {
        Ok(()) => Finished::ShutdownAsked,
        Err(fault) => Finished::ShutdownFailed { detail: fault.to_string() },
    }
}

async fn clean(shared: &Shared, record: &Vm) -> Finished {
    if let Err(error) = shared.vmm.clean(record.id).await {
        return Finished::CleanFailed { detail: chain(&error) };
    }
    let Some(network) = &shared.network else { return Finished::Cleaned };
    for nic in record.nics.iter().filter(|_| !mutant::on(Mutant::LeavesTheInterface)) {
        if let Err(error) = network.detach(&nic.tap).await {
            return Finished::CleanFailed { detail: chain(&error) };
        }
    }
    Finished::Cleaned
}
