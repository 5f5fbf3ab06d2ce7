//! A set of ids that is nearly always of one, as names and rare labels have them, or of very many, as states have them.

use std::{collections::BTreeSet, ops::Bound};

/// One id needs no allocation: with 100,000 rows of distinct names a set for each would cost 200 bytes a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ids<K> {
    One(K),
    Many(BTreeSet<K>),
}

impl<K: Copy + Ord> Ids<K> {
    pub fn insert(&mut self, key: K) {
        match self {
            Ids::One(only) if *only == key => {}
            Ids::One(only) => *self = Ids::Many(BTreeSet::from([*only, key])),
            Ids::Many(keys) => {
                keys.insert(key);
            }
        }
    }

    /// Whether none is left: the whole set is then to be dropped.
    #[must_use]
    pub fn remove(&mut self, key: K) -> bool {
        match self {
            Ids::One(only) => *only == key,
            Ids::Many(keys) => {
                keys.remove(&key);
                keys.is_empty()
            }
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Ids::One(_) => 1,
            Ids::Many(keys) => keys.len(),
        }
    }

    pub fn iter(&self) -> Box<dyn Iterator<Item = K> + '_> {
        self.from(Bound::Unbounded, Direction::Up)
    }

    /// In order, or backwards, beginning behind `after`.
    pub fn from(&self, after: Bound<K>, direction: Direction) -> Box<dyn Iterator<Item = K> + '_> {
        match (self, direction) {
            (Ids::One(only), Direction::Up) => Box::new(Some(*only).filter(|key| is_above(*key, after)).into_iter()),
            (Ids::One(only), Direction::Down) => Box::new(Some(*only).filter(|key| is_below(*key, after)).into_iter()),
            (Ids::Many(keys), Direction::Up) => Box::new(keys.range((after, Bound::Unbounded)).copied()),
            (Ids::Many(keys), Direction::Down) => Box::new(keys.range((Bound::Unbounded, after)).rev().copied()),
        }
    }
}

/// Towards newer or towards older rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
}

fn is_above<K: Ord>(key: K, bound: Bound<K>) -> bool {
    match bound {
        Bound::Unbounded => true,
        Bound::Included(least) => key >= least,
        Bound::Excluded(least) => key > least,
    }
}

fn is_below<K: Ord>(key: K, bound: Bound<K>) -> bool {
    match bound {
        Bound::Unbounded => true,
        Bound::Included(most) => key <= most,
        Bound::Excluded(most) => key < most,
    }
}
