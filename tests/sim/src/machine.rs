//! A simulated host: what is on it, and what becomes of it while time passes. It outlives the hearth that runs on it.
//!
//! Owns processes of VMMs, guests, network interfaces, disks and images, and draws how each call to it ends ([`Fate`]). Each call is held
//! against the durable records (`domain::invariant::Deed`) at the moment when it takes effect.

use crate::{
    chance::{Chance, Faults},
    receivers::Receivers,
    trace::Trace,
};
use domain::{
    Attempt, ImageId, VmId,
    invariant::{Deed, Found, Phase, Process},
    vm::{Exit, Vm},
};
use host::{secret::Secret, vmm::Tuning};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use storage::{envelope, schema, simulation::MemoryDisk};
use tokio::sync::Notify;

/// One VMM's process, there or gone.
#[derive(Debug, Clone)]
pub struct Vmm {
    pub vm: VmId,
    pub launch: Attempt,
    pub start_ticks: u64,
    pub phase: Option<Phase>,
    pub exit: Exit,
    /// Its VMM holds it, for it wrote while the disk was full; or somebody paused it after that.
    pub starved: bool,
    pub mem_mib: u32,
    pub taps: Vec<String>,
    pub tuning: Tuning,
    /// What its guest reads: the VM's name, and the user's metadata.
    pub served: (String, Option<Box<str>>),
    /// When it ends by itself, and how.
    pub ends: Option<(u64, Exit)>,
    /// When its guest's agent answers; absent: never.
    pub hello_at: Option<u64>,
    /// The newest session's number.
    pub session: u64,
}

/// What a call to the machine takes and how it ends.
#[derive(Debug)]
pub struct Fate {
    pub before_ms: u64,
    pub outcome: Outcome,
    pub after_ms: u64,
    /// Held as long as the call is under way.
    _under_way: Arc<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Nothing was done, and an error is reported.
    Fails,
    /// It was done, and an error is reported.
    DoneButFails,
    /// Nothing was done, and no answer comes.
    Hangs,
    /// It was done, and no answer comes.
    DoneButHangs,
}

impl Outcome {
    pub fn is_done(self) -> bool {
        matches!(self, Outcome::Done | Outcome::DoneButFails | Outcome::DoneButHangs)
    }
}

pub struct State {
    pub now: u64,
    pub vmms: Vec<Vmm>,
    pub taps: BTreeMap<String, VmId>,
    pub disks: BTreeSet<VmId>,
    pub images: BTreeSet<ImageId>,
    pub secrets: BTreeMap<String, Secret>,
    pub receivers: Receivers,
    /// Until then the disk is full under guests. (The journal has faults of its own.)
    pub full_until: u64,
    /// What was done without a reason.
    pub broken: Vec<String>,
    pub chance: Chance,
    /// Faults of the machine, per mille of all calls.
    pub trouble: u64,
}

/// Each call under way holds one clone of what is inside.
#[derive(Default)]
struct Calls(Arc<()>);

/// Clones are the same machine.
#[derive(Clone)]
pub struct Machine {
    state: Arc<Mutex<State>>,
    pub name: Arc<str>,
    pub disk: MemoryDisk,
    pub faults: Faults,
    pub trace: Trace,
    /// Told at each change of a process or a guest.
    pub changed: Arc<Notify>,
    calls: Arc<Calls>,
}

impl Machine {
    pub fn new(name: &str, seed: u64, trouble: u64, faults: Faults, trace: Trace) -> Machine {
        let state = State {
            now: 0,
            vmms: Vec::new(),
            taps: BTreeMap::new(),
            disks: BTreeSet::new(),
            images: BTreeSet::new(),
            secrets: BTreeMap::new(),
            receivers: Receivers::default(),
            full_until: 0,
            broken: Vec::new(),
            chance: Chance::new(seed, &format!("machine {name}")),
            trouble,
        };
        Machine {
            state: Arc::new(Mutex::new(state)),
            name: name.into(),
            disk: MemoryDisk::default(),
            faults,
            trace,
            changed: Arc::new(Notify::new()),
            calls: Arc::default(),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn tell(&self, what: fmt::Arguments<'_>) {
        let now = self.state().now;
        self.trace.line(now, &self.name, what);
    }

    /// Time passes: what was to end by now has ended.
    pub fn at(&self, now: u64) {
        let mut ended = Vec::new();
        {
            let mut state = self.state();
            state.now = state.now.max(now);
            let now = state.now;
            for vmm in state.vmms.iter_mut().filter(|vmm| vmm.phase.is_some()) {
                if let Some((at, exit)) = vmm.ends.clone().filter(|(at, _)| *at <= now) {
                    (vmm.phase, vmm.exit, vmm.ends) = (None, exit.clone(), None);
                    ended.push(format!("{} launch {} ended by itself at {at}: {exit:?}", vmm.vm, vmm.launch.0));
                }
            }
        }
        for line in &ended {
            self.tell(format_args!("{line}"));
        }
        if !ended.is_empty() {
            self.changed.notify_waiters();
        }
    }

    /// How the next call of that kind ends.
    pub fn fate(&self) -> Fate {
        let mut state = self.state();
        let trouble = state.trouble;
        let (before_ms, after_ms) = (state.chance.delay_ms(), state.chance.delay_ms());
        let kind = state.chance.draw() % 100;
        let outcome = match self.faults.inject(&mut state.chance, trouble) {
            false => Outcome::Done,
            true => match kind {
                0..40 => Outcome::Fails,
                40..80 => Outcome::DoneButFails,
                80..90 => Outcome::Hangs,
                _ => Outcome::DoneButHangs,
            },
        };
        let (before_ms, after_ms) = if self.faults.over() { (0, 0) } else { (before_ms, after_ms) };
        Fate { before_ms, outcome, after_ms, _under_way: Arc::clone(&self.calls.0) }
    }

    /// The durable record, as it is now.
    pub fn record(&self, vm: VmId) -> Option<Vm> {
        let bytes = self.disk.record(schema::VMS, &vm.to_string())?;
        envelope::decode(&bytes).ok()
    }

    /// Holds what is just being done against the records.
    pub fn judge(&self, vm: VmId, deed: Deed<'_>) {
        if let Err(broken) = deed.check(vm, self.record(vm).as_ref()) {
            self.state().broken.push(broken.to_string());
        }
    }

    /// hearth dies: what was held before its first instruction dies with it.
    pub fn hearth_died(&self) {
        for vmm in self.state().vmms.iter_mut().filter(|vmm| vmm.phase == Some(Phase::Held)) {
            (vmm.phase, vmm.exit) = (None, Exit::Unknown);
        }
        self.changed.notify_waiters();
    }

    /// The machine itself lost its power: processes and interfaces are gone, disks are not.
    pub fn power_lost(&self) {
        let mut state = self.state();
        state.vmms.clear();
        state.taps.clear();
    }

    /// A VMM that runs is killed by somebody. Answers whose.
    pub fn kill_one(&self) -> Option<VmId> {
        let mut state = self.state();
        let running: Vec<usize> = (0..state.vmms.len()).filter(|index| state.vmms[*index].phase.is_some()).collect();
        let index = *state.chance.one_of(&running)?;
        let vmm = &mut state.vmms[index];
        (vmm.phase, vmm.exit, vmm.ends) = (None, Exit::Killed { signal: 9 }, None);
        Some(vmm.vm)
    }

    /// The disk is full for a while: guests that write are held by their VMMs.
    pub fn fill(&self) {
        let mut guard = self.state();
        let state = &mut *guard;
        let for_ms = state.chance.between(1_000, 600_000);
        state.full_until = state.now + for_ms;
        for vmm in state.vmms.iter_mut().filter(|vmm| vmm.phase == Some(Phase::Running)) {
            if state.chance.hits(600) {
                (vmm.phase, vmm.starved) = (Some(Phase::Paused), true);
            }
        }
        drop(guard);
        self.tell(format_args!("the disk is full for {for_ms} ms"));
        self.changed.notify_waiters();
    }

    /// VMs whose machines are held for want of room.
    pub fn starved(&self) -> Vec<VmId> {
        self.state().vmms.iter().filter(|vmm| vmm.phase.is_some() && vmm.starved).map(|vmm| vmm.vm).collect()
    }

    /// Faults are over: no guest ends by itself any more, and those that are yet to answer do so.
    pub fn heal(&self) {
        let mut state = self.state();
        let now = state.now;
        state.receivers.heal();
        state.full_until = 0;
        for vmm in &mut state.vmms {
            vmm.ends = None;
            vmm.hello_at = Some(vmm.hello_at.map_or(now, |at| at.min(now)));
        }
    }

    /// Calls that have not answered yet, nor been given up.
    pub fn calls_under_way(&self) -> usize {
        Arc::strong_count(&self.calls.0) - 1
    }

    pub fn found(&self) -> Found {
        let state = self.state();
        let process = |vmm: &Vmm| {
            vmm.phase.map(|phase| Process {
                vm: vmm.vm,
                launch: vmm.launch,
                phase,
                mem_mib: vmm.mem_mib,
                taps: vmm.taps.clone(),
                rate_limits: vmm.tuning.rate_limits,
                balloon_mib: vmm.tuning.balloon_mib,
                disks: vmm.tuning.disks.clone(),
                plugged_mib: vmm.tuning.mem_mib,
                served: vmm.served.clone(),
            })
        };
        Found {
            processes: state.vmms.iter().filter_map(process).collect(),
            taps: state.taps.keys().cloned().collect(),
            disks: state.disks.iter().copied().collect(),
            images: state.images.iter().copied().collect(),
        }
    }
}

impl State {
    pub fn vmm(&mut self, vm: VmId, launch: Attempt) -> Option<&mut Vmm> {
        self.vmms.iter_mut().find(|vmm| vmm.vm == vm && vmm.launch == launch)
    }

    /// What was just let run writes at once, perhaps.
    pub fn starve(&mut self, vm: VmId, launch: Attempt) {
        if self.now < self.full_until
            && self.chance.hits(700)
            && let Some(vmm) = self.vmm(vm, launch).filter(|vmm| vmm.phase == Some(Phase::Running))
        {
            (vmm.phase, vmm.starved) = (Some(Phase::Paused), true);
        }
    }

    /// What a process that was just let run has before it.
    pub fn draw_life(&mut self, faults: &Faults, vm: VmId, launch: Attempt) {
        let now = self.now;
        let hello = match self.chance.draw() % 10 {
            0..7 => self.chance.between(0, 2_000),
            _ => self.chance.between(2_000, 60_000),
        };
        let life = match self.chance.draw() % 4 {
            // It answers, and dies at once.
            0 => self.chance.between(0, 5),
            1 => self.chance.between(5, 3_000),
            _ => self.chance.between(3_000, 900_000),
        };
        let exit = match self.chance.draw() % 8 {
            0 => Exit::GuestShutdown,
            1 => Exit::GuestReboot,
            2 => Exit::GuestPanic,
            3 => Exit::Killed { signal: 11 },
            4 => Exit::Failed { code: 1, detail: "a simulated failure".to_owned() },
            5 => Exit::OutOfMemory,
            6 => Exit::Seccomp,
            _ => Exit::Unknown,
        };
        let trouble = self.trouble;
        let mute = faults.inject(&mut self.chance, trouble / 2);
        let ends = faults.inject(&mut self.chance, 4 * trouble);
        if let Some(vmm) = self.vmm(vm, launch) {
            vmm.hello_at = (!mute).then_some(now + hello);
            vmm.ends = ends.then_some((now + life, exit));
        }
    }
}
