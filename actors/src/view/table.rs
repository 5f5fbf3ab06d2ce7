//! One kind's rows, by id and by name.

use domain::{Labels, Name};
use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    ops::Bound,
};

pub trait Row: Clone {
    type Key: Copy + Ord + Hash;
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
    names: HashMap<(Name, Name), R::Key>,
}

impl<R: Row> Default for Table<R> {
    fn default() -> Self {
        Table { rows: BTreeMap::new(), names: HashMap::new() }
    }
}

impl<R: Row> Table<R> {
    pub fn get(&self, key: &R::Key) -> Option<&R> {
        self.rows.get(key)
    }

    pub fn find(&self, project: &Name, name: &Name) -> Option<R::Key> {
        self.names.get(&(project.clone(), name.clone())).copied()
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn rows(&self) -> impl Iterator<Item = &R> {
        self.rows.values()
    }

    pub fn by_state(&self) -> Vec<(&'static str, usize)> {
        let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
        for row in self.rows.values() {
            *counts.entry(row.state()).or_default() += 1;
        }
        counts.into_iter().collect()
    }

    pub fn page(&self, page: &Page<R::Key>) -> (Vec<R>, bool) {
        let behind = page.after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = if page.newest_first {
            collect(self.rows.range((Bound::Unbounded, behind)).rev(), page)
        } else {
            collect(self.rows.range((behind, Bound::Unbounded)), page)
        };
        let more = found.len() > page.limit;
        found.truncate(page.limit);
        (found, more)
    }

    pub fn put(&mut self, row: R) {
        let key = row.key();
        let old = self.rows.get(&key).map(|old| (old.name().0.clone(), old.name().1.clone()));
        let new = (row.name().0.clone(), row.name().1.clone());
        if R::NAMES_ARE_UNIQUE && old.as_ref() != Some(&new) {
            if let Some(old) = old {
                self.names.remove(&old);
            }
            self.names.insert(new, key);
        }
        self.rows.insert(key, row);
    }

    pub fn touch(&mut self, key: &R::Key, change: impl FnOnce(&mut R)) {
        if let Some(row) = self.rows.get_mut(key) {
            change(row);
        }
    }

    pub fn remove(&mut self, key: &R::Key) {
        if let Some(row) = self.rows.remove(key) {
            let name = (row.name().0.clone(), row.name().1.clone());
            if R::NAMES_ARE_UNIQUE && self.names.get(&name) == Some(key) {
                self.names.remove(&name);
            }
        }
    }
}

/// One more than the limit, to know whether there is one.
fn collect<'a, R: Row + 'a>(rows: impl Iterator<Item = (&'a R::Key, &'a R)>, page: &Page<R::Key>) -> Vec<R> {
    rows.map(|(_, row)| row).filter(|row| page.wants(*row)).take(page.limit.saturating_add(1)).cloned().collect()
}
