//! The children of one supervisor: by key and by actor, who lives, who is being restarted, who was set aside and why.

use super::{
    STALL_AFTER,
    budget::{Budget, Jitter, Verdict},
    progress::{Going, Progress, Seen},
};
use ractor::{ActorCell, ActorId};
use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};
use tokio::time::Instant;

/// A shared handle; clones are the same roster.
#[derive(Debug)]
pub struct Roster<K>(Arc<RwLock<Children<K>>>);

impl<K> Clone for Roster<K> {
    fn clone(&self) -> Self {
        Roster(Arc::clone(&self.0))
    }
}

impl<K> Default for Roster<K> {
    fn default() -> Self {
        Roster(Arc::new(RwLock::new(Children { by_key: BTreeMap::new(), by_actor: HashMap::new() })))
    }
}

#[derive(Debug)]
struct Children<K> {
    by_key: BTreeMap<K, Child>,
    by_actor: HashMap<ActorId, K>,
}

#[derive(Debug, Default)]
struct Child {
    cell: Option<ActorCell>,
    progress: Option<Arc<Progress>>,
    /// Most have none.
    record: Option<Box<Record>>,
}

/// What went wrong with a child.
#[derive(Debug, Default)]
struct Record {
    budget: Budget,
    restarts: u32,
    last_error: Option<String>,
    /// Why it was killed, until its end is reported.
    killed_because: Option<String>,
    quarantined: bool,
}

/// A child, as people are shown it.
#[derive(Debug, Clone)]
pub struct ChildInfo<K> {
    pub key: K,
    pub state: &'static str,
    pub restarts: u32,
    pub last_error: Option<String>,
    pub seen: Seen,
}

impl<K> ChildInfo<K> {
    /// Whether somebody should look at it.
    pub fn is_unusual(&self) -> bool {
        self.state != "running" || self.restarts > 0 || self.last_error.is_some() || self.seen.mailbox > MAILBOX_USUAL
    }
}

/// More messages than this wait in no mailbox of an actor that keeps up.
const MAILBOX_USUAL: u64 = 16;

/// How many children there are, and how many of them somebody should look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    pub children: u64,
    pub stalled: u64,
    pub overdue: u64,
    pub restarting: u64,
    pub quarantined: u64,
    pub restarts: u64,
    pub mailbox: u64,
}

/// What a look at the children found.
#[derive(Debug)]
pub enum Trouble<K> {
    /// Its handler runs for too long; it was killed, and its end will be reported.
    Stalled { key: K, dump: String },
    /// Its effect takes longer than it should; told once.
    Overdue { key: K, effect: Going },
}

impl<K: Copy + Ord> Roster<K> {
    /// All anew: of a supervisor that starts again.
    pub fn clear(&self) {
        *self.write() = Children { by_key: BTreeMap::new(), by_actor: HashMap::new() };
    }

    pub fn started(&self, key: K, cell: ActorCell, progress: Arc<Progress>) {
        let mut children = self.write();
        children.by_actor.insert(cell.get_id(), key);
        let child = children.by_key.entry(key).or_default();
        child.cell = Some(cell);
        child.progress = Some(progress);
        if let Some(record) = &mut child.record {
            record.quarantined = false;
        }
    }

    /// Whose actor ended; an actor that was replaced already is nobody's.
    pub fn ended(&self, actor: ActorId) -> Option<K> {
        let mut children = self.write();
        let key = children.by_actor.remove(&actor)?;
        let child = children.by_key.get_mut(&key)?;
        if child.cell.as_ref().is_some_and(|cell| cell.get_id() != actor) {
            return None;
        }
        (child.cell, child.progress) = (None, None);
        Some(key)
    }

    pub fn forget(&self, key: K) {
        self.write().by_key.remove(&key);
    }

    /// A child ended or could not be started.
    pub fn failed(&self, key: K, error: &str, jitter: Jitter) -> Verdict {
        let mut children = self.write();
        let record = children.by_key.entry(key).or_default().record.get_or_insert_default();
        record.last_error = Some(record.killed_because.take().unwrap_or_else(|| error.to_owned()));
        let verdict = record.budget.spend(Instant::now(), jitter);
        match verdict {
            Verdict::RestartAfter(_) => record.restarts += 1,
            Verdict::Quarantine => record.quarantined = true,
        }
        verdict
    }

    /// Whether the child has an actor.
    pub fn lives(&self, key: K) -> bool {
        self.read().by_key.get(&key).is_some_and(|child| child.cell.is_some())
    }

    /// Whether this is the actor that the child has now: what others say, who are no more, may be long untrue.
    pub fn is(&self, key: K, actor: ActorId) -> bool {
        self.read().by_key.get(&key).and_then(|child| child.cell.as_ref()).is_some_and(|cell| cell.get_id() == actor)
    }

    /// How many children there are, with and without an actor.
    pub fn len(&self) -> usize {
        self.read().by_key.len()
    }

    /// Why the child was set aside, if it was.
    pub fn quarantined(&self, key: K) -> Option<String> {
        let children = self.read();
        let record = children.by_key.get(&key)?.record.as_ref().filter(|record| record.quarantined)?;
        Some(record.last_error.clone().unwrap_or_default())
    }

    /// Someone wants it started again: it has its whole budget. Its actor, if it lives, is killed and comes back like one that failed.
    /// Answers whether it lived, or `None` when there is no such child.
    pub fn pardon(&self, key: K, because: &str) -> Option<bool> {
        let mut children = self.write();
        let child = children.by_key.get_mut(&key)?;
        let record = child.record.get_or_insert_default();
        record.budget = Budget::default();
        record.quarantined = false;
        let lives = child.cell.is_some();
        if let Some(cell) = &child.cell {
            record.killed_because = Some(because.to_owned());
            cell.kill();
        }
        Some(lives)
    }

    /// Kills the child's actor, at whatever await it is; it comes back like one that failed. Answers whether it lived.
    #[cfg(any(test, feature = "faults"))]
    pub fn kill(&self, key: K) -> bool {
        let cell = self.read().by_key.get(&key).and_then(|child| child.cell.clone());
        cell.as_ref().map(ActorCell::kill).is_some()
    }

    /// The same for all, in the order of their keys.
    #[cfg(any(test, feature = "faults"))]
    pub fn kill_all(&self) {
        self.read().by_key.values().filter_map(|child| child.cell.as_ref()).for_each(ActorCell::kill);
    }

    /// Kills those whose handler has been running for too long, and tells them and whose effect is overdue.
    pub fn look(&self) -> Vec<Trouble<K>> {
        let mut children = self.write();
        let mut found = Vec::new();
        for (key, child) in &mut children.by_key {
            let Some(progress) = &child.progress else { continue };
            if let Some(effect) = progress.overdue() {
                found.push(Trouble::Overdue { key: *key, effect });
                let record = child.record.get_or_insert_default();
                record.last_error = Some(format!("its effect {} took longer than {} s", effect.what, effect.lasts.as_secs()));
            }
            let seen = progress.seen();
            if seen.message.is_some_and(|message| message.lasts > STALL_AFTER) {
                let dump = seen.to_string();
                child.record.get_or_insert_default().killed_because = Some(format!("stuck in a handler: {dump}"));
                if let Some(cell) = &child.cell {
                    cell.kill();
                }
                found.push(Trouble::Stalled { key: *key, dump });
            }
        }
        found
    }

    /// Children behind `after` in the order of keys, at most `limit` of those that `wanted` wants.
    pub fn list(&self, after: Option<K>, limit: usize, wanted: impl Fn(&ChildInfo<K>) -> bool) -> Vec<ChildInfo<K>> {
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        let children = self.read();
        let all = children.by_key.range((behind, Bound::Unbounded)).map(|(key, child)| info(*key, child));
        all.filter(wanted).take(limit).collect()
    }

    pub fn get(&self, key: K) -> Option<ChildInfo<K>> {
        self.read().by_key.get(&key).map(|child| info(key, child))
    }

    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for (key, child) in &self.read().by_key {
            let info = info(*key, child);
            summary.children += 1;
            summary.restarts += u64::from(info.restarts);
            summary.mailbox += info.seen.mailbox;
            match info.state {
                "stalled" => summary.stalled += 1,
                "overdue" => summary.overdue += 1,
                "restarting" => summary.restarting += 1,
                "quarantined" => summary.quarantined += 1,
                _ => {}
            }
        }
        summary
    }

    fn read(&self) -> RwLockReadGuard<'_, Children<K>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Children<K>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn info<K>(key: K, child: &Child) -> ChildInfo<K> {
    let seen = child.progress.as_ref().map(|progress| progress.seen()).unwrap_or_default();
    let record = child.record.as_deref();
    let state = match &child.cell {
        _ if record.is_some_and(|record| record.quarantined) => "quarantined",
        None => "restarting",
        Some(_) if seen.message.is_some_and(|message| message.lasts > STALL_AFTER) => "stalled",
        Some(_) if seen.overdue => "overdue",
        Some(_) => "running",
    };
    ChildInfo {
        key,
        state,
        restarts: record.map_or(0, |record| record.restarts),
        last_error: record.and_then(|record| record.last_error.clone()),
        seen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervise::budget::RESTARTS_MAX;
    use std::time::Duration;

    #[test]
    fn one_that_cannot_start_is_quarantined_and_pardoned() {
        let roster: Roster<u8> = Roster::default();
        for _ in 0..RESTARTS_MAX {
            assert!(matches!(roster.failed(1, "no disk", Jitter::new(0.0)), Verdict::RestartAfter(_)));
            assert_eq!(roster.quarantined(1), None);
        }
        assert_eq!(roster.failed(1, "no disk", Jitter::new(0.0)), Verdict::Quarantine);
        assert_eq!(roster.quarantined(1).as_deref(), Some("no disk"));
        let [shown] = &roster.list(None, 9, ChildInfo::is_unusual)[..] else { panic!("it is to be seen") };
        assert_eq!((shown.state, shown.restarts), ("quarantined", RESTARTS_MAX));
        assert_eq!(roster.pardon(1, "someone asks"), Some(false));
        assert!(matches!(roster.failed(1, "no disk", Jitter::new(0.0)), Verdict::RestartAfter(_)), "a whole budget again");
        assert_eq!(roster.pardon(2, "someone asks"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_overdue_effect_is_told_once_and_shown() {
        let roster: Roster<u8> = Roster::default();
        let progress: Arc<Progress> = Arc::default();
        progress.performs("launch", Duration::from_secs(60));
        roster.write().by_key.insert(1, Child { progress: Some(Arc::clone(&progress)), ..Child::default() });
        assert!(roster.look().is_empty());
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(matches!(roster.look()[..], [Trouble::Overdue { key: 1, .. }]));
        assert!(roster.look().is_empty(), "once");
        let shown = roster.list(None, 9, |_| true);
        assert!(shown[0].last_error.as_deref().is_some_and(|error| error.contains("launch")), "{shown:?}");
    }

    #[test]
    fn lists_are_paged_in_order() {
        let roster: Roster<u8> = Roster::default();
        for key in [3, 1, 2] {
            roster.failed(key, "x", Jitter::new(0.0));
        }
        let keys = |after, limit| roster.list(after, limit, |_| true).iter().map(|child| child.key).collect::<Vec<_>>();
        assert_eq!((keys(None, 2), keys(Some(2), 2)), (vec![1, 2], vec![3]));
        assert_eq!(roster.summary(), Summary { children: 3, restarting: 3, restarts: 3, ..Summary::default() });
    }
}
