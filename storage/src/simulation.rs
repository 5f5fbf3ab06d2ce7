//! A journal without a disk, for simulations: never in a release.

pub use crate::journal::memory::{Fate, Fates, MemoryDisk, Verdict};
