//! What supervisors of many children share: who is who, restarts with back-off, a budget per child, and stalls.

use ractor::{ActorCell, ActorId};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Restarts of one child within the window; one more and it is quarantined. Five loads from a good record are no accident any more.
pub const RESTARTS_MAX: u32 = 5;
pub const WINDOW: Duration = Duration::from_secs(600);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A handler decides and commits. One that takes longer than this will not come back.
pub const STALL_AFTER: Duration = Duration::from_secs(60);
/// How often a supervisor looks for stalls.
pub const STALL_CHECK: Duration = Duration::from_secs(5);

/// Set while a handler runs; read by the supervisor. Measured by a clock that does not jump: the one on the wall, set forward, would have
/// every handler that just runs killed as stuck.
#[derive(Debug)]
pub struct Progress {
    since: Instant,
    /// Since `since`, in milliseconds; [`IDLE`] when no handler runs.
    busy_since_ms: AtomicI64,
    handled: AtomicU64,
}

const IDLE: i64 = i64::MIN;

impl Default for Progress {
    fn default() -> Self {
        Progress { since: Instant::now(), busy_since_ms: AtomicI64::new(IDLE), handled: AtomicU64::new(0) }
    }
}

impl Progress {
    fn elapsed_ms(&self) -> i64 {
        millis(self.since.elapsed())
    }

    /// Marks the handler as running until the guard drops.
    pub fn enter(self: &Arc<Self>) -> Busy {
        self.busy_since_ms.store(self.elapsed_ms(), Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Backdates the handler that runs: what stalls lead to is tested with it.
    #[cfg(any(test, feature = "faults"))]
    pub fn pretend_busy_since(&self, since: Duration) {
        self.busy_since_ms.store(self.elapsed_ms() - millis(since), Ordering::Relaxed);
    }

    pub fn busy_for(&self) -> Option<Duration> {
        let since = self.busy_since_ms.load(Ordering::Relaxed);
        let busy_ms = self.elapsed_ms().checked_sub(since).filter(|_| since != IDLE)?;
        Some(Duration::from_millis(u64::try_from(busy_ms).unwrap_or(0)))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub struct Busy(Arc<Progress>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy_since_ms.store(IDLE, Ordering::Relaxed);
        self.0.handled.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub struct Child {
    pub cell: Option<ActorCell>,
    pub progress: Arc<Progress>,
    pub restarts: u32,
    pub last_error: Option<String>,
    in_window: u32,
    window_start: Instant,
}

/// The children of one supervisor, by key and by actor.
#[derive(Debug)]
pub struct Children<K> {
    /// In order, so that those who are listed or killed together are so in the same order each time.
    by_key: BTreeMap<K, Child>,
    by_actor: HashMap<ActorId, K>,
}

/// A child, as people are shown it.
#[derive(Debug, Clone)]
pub struct ChildInfo<K> {
    pub key: K,
    pub restarts: u32,
    pub last_error: Option<String>,
    pub lives: bool,
}

/// What to do about a child that failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    RestartAfter(Duration),
    /// The budget is spent.
    Quarantine,
}

impl<K: Copy + Ord> Children<K> {
    pub fn new() -> Self {
        Children { by_key: BTreeMap::new(), by_actor: HashMap::new() }
    }

    pub fn started(&mut self, key: K, cell: ActorCell, progress: Arc<Progress>) {
        self.by_actor.insert(cell.get_id(), key);
        let child = self.by_key.entry(key).or_insert_with(|| Child {
            cell: None,
            progress: Arc::default(),
            restarts: 0,
            last_error: None,
            in_window: 0,
            window_start: Instant::now(),
        });
        child.cell = Some(cell);
        child.progress = progress;
    }

    /// Whose actor ended; an actor that was replaced already is nobody's.
    pub fn ended(&mut self, actor: ActorId) -> Option<K> {
        let key = self.by_actor.remove(&actor)?;
        if let Some(child) = self.by_key.get_mut(&key) {
            child.cell = None;
        }
        Some(key)
    }

    pub fn forget(&mut self, key: K) {
        self.by_key.remove(&key);
    }

    pub fn failed(&mut self, key: K, error: String) -> Verdict {
        let Some(child) = self.by_key.get_mut(&key) else { return Verdict::Quarantine };
        child.last_error = Some(error);
        if child.window_start.elapsed() > WINDOW {
            child.in_window = 0;
            child.window_start = Instant::now();
        }
        if child.in_window >= RESTARTS_MAX {
            return Verdict::Quarantine;
        }
        let wait = BACKOFF_FIRST.saturating_mul(1 << child.in_window.min(16)).min(BACKOFF_MAX);
        child.in_window += 1;
        child.restarts += 1;
        // Children that failed together do not come back together.
        Verdict::RestartAfter(wait + wait.mul_f64(crate::ambient::fraction() / 4.0))
    }

    pub fn list(&self) -> Vec<ChildInfo<K>> {
        let info = |(key, child): (&K, &Child)| ChildInfo {
            key: *key,
            restarts: child.restarts,
            last_error: child.last_error.clone(),
            lives: child.cell.is_some(),
        };
        self.by_key.iter().map(info).collect()
    }

    /// Children whose handler has been running for too long.
    pub fn stalled(&self) -> Vec<(K, ActorCell, Duration)> {
        self.by_key
            .iter()
            .filter_map(|(key, child)| {
                let busy = child.progress.busy_for().filter(|busy| *busy > STALL_AFTER)?;
                Some((*key, child.cell.clone()?, busy))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_keeps_failing_is_quarantined_and_waits_longer_each_time() {
        let mut children: Children<u8> = Children::new();
        children.by_key.insert(
            1,
            Child {
                cell: None,
                progress: Arc::default(),
                restarts: 0,
                last_error: None,
                in_window: 0,
                window_start: Instant::now(),
            },
        );
        let mut last = Duration::ZERO;
        for _ in 0..RESTARTS_MAX {
            let Verdict::RestartAfter(wait) = children.failed(1, "x".into()) else { panic!("too early") };
            assert!(wait > last);
            last = wait;
        }
        assert_eq!(children.failed(1, "x".into()), Verdict::Quarantine);
    }

    #[test]
    fn a_handler_that_runs_is_seen() {
        let progress: Arc<Progress> = Arc::default();
        assert!(progress.busy_for().is_none());
        let busy = progress.enter();
        assert!(progress.busy_for().is_some());
        drop(busy);
        assert!(progress.busy_for().is_none());
    }
}
