//! Units that would be mere integers otherwise: a point in time, a record's generation, the number of an attempt.

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, UTC. Arrives with the input: `domain` reads no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Milliseconds from `earlier` to here; 0 when the clock went back.
    pub fn since_ms(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The revision of a record: 1 at creation, one more with each committed change. It is the ETag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Generation(pub u64);

impl Generation {
    pub fn next(self) -> Generation {
        Generation(self.0 + 1)
    }
}

/// The number of an attempt at something. Results and timers that carry an older number are ignored, never applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Attempt(pub u64);

impl Attempt {
    pub fn next(self) -> Attempt {
        Attempt(self.0 + 1)
    }
}
