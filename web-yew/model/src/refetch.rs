//! Which requests the events ask for. A resource has at most one request in flight; events that arrive meanwhile become one more.
//!
//! Contract: every key that [`Refetch::want`] or [`Refetch::done`] returns is requested, and `done` is called when its answer is in,
//! good or bad.

use crate::resource::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// Browsers open about six connections a server; more would only wait in the browser, out of our sight.
pub const IN_FLIGHT_AT_MOST: usize = 6;
/// Beyond this, one list is cheaper than that many single requests.
pub const WAITING_AT_MOST: usize = 100;

pub type Key = (Kind, String);

#[derive(Debug, Default)]
pub struct Refetch {
    /// In flight; true: it changed again meanwhile.
    flying: BTreeMap<Key, bool>,
    waiting: BTreeSet<Key>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Fetch(Vec<Key>),
    /// Too many changed at once: list everything again.
    Relist,
}

impl Refetch {
    pub fn want(&mut self, key: Key) -> Next {
        if let Some(again) = self.flying.get_mut(&key) {
            *again = true;
            return Next::Fetch(vec![]);
        }
        self.waiting.insert(key);
        if self.waiting.len() > WAITING_AT_MOST {
            self.waiting.clear();
            return Next::Relist;
        }
        Next::Fetch(self.start())
    }

    pub fn done(&mut self, key: &Key) -> Vec<Key> {
        if self.flying.remove(key) == Some(true) {
            self.waiting.insert(key.clone());
        }
        self.start()
    }

    /// Nothing needs fetching any more: a list has just brought it, or we are signed out.
    pub fn forget_waiting(&mut self) {
        self.waiting.clear();
    }

    fn start(&mut self) -> Vec<Key> {
        let mut started = vec![];
        while self.flying.len() < IN_FLIGHT_AT_MOST {
            let Some(key) = self.waiting.pop_first() else { break };
            self.flying.insert(key.clone(), false);
            started.push(key);
        }
        started
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        (Kind::Vm, format!("vm_{number:04}"))
    }

    #[test]
    fn a_burst_about_one_resource_is_two_requests() {
        let mut refetch = Refetch::default();
        assert_eq!(refetch.want(key(1)), Next::Fetch(vec![key(1)]));
        for _ in 0..50 {
            assert_eq!(refetch.want(key(1)), Next::Fetch(vec![]));
        }
        assert_eq!(refetch.done(&key(1)), vec![key(1)]);
        assert_eq!(refetch.done(&key(1)), vec![]);
    }

    #[test]
    fn never_more_in_flight_than_the_bound() {
        let mut refetch = Refetch::default();
        let mut started = vec![];
        for number in 0..50 {
            if let Next::Fetch(keys) = refetch.want(key(number)) {
                started.extend(keys);
            }
        }
        assert_eq!(started.len(), IN_FLIGHT_AT_MOST);
        let mut seen = started.len();
        while let Some(done) = started.pop() {
            let next = refetch.done(&done);
            seen += next.len();
            started.extend(next);
            assert!(started.len() <= IN_FLIGHT_AT_MOST);
        }
        assert_eq!(seen, 50);
    }

    #[test]
    fn a_storm_becomes_a_list() {
        let mut refetch = Refetch::default();
        let relists = (0..=WAITING_AT_MOST + IN_FLIGHT_AT_MOST).filter(|&n| refetch.want(key(n)) == Next::Relist).count();
        assert_eq!(relists, 1);
    }
}
