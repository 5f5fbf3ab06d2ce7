//! What happened, line by line: its hash says whether two runs are the same, and whoever replays a run reads it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Clones write the same trace.
#[derive(Debug, Clone)]
pub struct Trace(Arc<Mutex<Lines>>);

#[derive(Debug)]
struct Lines {
    hash: u64,
    count: u64,
    kept: Option<Vec<String>>,
}

impl Trace {
    /// `keeps`: the lines too, not only their hash.
    pub fn new(keeps: bool) -> Trace {
        Trace(Arc::new(Mutex::new(Lines { hash: 0xcbf2_9ce4_8422_2325, count: 0, kept: keeps.then(Vec::new) })))
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn line(&self, at_ms: u64, who: &str, what: fmt::Arguments<'_>) {
        let line = format!("{:>10}.{:03} {who:<6} {what}", at_ms / 1000, at_ms % 1000);
        let mut lines = self.lines();
        lines.hash = line.bytes().fold(lines.hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        lines.count += 1;
        if let Some(kept) = &mut lines.kept {
            kept.push(line);
        }
    }

    pub fn hash(&self) -> u64 {
        self.lines().hash
    }

    pub fn count(&self) -> u64 {
        self.lines().count
    }

    /// The lines from `from` on, if they are kept.
    pub fn from(&self, from: usize) -> Vec<String> {
        self.lines().kept.as_ref().map_or_else(Vec::new, |kept| kept.get(from..).unwrap_or_default().to_vec())
    }
}
