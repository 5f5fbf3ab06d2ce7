//! Which rows have which name, state and label. Kept beside the rows by their table, which tells it of every change.

use super::{ids::Ids, table::Row};
use domain::{Labels, Name};
use std::{borrow::Borrow, collections::BTreeMap};

/// Every row is under its name, its state and each of its labels, and under nothing else.
#[derive(Debug)]
pub struct Index<K> {
    names: BTreeMap<Name, Ids<K>>,
    states: BTreeMap<&'static str, Ids<K>>,
    labels: BTreeMap<String, BTreeMap<String, Ids<K>>>,
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Index { names: BTreeMap::new(), states: BTreeMap::new(), labels: BTreeMap::new() }
    }
}

impl<K: Copy + Ord> Index<K> {
    pub fn named(&self, name: &str) -> Option<&Ids<K>> {
        self.names.get(name)
    }

    pub fn in_state(&self, state: &str) -> Option<&Ids<K>> {
        self.states.get(state)
    }

    pub fn labelled(&self, key: &str, value: &str) -> Option<&Ids<K>> {
        self.labels.get(key)?.get(value)
    }

    pub fn states(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.states.iter().map(|(state, ids)| (*state, ids.len()))
    }

    /// The row is now so, and was so before. What did not change costs nothing.
    pub fn moved<R: Row<Key = K>>(&mut self, before: Option<&R>, now: Option<&R>) {
        let Some(key) = now.or(before).map(Row::key) else { return };
        let name = |row: &R| row.name().1.clone();
        change(&mut self.names, key, before.map(name), now.map(name));
        change(&mut self.states, key, before.map(Row::state), now.map(Row::state));
        let (old, new) = (before.and_then(Row::labels), now.and_then(Row::labels));
        if old != new {
            self.relabel(key, old, new);
        }
    }

    fn relabel(&mut self, key: K, old: Option<&Labels>, new: Option<&Labels>) {
        let has = |labels: Option<&Labels>, name: &str, value: &str| {
            labels.and_then(|labels| labels.get(name)).is_some_and(|other| other == value)
        };
        for (name, value) in old.into_iter().flatten().filter(|(name, value)| !has(new, name, value)) {
            if let Some(values) = self.labels.get_mut(name) {
                take(values, value, key);
                if values.is_empty() {
                    self.labels.remove(name);
                }
            }
        }
        for (name, value) in new.into_iter().flatten().filter(|(name, value)| !has(old, name, value)) {
            put(self.labels.entry(name.clone()).or_default(), value.clone(), key);
        }
    }
}

fn change<W: Ord + Clone, K: Copy + Ord>(map: &mut BTreeMap<W, Ids<K>>, key: K, before: Option<W>, now: Option<W>) {
    if before == now {
        return;
    }
    if let Some(before) = before {
        take(map, &before, key);
    }
    if let Some(now) = now {
        put(map, now, key);
    }
}

fn put<W: Ord, K: Copy + Ord>(map: &mut BTreeMap<W, Ids<K>>, word: W, key: K) {
    map.entry(word).and_modify(|ids| ids.insert(key)).or_insert(Ids::One(key));
}

fn take<W: Ord + Borrow<Q>, Q: Ord + ?Sized, K: Copy + Ord>(map: &mut BTreeMap<W, Ids<K>>, word: &Q, key: K) {
    if map.get_mut(word).is_some_and(|ids| ids.remove(key)) {
        map.remove(word);
    }
}
