//! What stands between the actors and everything outside of them: it counts each effect, and lets one of them go wrong.
//!
//! An effect is known by its name and how often that name came since the script was armed ("vmm.kill 2"), which does not depend on what
//! runs beside it. Steps are thereby discovered, not listed: whatever a procedure does through a port is one.

use actors::{CommandError, faults::CommitGate};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// One effect of a procedure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    pub name: &'static str,
    /// From 1 on.
    pub turn: usize,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.turn)
    }
}

/// What goes wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It reports failure, and did nothing.
    FailsBefore,
    /// It reports failure, and was done.
    FailsAfter,
    /// hearth is gone before it is done.
    CrashesBefore,
    /// hearth is gone after it was done, before it is known.
    CrashesAfter,
    /// The same, and then hearth is gone again at the first effect of its recovery.
    CrashesAgain,
    /// It is done twice.
    Doubled,
}

impl Fault {
    pub const ALL: [Fault; 6] =
        [Fault::FailsBefore, Fault::FailsAfter, Fault::CrashesBefore, Fault::CrashesAfter, Fault::CrashesAgain, Fault::Doubled];

    pub fn is_crash(self) -> bool {
        matches!(self, Fault::CrashesBefore | Fault::CrashesAfter | Fault::CrashesAgain)
    }
}

pub const COMMIT: &str = "journal.commit";

/// One life of a node.
#[derive(Default)]
pub struct Script(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    armed: bool,
    /// Of any name: the first one crashes.
    first_crashes: bool,
    plan: Option<(Step, Fault)>,
    turns: BTreeMap<&'static str, usize>,
    log: Vec<Step>,
    in_flight: usize,
    moved: u64,
    hit: bool,
    dead: bool,
    /// A commit failed whose fate is unknown: the journal takes nothing more.
    poisoned: bool,
}

/// What is to be done with an effect.
enum Turn {
    Plain,
    Fault(Fault),
    Dead,
}

/// An effect that is under way.
struct Flight(Arc<Script>);

impl Drop for Flight {
    fn drop(&mut self) {
        let mut inner = self.0.inner();
        inner.in_flight -= 1;
        inner.moved += 1;
    }
}

impl Script {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on effects are counted, and the fault waits for its turn.
    pub fn arm(&self, plan: Option<(Step, Fault)>) {
        let mut inner = self.inner();
        inner.armed = true;
        inner.plan = plan;
        inner.turns.clear();
        inner.log.clear();
        inner.hit = false;
    }

    /// The first effect of this life ends it.
    pub fn crash_at_first(&self) {
        let mut inner = self.inner();
        inner.armed = true;
        inner.first_crashes = true;
    }

    /// What was to go wrong has had its time.
    pub fn disarm(&self) {
        let mut inner = self.inner();
        inner.plan = None;
        inner.first_crashes = false;
    }

    pub fn log(&self) -> Vec<Step> {
        self.inner().log.clone()
    }

    /// Whether the fault came.
    pub fn hit(&self) -> bool {
        self.inner().hit
    }

    /// Whether only a new start can go on.
    pub fn is_over(&self) -> bool {
        let inner = self.inner();
        inner.dead || inner.poisoned
    }

    /// Grows with everything that happens; with how many are under way.
    pub fn movement(&self) -> (u64, usize) {
        let inner = self.inner();
        (inner.moved, inner.in_flight)
    }

    fn take(&self, name: &'static str) -> Turn {
        let mut inner = self.inner();
        if inner.dead {
            return Turn::Dead;
        }
        inner.moved += 1;
        inner.in_flight += 1;
        if !inner.armed {
            return Turn::Plain;
        }
        let turn = inner.turns.entry(name).or_default();
        *turn += 1;
        let step = Step { name, turn: *turn };
        inner.log.push(step.clone());
        // The sweep of a start is no recovery yet.
        if inner.first_crashes && !name.ends_with(".sweep") {
            inner.hit = true;
            return Turn::Fault(Fault::CrashesBefore);
        }
        match &inner.plan {
            Some((planned, fault)) if *planned == step => {
                let fault = *fault;
                inner.hit = true;
                Turn::Fault(fault)
            }
            _ => Turn::Plain,
        }
    }

    /// From here on nothing reaches the world, and nobody is told anything.
    fn die(&self) {
        let mut inner = self.inner();
        inner.dead = true;
        inner.moved += 1;
    }

    /// An effect of the actors, on its way to the world.
    pub async fn through<T, E, F>(
        self: &Arc<Self>,
        name: &'static str,
        error: impl FnOnce() -> E,
        effect: impl Fn() -> F,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let turn = self.take(name);
        if matches!(turn, Turn::Dead) {
            return std::future::pending().await;
        }
        let flight = Flight(Arc::clone(self));
        let result = match turn {
            Turn::Plain | Turn::Dead => effect().await,
            Turn::Fault(Fault::FailsBefore) => Err(error()),
            Turn::Fault(Fault::FailsAfter) => effect().await.and_then(|_| Err(error())),
            Turn::Fault(Fault::Doubled) => match effect().await {
                Ok(_) => effect().await,
                failed => failed,
            },
            Turn::Fault(Fault::CrashesBefore) => {
                self.die();
                drop(flight);
                return std::future::pending().await;
            }
            Turn::Fault(Fault::CrashesAfter | Fault::CrashesAgain) => {
                let _ = effect().await;
                self.die();
                drop(flight);
                return std::future::pending().await;
            }
        };
        if self.inner().dead {
            drop(flight);
            return std::future::pending().await;
        }
        result
    }
}

/// The gate of one commit: entered before, left after, by the same actor.
#[async_trait]
impl CommitGate for Gate {
    async fn before(&self) -> Result<(), CommandError> {
        if self.0.inner().poisoned {
            return Err(disk());
        }
        match self.0.take(COMMIT) {
            Turn::Dead => std::future::pending().await,
            Turn::Plain | Turn::Fault(Fault::Doubled) => Ok(()),
            Turn::Fault(Fault::FailsBefore) => {
                drop(Flight(Arc::clone(&self.0)));
                Err(CommandError::Busy)
            }
            Turn::Fault(Fault::CrashesBefore) => {
                drop(Flight(Arc::clone(&self.0)));
                self.0.die();
                std::future::pending().await
            }
            Turn::Fault(fault @ (Fault::FailsAfter | Fault::CrashesAfter | Fault::CrashesAgain)) => {
                *self.1.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
                Ok(())
            }
        }
    }

    async fn after(&self) -> Result<(), CommandError> {
        drop(Flight(Arc::clone(&self.0)));
        let fault = self.1.lock().unwrap_or_else(PoisonError::into_inner).take();
        match fault {
            None if self.0.inner().dead => std::future::pending().await,
            None => Ok(()),
            Some(Fault::FailsAfter) => {
                self.0.inner().poisoned = true;
                Err(disk())
            }
            Some(_) => {
                self.0.die();
                std::future::pending().await
            }
        }
    }
}

/// At most one commit of a case is to go wrong, and the actors of a case commit one after the other.
pub struct Gate(pub Arc<Script>, Mutex<Option<Fault>>);

impl Gate {
    pub fn of(script: &Arc<Script>) -> Arc<Gate> {
        Arc::new(Gate(Arc::clone(script), Mutex::default()))
    }
}

fn disk() -> CommandError {
    CommandError::Storage { detail: "a fault of the test".into(), full: false }
}
