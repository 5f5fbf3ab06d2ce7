//! Rate limits: two token buckets, one of bytes, one of operations.

use super::{super::Invalid, Check, all};
use serde::{Deserialize, Serialize};

/// Absent: no limit. In an update a bucket that is absent stays as it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimiter {
    /// Of bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<TokenBucket>,
    /// Of operations: requests of a drive, frames of an interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ops: Option<TokenBucket>,
}

/// `size` tokens each `refill_time` ms, and `one_time_burst` once before the first refill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenBucket {
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_time_burst: Option<u64>,
    /// Milliseconds.
    pub refill_time: u64,
}

impl TokenBucket {
    /// The bucket that takes a limit away: in an update Firecracker reads nothing else so.
    pub const NO_LIMIT: Self = Self { size: 0, one_time_burst: None, refill_time: 0 };

    /// So many a second, with a burst of one second.
    #[must_use]
    pub fn per_second(size: u64) -> Self {
        Self { size, one_time_burst: None, refill_time: 1_000 }
    }
}

impl Check for TokenBucket {
    fn check(&self) -> Result<(), Invalid> {
        // Firecracker takes half a bucket for none and says nothing.
        if *self == Self::NO_LIMIT || (self.size > 0 && self.refill_time > 0) { Ok(()) } else { Err(Invalid::Limit) }
    }
}

impl Check for RateLimiter {
    fn check(&self) -> Result<(), Invalid> {
        all(self.bandwidth.iter().chain(&self.ops))
    }
}
