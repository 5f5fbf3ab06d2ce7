//! Many runs, on all cores; and making a failing one shorter.

use crate::life::{Outcome, Wanted, run};
use domain::mutant::Mutant;
use std::{
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// What many runs added up to.
#[derive(Debug, Clone, Default)]
pub struct Sum {
    pub seeds: u64,
    pub faults: u64,
    pub commands: u64,
    pub crashes: u64,
    pub falls: u64,
    pub cancelled: u64,
    pub pruned: u64,
    pub heard: u64,
    pub refused: u64,
    pub delivered: u64,
    pub polls: u64,
    pub simulated_ms: u64,
    /// Seeds that broke a promise, with what they broke, in the order of seeds.
    pub failed: Vec<(u64, Vec<String>)>,
}

impl Sum {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.seeds += 1;
        self.faults += outcome.faults;
        self.commands += outcome.commands;
        self.crashes += outcome.crashes;
        self.falls += outcome.falls;
        self.cancelled += outcome.cancelled;
        self.pruned += outcome.pruned;
        self.heard += outcome.heard;
        self.refused += outcome.refused;
        self.delivered += outcome.delivered;
        self.polls += outcome.polls;
        self.simulated_ms += outcome.simulated_ms;
        if !outcome.broken.is_empty() {
            self.failed.push((seed, outcome.broken));
            self.failed.sort_unstable();
        }
    }
}

/// Runs these seeds until the time is up or `most_failures` broke a promise; always at least one.
pub fn seeds(seeds: Range<u64>, mutant: Option<Mutant>, time: Option<Duration>, most_failures: usize) -> Sum {
    let (next, enough) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let sum = Mutex::new(Sum::default());
    let begun = Instant::now();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || enough.load(Ordering::Relaxed) {
                return;
            }
            let outcome = run(&Wanted { mutant, ..Wanted::seed(seed) });
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            sum.add(seed, outcome);
            if sum.failed.len() >= most_failures || time.is_some_and(|time| begun.elapsed() >= time) {
                enough.store(true, Ordering::Relaxed);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The same failure with as few faults, then as few commands, as halving finds. What it breaks may be told in other words.
pub fn shrink(wanted: &Wanted) -> Wanted {
    let mut best = wanted.clone();
    let first = run(&best);
    if first.broken.is_empty() {
        return best;
    }
    let mut least = |current: u64, with: &dyn Fn(&Wanted, u64) -> Wanted| {
        let (mut passes, mut fails) = (0, current);
        while fails - passes > 1 {
            let middle = passes + (fails - passes) / 2;
            let shorter = with(&best, middle);
            if run(&shorter).broken.is_empty() {
                passes = middle;
            } else {
                fails = middle;
                best = shorter;
            }
        }
    };
    least(first.faults, &|best, faults| Wanted { faults: Some(faults), ..best.clone() });
    least(first.commands, &|best, commands| Wanted { commands: Some(commands), ..best.clone() });
    best
}

/// The one line that runs it again.
pub fn command(wanted: &Wanted) -> String {
    let mut line = format!("cargo run --manifest-path tests/sim/Cargo.toml -- replay {}", wanted.seed);
    if let Some(faults) = wanted.faults {
        line.push_str(&format!(" --faults {faults}"));
    }
    if let Some(commands) = wanted.commands {
        line.push_str(&format!(" --commands {commands}"));
    }
    if let Some(mutant) = wanted.mutant {
        line.push_str(&format!(" --mutant {mutant:?}"));
    }
    line
}
