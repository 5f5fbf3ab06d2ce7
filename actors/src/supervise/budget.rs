//! Back-off and restart intensity. Pure: time and jitter come from outside.

use std::time::Duration;
use tokio::time::Instant;

/// Restarts of one child within the window; one more and it is quarantined. Five loads from a good record are no accident any more.
pub const RESTARTS_MAX: u32 = 5;
pub const WINDOW: Duration = Duration::from_secs(600);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// The most that jitter adds to a wait.
const JITTER_MAX: f64 = 0.25;

/// From 0 to 1, spread evenly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jitter(f64);

impl Jitter {
    pub fn new(fraction: f64) -> Jitter {
        Jitter(fraction.clamp(0.0, 1.0))
    }
}

/// The one place where supervision draws.
pub fn jitter() -> Jitter {
    Jitter::new(crate::ambient::fraction())
}

/// Doubled from try to try up to a limit, and spread, so that those who failed together do not come back together.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    tries: u32,
}

impl Backoff {
    pub const fn new(first: Duration, max: Duration) -> Backoff {
        Backoff { first, max, tries: 0 }
    }

    /// The next wait: at most `max` and a quarter.
    pub fn next(&mut self, jitter: Jitter) -> Duration {
        let wait = self.first.saturating_mul(1 << self.tries.min(16)).min(self.max);
        self.tries = self.tries.saturating_add(1);
        wait + wait.mul_f64(jitter.0 * JITTER_MAX)
    }

    /// It went well: the next wait is the first again.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

/// What to do about a child that failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    RestartAfter(Duration),
    /// The budget is spent.
    Quarantine,
}

/// How often a child has failed lately.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    backoff: Backoff,
    window_start: Option<Instant>,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { backoff: Backoff::new(BACKOFF_FIRST, BACKOFF_MAX), window_start: None }
    }
}

impl Budget {
    pub fn spend(&mut self, now: Instant, jitter: Jitter) -> Verdict {
        if self.window_start.is_none_or(|start| now.duration_since(start) > WINDOW) {
            self.window_start = Some(now);
            self.backoff.reset();
        }
        if self.backoff.tries >= RESTARTS_MAX {
            return Verdict::Quarantine;
        }
        Verdict::RestartAfter(self.backoff.next(jitter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(jitter: f64) -> Vec<u128> {
        let (mut budget, now) = (Budget::default(), Instant::now());
        std::iter::from_fn(|| match budget.spend(now, Jitter::new(jitter)) {
            Verdict::RestartAfter(wait) => Some(wait.as_millis()),
            Verdict::Quarantine => None,
        })
        .collect()
    }

    #[test]
    fn who_keeps_failing_waits_longer_each_time_and_is_quarantined() {
        assert_eq!(waits(0.0), [100, 200, 400, 800, 1600]);
        assert_eq!(waits(1.0), [125, 250, 500, 1000, 2000], "a quarter more at most");
        assert_eq!(waits(7.0), waits(1.0), "whatever is drawn");
    }

    #[test]
    fn failures_that_are_far_apart_do_not_add_up() {
        let (mut budget, mut now) = (Budget::default(), Instant::now());
        for _ in 0..4 * RESTARTS_MAX {
            assert_eq!(budget.spend(now, Jitter::new(0.0)), Verdict::RestartAfter(BACKOFF_FIRST));
            now += WINDOW + Duration::from_millis(1);
        }
        for _ in 1..=RESTARTS_MAX {
            assert!(matches!(budget.spend(now, Jitter::new(0.0)), Verdict::RestartAfter(_)));
            now += WINDOW / 10;
        }
        assert_eq!(budget.spend(now, Jitter::new(0.0)), Verdict::Quarantine);
    }

    #[test]
    fn a_wait_is_bounded_however_often_it_is_asked_for() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        let longest = (0..200).map(|_| backoff.next(Jitter::new(1.0))).max();
        assert_eq!(longest, Some(Duration::from_millis(1250)));
        backoff.reset();
        assert_eq!(backoff.next(Jitter::new(0.0)), Duration::from_millis(50));
    }
}
