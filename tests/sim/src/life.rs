//! One run, from one seed: trouble for a while, then peace, then everything must be as promised.

use crate::{
    chance::{Chance, Faults},
    falls,
    machine::Machine,
    node::{Ran, SimNode},
    subscribers::Subscribers,
    trace::Trace,
    users::Users,
    watch::{Watch, watched},
};
use domain::{
    invariant::Keep,
    mutant::{self, Mutant},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// What to run.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub seed: u64,
    /// At most so many faults; as many as the seed wants when absent.
    pub faults: Option<u64>,
    /// At most so many commands of users.
    pub commands: Option<u64>,
    /// A mistake to make.
    pub mutant: Option<Mutant>,
    pub keeps_trace: bool,
}

impl Wanted {
    pub fn seed(seed: u64) -> Wanted {
        Wanted { seed, faults: None, commands: None, mutant: None, keeps_trace: false }
    }
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Broken promises, as they were found; empty when all held.
    pub broken: Vec<String>,
    /// Of the trace.
    pub hash: u64,
    pub lines: u64,
    pub faults: u64,
    pub commands: u64,
    pub crashes: u64,
    /// Of single actors.
    pub falls: u64,
    /// Cancellations that were accepted.
    pub cancelled: u64,
    pub pruned: u64,
    /// Events that subscribers heard, and how often they came too late.
    pub heard: u64,
    pub refused: u64,
    /// Deliveries that arrived at receivers of webhooks.
    pub delivered: u64,
    pub polls: u64,
    pub simulated_ms: u64,
}

/// How a node is to die.
#[derive(Debug, Clone, Copy)]
enum Doom {
    /// After so many polls.
    Polls(u64),
    /// So many polls after the next batch is on the disk: between the commit and what it explains.
    AfterBatch(u64),
}

/// More polls than this without time passing are no work, but a circle.
const POLLS_MOST: u64 = 300_000;
/// Peace lasts at most so long: five tries and back-offs of everything fit many times.
const PEACE_MS: u64 = 4 * HOUR_MS;
const HOUR_MS: u64 = 3_600_000;

pub struct Life {
    pub now: u64,
    pub nodes: Vec<SimNode>,
    pub watches: Vec<Watch>,
    pub users: Users,
    pub subscribers: Subscribers,
    pub trace: Trace,
    pub faults: Faults,
    pub broken: Vec<String>,
    chance: Chance,
    dooms: Vec<Option<Doom>>,
    /// When a node that is down starts again.
    starts: Vec<Option<u64>>,
    stopping: Vec<Option<Arc<AtomicBool>>>,
    crashes: u64,
    falls: u64,
    phase: Phase,
    trouble: u64,
    trouble_until: u64,
    peace_since: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Trouble,
    Peace,
    /// After all is quiet, every node was started once more: nothing may change by that.
    Again,
    Over,
}

/// Runs it to the end, or to the first broken promise.
pub fn run(wanted: &Wanted) -> Outcome {
    let mut life = Life::new(wanted);
    while life.step() {}
    life.outcome()
}

/// How much a node keeps: as much as a real one, or so little that it forgets all the time.
fn keep(chance: &mut Chance) -> Keep {
    let events = *chance.one_of(&[1_000_000, 1_000_000, 200, 40, 7, 1]).unwrap_or(&1);
    let ended_operations = *chance.one_of(&[10_000, 10_000, 20, 5, 1]).unwrap_or(&1);
    let at_once = chance.between(1, 8);
    Keep { events, ended_operations, at_once }
}

/// How far a clock on the wall is set: by hours either way, or as after a battery that was empty, by days. What counts in true time (the clock
/// that timers go by) never jumps.
fn jump(chance: &mut Chance) -> i64 {
    const DAY_MS: u64 = 24 * HOUR_MS;
    if chance.hits(500) {
        chance.between(0, 6 * HOUR_MS) as i64 - 3 * HOUR_MS as i64
    } else {
        chance.between(0, 32 * DAY_MS) as i64 - 2 * DAY_MS as i64
    }
}

impl Life {
    pub fn new(wanted: &Wanted) -> Life {
        mutant::choose(wanted.mutant);
        let seed = wanted.seed;
        let mut chance = Chance::new(seed, "life");
        let trace = Trace::new(wanted.keeps_trace);
        let faults = Faults::at_most(wanted.faults.unwrap_or(u64::MAX));
        let count = chance.between(1, 3);
        let trouble = *chance.one_of(&[0, 4, 15, 40, 90]).unwrap_or(&0);
        let commands = chance.between(5, 60);
        let mut nodes = Vec::new();
        for index in 0..count {
            let machine = Machine::new(&format!("node{index}"), seed, trouble, faults.clone(), trace.clone());
            nodes.push(SimNode::new(machine, seed, trouble, keep(&mut chance)));
        }
        let watches = nodes.iter().map(|node| Watch::new(node.machine.clone(), node.keep)).collect();
        let most = wanted.commands.unwrap_or(u64::MAX).min(commands);
        let users = Users::new(seed, most, trouble, nodes.len(), faults.clone(), trace.clone());
        let subscribers = Subscribers::new(seed, nodes.len());
        let length = nodes.len();
        for node in &mut nodes {
            node.start();
        }
        Life {
            now: 0,
            nodes,
            watches,
            users,
            subscribers,
            trace,
            faults,
            broken: Vec::new(),
            dooms: vec![None; length],
            starts: vec![None; length],
            stopping: vec![None; length],
            crashes: 0,
            falls: 0,
            phase: Phase::Trouble,
            trouble,
            trouble_until: chance.between(30_000, 900_000),
            peace_since: 0,
            chance,
        }
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    pub fn outcome(&self) -> Outcome {
        mutant::choose(None);
        Outcome {
            broken: self.broken.clone(),
            hash: self.trace.hash(),
            lines: self.trace.count(),
            faults: self.faults.injected(),
            commands: self.users.asked,
            crashes: self.crashes,
            falls: self.falls,
            cancelled: self.users.cancelled,
            pruned: self.nodes.iter().map(|node| node.machine.disk.events().0.saturating_sub(1)).sum(),
            heard: self.subscribers.heard,
            refused: self.subscribers.refused,
            delivered: self.nodes.iter().map(|node| node.machine.state().receivers.arrived).sum(),
            polls: self.nodes.iter().map(|node| node.polls).sum(),
            simulated_ms: self.now,
        }
    }

    /// One slice of time. False: it is over.
    pub fn step(&mut self) -> bool {
        let slice = match self.phase {
            Phase::Trouble => match self.chance.draw() % 20 {
                0..6 => self.chance.between(0, 5),
                6..14 => self.chance.between(5, 300),
                14..19 => self.chance.between(300, 4_000),
                _ => self.chance.between(4_000, 90_000),
            },
            Phase::Peace | Phase::Again => 5_000,
            Phase::Over => return false,
        };
        let slice = slice.max(self.hour());
        if self.phase == Phase::Trouble {
            self.trouble();
        }
        self.users.turn(&self.nodes, self.now);
        self.broken.append(&mut self.users.broken);
        self.subscribers.turn(&self.nodes, self.now);
        self.broken.append(&mut self.subscribers.broken);
        let until = self.now + slice;
        let first = (self.chance.draw() % self.nodes.len() as u64) as usize;
        watched(|| {
            for offset in 0..self.nodes.len() {
                self.advance((first + offset) % self.nodes.len(), until);
            }
        });
        self.now = until;
        Watch::apart(&self.watches, &mut self.broken);
        if !self.broken.is_empty() {
            for line in self.broken.clone() {
                self.trace.line(self.now, "BROKEN", format_args!("{line}"));
            }
            self.phase = Phase::Over;
            return false;
        }
        self.next_phase();
        self.phase != Phase::Over
    }

    /// A node that is away for an hour is, at times, really waited for: time passes until it comes back, with all that goes on meanwhile.
    fn hour(&mut self) -> u64 {
        let now = self.now;
        let back = self.starts.iter().flatten().map(|at| at.saturating_sub(now)).max().unwrap_or(0);
        if self.phase != Phase::Trouble || back < HOUR_MS / 2 || !self.chance.hits(100) {
            return 0;
        }
        self.trace.line(now, "life", format_args!("{back} ms pass"));
        self.trouble_until += back;
        back + 1
    }

    fn look(&mut self, index: usize) {
        let acks = self.users.acks.get(&index).map_or(&[][..], Vec::as_slice);
        self.watches[index].look(acks, &mut self.broken);
    }

    /// Lets one node live until then, or die on the way.
    fn advance(&mut self, index: usize, until: u64) {
        if !self.nodes[index].is_up() {
            match self.starts[index] {
                Some(at) if at <= until => {
                    self.starts[index] = None;
                    self.nodes[index].pass(at.max(self.now));
                    self.nodes[index].start();
                }
                _ => {
                    self.nodes[index].pass(until);
                    return;
                }
            }
        }
        loop {
            if self.live(index) {
                self.die(index);
                self.nodes[index].pass(until);
                return;
            }
            self.look(index);
            if !self.broken.is_empty() {
                return;
            }
            let now = self.nodes[index].machine.state().now;
            if now >= until {
                return;
            }
            self.nodes[index].pass(until);
        }
    }

    /// Until there is nothing to do at this time. True: its time has come.
    fn live(&mut self, index: usize) -> bool {
        let node = &mut self.nodes[index];
        match self.dooms[index] {
            None => {
                if node.run(POLLS_MOST) == Ran::Polls {
                    self.broken.push(format!("{} goes round in a circle", node.name()));
                }
            }
            Some(Doom::Polls(left)) => {
                let before = node.polls;
                if node.run(left) == Ran::Polls {
                    return true;
                }
                self.dooms[index] = Some(Doom::Polls(left.saturating_sub(node.polls - before)));
            }
            Some(Doom::AfterBatch(more)) => {
                let before = node.machine.disk.batches();
                while node.run(1) == Ran::Polls {
                    if node.machine.disk.batches() != before {
                        self.dooms[index] = Some(Doom::Polls(more));
                        return self.live(index);
                    }
                }
            }
        }
        if self.nodes[index].failure.is_some() && self.phase != Phase::Trouble {
            let failure = self.nodes[index].failure.clone().unwrap_or_default();
            self.broken.push(format!("{} does not start: {failure}", self.nodes[index].name()));
        }
        let stopped = self.stopping[index].as_ref().is_some_and(|stopped| stopped.load(Ordering::Relaxed));
        // Whoever looks after the node starts it again when its journal takes nothing more, at some time.
        let tired = self.phase == Phase::Trouble && self.nodes[index].is_stuck() && self.chance.hits(20);
        let gave_up = self.nodes[index].gave_up();
        if let Some(why) = gave_up.as_ref().filter(|_| self.phase != Phase::Trouble) {
            self.broken.push(format!("{} can't go on: {why}", self.nodes[index].name()));
        }
        stopped || tired || gave_up.is_some() || self.nodes[index].failure.is_some()
    }

    fn die(&mut self, index: usize) {
        self.look(index);
        self.dooms[index] = None;
        self.stopping[index] = None;
        self.nodes[index].crash();
        self.crashes += 1;
        let away = match self.chance.draw() % 12 {
            0..6 => self.chance.between(0, 20),
            6..11 => self.chance.between(20, 20_000),
            _ => HOUR_MS,
        };
        self.starts[index] = Some(self.nodes[index].machine.state().now + away);
    }

    /// What happens to nodes and machines by themselves.
    fn trouble(&mut self) {
        for index in 0..self.nodes.len() {
            if self.nodes[index].is_up() && self.dooms[index].is_none() {
                if self.faults.inject(&mut self.chance, self.trouble) {
                    let polls = self.chance.between(0, 400);
                    let doom = if self.chance.hits(500) { Doom::Polls(polls) } else { Doom::AfterBatch(polls % 8) };
                    self.dooms[index] = Some(doom);
                } else if self.stopping[index].is_none() && self.faults.inject(&mut self.chance, self.trouble / 4) {
                    self.stop(index);
                }
            }
            if self.faults.inject(&mut self.chance, self.trouble / 5) {
                self.falls += u64::from(falls::one(&mut self.chance, &self.nodes[index]));
            }
            let machine = self.nodes[index].machine.clone();
            if self.faults.inject(&mut self.chance, self.trouble / 3)
                && let Some(vm) = machine.kill_one()
            {
                machine.tell(format_args!("somebody kills the machine of {vm}"));
                machine.changed.notify_waiters();
            }
            if self.faults.inject(&mut self.chance, self.trouble / 4) {
                let jump = jump(&mut self.chance);
                self.nodes[index].skew_ms.fetch_add(jump, Ordering::Relaxed);
                machine.tell(format_args!("the clock jumps by {jump} ms"));
            }
            if self.faults.inject(&mut self.chance, self.trouble / 6) {
                machine.fill();
            }
            if self.faults.inject(&mut self.chance, self.trouble / 12) {
                machine.tell(format_args!("the power is lost"));
                if self.nodes[index].is_up() {
                    self.die(index);
                }
                machine.power_lost();
            }
        }
    }

    /// In order, as SIGTERM asks for it.
    fn stop(&mut self, index: usize) {
        let Some(node) = self.nodes[index].node().cloned() else { return };
        let stopped = Arc::new(AtomicBool::new(false));
        self.stopping[index] = Some(Arc::clone(&stopped));
        self.nodes[index].machine.tell(format_args!("stop"));
        self.nodes[index].spawn(async move {
            node.stop().await;
            stopped.store(true, Ordering::Relaxed);
        });
    }

    fn next_phase(&mut self) {
        match self.phase {
            Phase::Trouble if self.now >= self.trouble_until || self.users.is_done() && self.faults.over() => self.make_peace(),
            Phase::Peace | Phase::Again if self.is_quiet() || self.now - self.peace_since > PEACE_MS => {
                for (watch, node) in self.watches.iter().zip(&self.nodes) {
                    watch.settled(node, self.phase == Phase::Again, &mut self.broken);
                }
                if !self.users.is_answered() {
                    self.broken.push("a request was never answered".to_owned());
                }
                for line in self.broken.clone() {
                    self.trace.line(self.now, "BROKEN", format_args!("{line}"));
                }
                if self.phase == Phase::Again || !self.broken.is_empty() {
                    self.phase = Phase::Over;
                    return;
                }
                self.phase = Phase::Again;
                self.peace_since = self.now;
                for node in &mut self.nodes {
                    node.crash();
                    node.start();
                }
            }
            _ => {}
        }
    }

    fn is_quiet(&self) -> bool {
        // A while after a start, so that what a start sets in motion is seen.
        let enough = if self.phase == Phase::Again { 30_000 } else { 20_000 };
        self.now - self.peace_since >= enough
            && self.users.is_answered()
            && self.nodes.iter().all(|node| node.node().is_some() && node.machine.calls_under_way() == 0)
            && self.watches.iter().all(Watch::is_quiet)
    }

    /// No fault from here on. What only a restart mends is restarted.
    fn make_peace(&mut self) {
        self.trace.line(self.now, "life", format_args!("peace"));
        self.phase = Phase::Peace;
        self.peace_since = self.now;
        self.users.ask_no_more();
        self.faults.stop();
        for index in 0..self.nodes.len() {
            self.dooms[index] = None;
            self.nodes[index].machine.heal();
            self.nodes[index].machine.changed.notify_waiters();
            let node = &self.nodes[index];
            let over = node.is_stuck() || node.failure.is_some() || node.gave_up().is_some() || node.sets_webhooks_aside();
            if over || self.stopping[index].is_some() {
                self.nodes[index].crash();
                self.stopping[index] = None;
            }
            if !self.nodes[index].is_up() {
                self.starts[index] = None;
                self.nodes[index].start();
            }
        }
    }
}
