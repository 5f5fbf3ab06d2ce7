//! One kind's rows, by id, and by what lists are narrowed by.

use super::{
    ids::{Direction, Ids},
    index::Index,
};
use domain::{Labels, Name};
use std::{collections::BTreeMap, ops::Bound};

pub trait Row: Clone {
    type Key: Copy + Ord;
    /// Whether a name finds a row.
    const NAMES_ARE_UNIQUE: bool = true;
    fn key(&self) -> Self::Key;
    /// Project and name.
    fn name(&self) -> (&Name, &Name);
    fn labels(&self) -> Option<&Labels>;
    fn state(&self) -> &'static str;
}

/// Which rows are asked for.
#[derive(Debug, Clone)]
pub struct Page<K> {
    /// Rows behind this one.
    pub after: Option<K>,
    pub limit: usize,
    pub name: Option<String>,
    pub state: Option<String>,
    pub labels: Vec<(String, String)>,
    /// Newest first instead of oldest first; `after` then means before.
    pub newest_first: bool,
}

impl<K> Page<K> {
    pub fn first(limit: usize) -> Page<K> {
        Page { after: None, limit, name: None, state: None, labels: Vec::new(), newest_first: false }
    }

    fn wants<R: Row>(&self, row: &R) -> bool {
        self.name.as_deref().is_none_or(|name| row.name().1.as_str() == name)
            && self.state.as_deref().is_none_or(|state| row.state() == state)
            && self.labels.iter().all(|(key, value)| row.labels().and_then(|labels| labels.get(key)) == Some(value))
    }
}

pub struct Table<R: Row> {
    rows: BTreeMap<R::Key, R>,
    index: Index<R::Key>,
}

impl<R: Row> Default for Table<R> {
    fn default() -> Self {
        Table { rows: BTreeMap::new(), index: Index::default() }
    }
}

impl<R: Row> Table<R> {
    pub fn get(&self, key: &R::Key) -> Option<&R> {
        self.rows.get(key)
    }

    /// The row of that name in that project. A name is in as many rows as there are projects that use it.
    pub fn find(&self, project: &Name, name: &Name) -> Option<R::Key> {
        let mut ids = self.index.named(name.as_str())?.iter();
        ids.find(|key| R::NAMES_ARE_UNIQUE && self.rows.get(key).is_some_and(|row| row.name().0 == project))
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn rows(&self) -> impl Iterator<Item = &R> {
        self.rows.values()
    }

    pub fn by_state(&self) -> Vec<(&'static str, usize)> {
        self.index.states().collect()
    }

    /// Costs what the page has, or, of several filters, at most what the narrowest of them lets through: never the whole table.
    pub fn page(&self, page: &Page<R::Key>) -> (Vec<R>, bool) {
        let direction = if page.newest_first { Direction::Down } else { Direction::Up };
        let behind = page.after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = match self.narrowest(page) {
            Narrowest::Nothing => Vec::new(),
            Narrowest::Ids(ids) => collect(ids.from(behind, direction).filter_map(|key| self.rows.get(&key)), page),
            Narrowest::All if page.newest_first => collect(self.rows.range((Bound::Unbounded, behind)).rev().map(row), page),
            Narrowest::All => collect(self.rows.range((behind, Bound::Unbounded)).map(row), page),
        };
        let more = found.len() > page.limit;
        found.truncate(page.limit);
        (found, more)
    }

    /// The smallest set of rows that a filter of the page leaves.
    fn narrowest(&self, page: &Page<R::Key>) -> Narrowest<'_, R::Key> {
        let name = page.name.as_deref().map(|name| self.index.named(name));
        let state = page.state.as_deref().map(|state| self.index.in_state(state));
        let labels = page.labels.iter().map(|(key, value)| self.index.labelled(key, value));
        let mut least = Narrowest::All;
        for ids in name.into_iter().chain(state).chain(labels) {
            let Some(ids) = ids else { return Narrowest::Nothing };
            match least {
                Narrowest::Ids(known) if known.len() <= ids.len() => {}
                _ => least = Narrowest::Ids(ids),
            }
        }
        least
    }

    pub fn put(&mut self, row: R) {
        let key = row.key();
        let before = self.rows.insert(key, row);
        self.index.moved(before.as_ref(), self.rows.get(&key));
    }

    /// Changes what no list is narrowed by.
    pub fn touch(&mut self, key: &R::Key, change: impl FnOnce(&mut R)) {
        if let Some(row) = self.rows.get_mut(key) {
            change(row);
        }
    }

    pub fn remove(&mut self, key: &R::Key) {
        if let Some(row) = self.rows.remove(key) {
            self.index.moved(Some(&row), None);
        }
    }
}

enum Narrowest<'a, K> {
    /// No filter: every row.
    All,
    Ids(&'a Ids<K>),
    /// A filter that nothing passes.
    Nothing,
}

fn row<'a, R: Row>((_, row): (&'a R::Key, &'a R)) -> &'a R {
    row
}

/// One more than the limit, to know whether there is one.
fn collect<'a, R: Row + 'a>(rows: impl Iterator<Item = &'a R>, page: &Page<R::Key>) -> Vec<R> {
    rows.filter(|row| page.wants(*row)).take(page.limit.saturating_add(1)).cloned().collect()
}

#[cfg(test)]
mod tests;
