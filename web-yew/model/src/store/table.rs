//! One kind's rows and how far they are loaded.

use super::{How, Page};
use crate::resource::{Resource, Rows, Shared};
use api::problem::Problem;
use std::collections::VecDeque;
use std::rc::Rc;

/// Ids are never used again, so a short memory of the deleted is enough to keep an answer that was already under way from bringing a
/// row back.
const REMEMBER_GONE: usize = 256;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was ever loaded.
    #[default]
    New,
    Loading,
    Loaded,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Table<T> {
    rows: Rc<Rows<T>>,
    gone: Rc<VecDeque<String>>,
    pub phase: Phase,
    /// The newest list failed; the rows are those of before.
    pub error: Option<Problem>,
    pub more: Option<String>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { rows: Rc::default(), gone: Rc::default(), phase: Phase::New, error: None, more: None }
    }
}

impl<T: Resource + PartialEq> Table<T> {
    pub fn rows(&self) -> impl Iterator<Item = &Shared<T>> {
        self.rows.values()
    }

    pub fn get(&self, id: &str) -> Option<&Shared<T>> {
        self.rows.get(id)
    }

    /// By id or, because a person may have typed the address, by name.
    pub fn find(&self, id_or_name: &str) -> Option<&Shared<T>> {
        self.get(id_or_name).or_else(|| self.rows().find(|row| row.name() == id_or_name))
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Nothing to show yet, and nothing known to be wrong.
    pub fn pending(&self) -> bool {
        self.rows.is_empty() && self.phase != Phase::Loaded && self.error.is_none()
    }

    pub fn started(&mut self) {
        self.phase = Phase::Loading;
    }

    pub fn failed(&mut self, error: Problem) {
        self.error = Some(error);
        self.phase = if self.rows.is_empty() { Phase::New } else { Phase::Loaded };
    }

    pub fn listed(&mut self, page: Page<T>) {
        let mut rows = match page.how {
            How::Replace => Rows::new(),
            How::Append => (*self.rows).clone(),
        };
        for row in page.rows {
            if self.gone.iter().any(|gone| gone == row.id()) {
                continue;
            }
            // A single fetch may have overtaken the list.
            let kept = self.rows.get(row.id()).filter(|known| known.generation() > row.generation() || ***known == row);
            rows.insert(row.id().to_owned(), kept.cloned().unwrap_or_else(|| Shared::new(row)));
        }
        self.rows = Rc::new(rows);
        self.more = page.more;
        self.phase = Phase::Loaded;
        self.error = None;
    }

    pub fn put(&mut self, row: T) {
        let stale = self.rows.get(row.id()).is_some_and(|known| known.generation() > row.generation());
        if stale || self.gone.iter().any(|gone| gone == row.id()) {
            return;
        }
        Rc::make_mut(&mut self.rows).insert(row.id().to_owned(), Shared::new(row));
    }

    pub fn remove(&mut self, id: &str) {
        if self.rows.contains_key(id) {
            Rc::make_mut(&mut self.rows).remove(id);
        }
        let gone = Rc::make_mut(&mut self.gone);
        gone.push_back(id.to_owned());
        if gone.len() > REMEMBER_GONE {
            gone.pop_front();
        }
    }
}
