//! One node of hearth: its machine, which stays, and its process, which dies.
//!
//! The process is a runtime of its own with a clock that stands. It is run one poll of one task after another; only when none is left does
//! its clock move, to the next timer. So a crash can come after any poll: at any `await`, also between a commit and what it explains.

use crate::{
    chance::{Chance, Faults},
    machine::Machine,
    ports::{Driver, Images, Network, Probe, webhooks},
};
use actors::{
    Node, Parts, Ports, TreeQuery,
    ambient::simulated::{Ambient, Entered, enter},
    operation::KeepEnded,
};
use domain::{Timestamp, invariant::Keep, ipam::Subnet};
use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use storage::{
    Journal,
    simulation::{Fate, Fates, Verdict},
};
use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};

/// 2026-01-01, so that ids look like ids.
const EPOCH_MS: u64 = 1_767_225_600_000;

/// What the runtime tells while it is run.
#[derive(Default)]
struct Signals {
    /// How often the last of all tasks had its turn, and whether it goes on.
    rounds: AtomicU64,
    goes_on: AtomicBool,
    /// Of whoever waits for time to pass.
    waker: Mutex<Option<Waker>>,
}

/// The node's clock on the wall, and its dice.
struct Own {
    machine: Machine,
    skew_ms: Arc<AtomicI64>,
    chance: Mutex<Chance>,
    trouble: u64,
}

impl Ambient for Own {
    fn now(&self) -> Timestamp {
        let now = EPOCH_MS + self.machine.state().now;
        Timestamp(now.saturating_add_signed(self.skew_ms.load(Ordering::Relaxed)))
    }

    fn random(&self) -> u128 {
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        (u128::from(chance.draw()) << 64) | u128::from(chance.draw())
    }

    fn echo(&self) -> Option<Duration> {
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        // Far more often than other faults: only one in many comes at a moment when it could do harm.
        let comes = self.machine.faults.inject(&mut chance, 5 * self.trouble);
        // So late that something else of the kind may be under way by then.
        let after = if chance.hits(300) { chance.delay_ms() + 1 } else { chance.between(500, 8_000) };
        comes.then(|| Duration::from_millis(after))
    }
}

/// What becomes of the journal's writes.
struct Writes {
    chance: Chance,
    faults: Faults,
    trouble: u64,
    /// A write failed or hangs: only a restart helps.
    stuck: Arc<AtomicBool>,
}

impl Fates for Writes {
    fn next(&mut self) -> Fate {
        let quiet = self.faults.over();
        let (before, after) = (self.chance.delay_ms(), self.chance.delay_ms());
        let kind = self.chance.draw() % 10;
        let verdict = match self.faults.inject(&mut self.chance, self.trouble / 4) {
            false => Verdict::Written,
            true => {
                self.stuck.store(true, Ordering::Relaxed);
                match kind {
                    0..3 => Verdict::Fails { full: true, written: false },
                    3..5 => Verdict::Fails { full: true, written: true },
                    5..7 => Verdict::Fails { full: false, written: kind == 5 },
                    _ => Verdict::Hangs,
                }
            }
        };
        let ms = |ms: u64| Duration::from_millis(if quiet { 0 } else { ms.min(3_000) });
        Fate { before: ms(before), verdict, after: ms(after) }
    }
}

/// A running hearth.
struct Process {
    runtime: Runtime,
    signals: Arc<Signals>,
    /// Its clock when it began, and the true time then.
    began: (Instant, u64),
    started: Arc<Mutex<Option<Result<Node, String>>>>,
    node: Option<Node>,
    /// Why it can't go on by itself: a supervisor of its own keeps failing.
    gave_up: Arc<Mutex<Option<String>>>,
    stuck: Arc<AtomicBool>,
}

/// Why a run of the process came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// Nothing is left to do at this time.
    Idle,
    /// As many polls as were asked for.
    Polls,
}

pub struct SimNode {
    pub machine: Machine,
    pub skew_ms: Arc<AtomicI64>,
    seed: u64,
    trouble: u64,
    pub keep: Keep,
    starts: u64,
    /// Polls in all its lives.
    pub polls: u64,
    /// True while the node must go on by itself: its process could not be started, or said that it can't go on.
    pub failure: Option<String>,
    process: Option<Process>,
    ambient: Arc<Own>,
}

impl SimNode {
    pub fn new(machine: Machine, seed: u64, trouble: u64, keep: Keep) -> SimNode {
        let skew_ms = Arc::new(AtomicI64::new(0));
        let chance = Mutex::new(Chance::new(seed, &format!("ids {}", machine.name)));
        let ambient = Arc::new(Own { machine: machine.clone(), skew_ms: Arc::clone(&skew_ms), chance, trouble });
        SimNode { machine, skew_ms, seed, trouble, keep, starts: 0, polls: 0, failure: None, process: None, ambient }
    }

    pub fn name(&self) -> &str {
        &self.machine.name
    }

    /// Which of its lives this is.
    pub fn life(&self) -> u64 {
        self.starts
    }

    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// Only a restart helps: the journal takes nothing more.
    pub fn is_stuck(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.stuck.load(Ordering::Relaxed))
    }

    /// It said that it can't go on: whoever looks after it starts it again.
    pub fn gave_up(&self) -> Option<String> {
        self.process.as_ref().and_then(|process| process.gave_up.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Webhooks are set aside: they stay as they are until somebody wants them back.
    pub fn sets_webhooks_aside(&self) -> bool {
        let query = TreeQuery { all: false, kind: None, limit: 0, after: None };
        let aside = |node: &Node| node.tree(&query).kinds.iter().any(|kind| kind.kind == "webhooks" && kind.quarantined > 0);
        self.node().is_some_and(aside)
    }

    /// The node, once its start is done.
    pub fn node(&self) -> Option<&Node> {
        self.process.as_ref().and_then(|process| process.node.as_ref())
    }

    fn enter(&self) -> Entered {
        enter(Arc::clone(&self.ambient) as Arc<dyn Ambient>)
    }

    /// A new process on the same machine and disk.
    pub fn start(&mut self) {
        let signals: Arc<Signals> = Arc::default();
        let unparked = Arc::clone(&signals);
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            // One task, then a look around; who was woken from outside first, so that nobody is passed over.
            .event_interval(1)
            .global_queue_interval(1)
            .on_thread_unpark(move || {
                let waker = unparked.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
                waker.into_iter().for_each(Waker::wake);
            })
            .build()
            .expect("a runtime without I/O needs nothing");
        let started: Arc<Mutex<Option<Result<Node, String>>>> = Arc::default();
        let stuck = Arc::new(AtomicBool::new(false));
        self.starts += 1;
        let writes = Writes {
            chance: Chance::new(self.seed, &format!("writes {} {}", self.name(), self.starts)),
            faults: self.machine.faults.clone(),
            trouble: self.trouble,
            stuck: Arc::clone(&stuck),
        };
        let (machine, keep, slot) = (self.machine.clone(), self.keep, Arc::clone(&started));
        let gave_up: Arc<Mutex<Option<String>>> = Arc::default();
        let told = Arc::clone(&gave_up);
        let _entered = self.enter();
        let began = {
            let _runtime = runtime.enter();
            Instant::now()
        };
        runtime.spawn(async move {
            let result = begin(machine, writes, keep).await;
            let node = result.as_ref().ok().cloned();
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            if let Some(node) = node {
                let why = node.failed().await;
                *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
            }
        });
        let began = (began, self.machine.state().now);
        self.machine.tell(format_args!("start {}", self.starts));
        self.process = Some(Process { runtime, signals, began, started, node: None, gave_up, stuck });
    }

    /// The process dies where it is; with it all that was not on the disk.
    pub fn crash(&mut self) {
        let _entered = self.enter();
        if let Some(process) = self.process.take() {
            self.machine.tell(format_args!("crash after {} polls", self.polls));
            drop(process.node);
            drop(process.started);
            drop(process.runtime);
            self.machine.hearth_died();
        }
        self.failure = None;
    }

    /// Begins work on the node's runtime.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(process) = &self.process {
            process.runtime.spawn(work);
        }
    }

    /// Polls tasks, at most `most` of them, without letting time pass.
    pub fn run(&mut self, most: u64) -> Ran {
        let _entered = self.enter();
        let Some(process) = &mut self.process else { return Ran::Idle };
        process.signals.goes_on.store(true, Ordering::Relaxed);
        process.runtime.spawn(Last(Arc::clone(&process.signals)));
        let rounds = process.signals.rounds.load(Ordering::Relaxed);
        let steps = Steps { signals: Arc::clone(&process.signals), left: most, polled: 0, begun: false, rounds, alone: false };
        let (ran, polled) = process.runtime.block_on(steps);
        process.signals.goes_on.store(false, Ordering::Relaxed);
        self.polls += polled;
        if process.node.is_none()
            && let Some(result) = process.started.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            match result {
                Ok(node) => process.node = Some(node),
                Err(error) => self.failure = Some(error),
            }
        }
        ran
    }

    /// Time passes, to the node's next timer, but not beyond `limit`. Answers what time it is now. Only when nothing is left to do.
    pub fn pass(&mut self, limit: u64) -> u64 {
        let _entered = self.enter();
        let Some(process) = &mut self.process else {
            self.machine.at(limit);
            return limit;
        };
        let (clock, then) = process.began;
        let until = clock + Duration::from_millis(limit - then);
        let signals = Arc::clone(&process.signals);
        // The timer is made inside: it is one of the runtime's own.
        let passing = async move { Passing { signals, until: Box::pin(tokio::time::sleep_until(until)), asked: false }.await };
        let now = process.runtime.block_on(passing);
        let now = then + now.duration_since(clock).as_millis() as u64;
        self.machine.at(now);
        now
    }
}

async fn begin(machine: Machine, writes: Writes, keep: Keep) -> Result<Node, String> {
    let journal = Journal::simulated(machine.disk.clone(), writes, keep.events).map_err(|error| actors::error::chain(&error))?;
    let ports = Ports {
        vmm: Arc::new(Driver(machine.clone())),
        network: Some(Arc::new(Network(machine.clone()))),
        network_problem: None,
        dns: Vec::new(),
        images: Arc::new(Images(machine.clone())),
        probe: Arc::new(Probe(machine.clone())),
        webhooks: webhooks(&machine),
    };
    let subnet = Subnet::parse("10.77.0.0/28").map_err(|error| error.to_string())?;
    let parts = Parts { journal, ports, host_name: machine.name.to_string(), subnet };
    let ended = KeepEnded { newest: keep.ended_operations as usize, at_once: keep.at_once as usize };
    Node::start_keeping(parts, ended).await.map_err(|error| actors::error::chain(&error))
}

/// Stands at the end of the queue: twice in a row its turn means that nobody else waits for one.
struct Last(Arc<Signals>);

impl Future for Last {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.rounds.fetch_add(1, Ordering::Relaxed);
        if !self.0.goes_on.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Lets the runtime poll one task between two of its own polls.
struct Steps {
    signals: Arc<Signals>,
    left: u64,
    polled: u64,
    begun: bool,
    rounds: u64,
    /// The last task polled was [`Last`].
    alone: bool,
}

impl Future for Steps {
    type Output = (Ran, u64);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<(Ran, u64)> {
        let rounds = self.signals.rounds.load(Ordering::Relaxed);
        if self.begun {
            let last_again = rounds != self.rounds;
            if last_again && self.alone {
                return Poll::Ready((Ran::Idle, self.polled));
            }
            (self.alone, self.rounds) = (last_again, rounds);
            if !last_again {
                self.polled += 1;
                self.left -= 1;
            }
        }
        self.begun = true;
        if self.left == 0 {
            return Poll::Ready((Ran::Polls, self.polled));
        }
        // Awake, the runtime neither sleeps nor moves its clock.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Lets the runtime go to sleep once, which moves its clock.
struct Passing {
    signals: Arc<Signals>,
    until: Pin<Box<tokio::time::Sleep>>,
    asked: bool,
}

impl Future for Passing {
    type Output = Instant;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Instant> {
        if self.until.as_mut().poll(context).is_ready() || self.asked {
            return Poll::Ready(Instant::now());
        }
        self.asked = true;
        *self.signals.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        Poll::Pending
    }
}
