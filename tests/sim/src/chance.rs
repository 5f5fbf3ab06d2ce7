//! Chance from a seed: one stream a purpose, so that a draw more in one place leaves the others as they were.
//!
//! Written out here (SplitMix64) and not taken from a library: a seed must mean the same run in a year.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64, purpose: &str) -> Chance {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let mut chance = Chance(purpose.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, mix));
        chance.draw();
        chance
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.draw() % (most - least + 1)
    }

    pub fn hits(&mut self, per_mille: u64) -> bool {
        self.draw() % 1000 < per_mille
    }

    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { all.get((self.draw() % all.len() as u64) as usize) }
    }

    /// How long something takes, in milliseconds: mostly nothing, now and then very long.
    pub fn delay_ms(&mut self) -> u64 {
        match self.draw() % 100 {
            0..55 => 0,
            55..80 => self.between(1, 5),
            80..93 => self.between(5, 200),
            93..99 => self.between(200, 5_000),
            _ => self.between(5_000, 40_000),
        }
    }
}

/// How many faults there may be in a run: none is injected beyond. Cutting it down makes a failing run shorter to read.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Count>);

#[derive(Debug)]
struct Count {
    injected: AtomicU64,
    most: AtomicU64,
}

impl Faults {
    pub fn at_most(most: u64) -> Faults {
        Faults(Arc::new(Count { injected: AtomicU64::new(0), most: AtomicU64::new(most) }))
    }

    pub fn injected(&self) -> u64 {
        self.0.injected.load(Ordering::Relaxed)
    }

    /// No more from here on.
    pub fn stop(&self) {
        self.0.most.store(0, Ordering::Relaxed);
    }

    pub fn over(&self) -> bool {
        self.injected() >= self.0.most.load(Ordering::Relaxed)
    }

    /// Whether the fault happens: when the dice want it and there is one left.
    pub fn inject(&self, chance: &mut Chance, per_mille: u64) -> bool {
        // Drawn in any case: the runs with fewer faults are the same up to there.
        let wanted = chance.hits(per_mille);
        if !wanted || self.over() {
            return false;
        }
        self.0.injected.fetch_add(1, Ordering::Relaxed);
        true
    }
}
