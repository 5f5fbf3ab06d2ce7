//! The indexes against a scan: whatever was put, changed and removed, a page by index is the page that looking at every row gives.

use super::{Page, Row, Table};
use domain::{Labels, Name};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Thing {
    id: u8,
    project: Name,
    name: Name,
    state: &'static str,
    labels: Labels,
}

impl Row for Thing {
    type Key = u8;
    // Several may share one here: that is what the index must bear.
    fn key(&self) -> u8 {
        self.id
    }
    fn name(&self) -> (&Name, &Name) {
        (&self.project, &self.name)
    }
    fn labels(&self) -> Option<&Labels> {
        Some(&self.labels)
    }
    fn state(&self) -> &'static str {
        self.state
    }
}

#[derive(Debug, Clone)]
enum Change {
    Put(Thing),
    Remove(u8),
}

const WORDS: [&str; 3] = ["a", "b", "c"];

fn name(index: usize) -> Name {
    WORDS[index].parse().expect("a letter is a name")
}

fn thing() -> impl Strategy<Value = Thing> {
    let labels = prop::collection::btree_map(prop::sample::select(&WORDS[..]), prop::sample::select(&WORDS[..]), 0..3);
    (0..24u8, 0..2usize, 0..3usize, prop::sample::select(&WORDS[..]), labels).prop_map(|(id, project, named, state, labels)| {
        Thing {
            id,
            project: name(project),
            name: name(named),
            state,
            labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        }
    })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![3 => thing().prop_map(Change::Put), 1 => (0..24u8).prop_map(Change::Remove)]
}

fn page() -> impl Strategy<Value = Page<u8>> {
    // One word more than there is: filters that nothing passes.
    let word = || prop::sample::select(vec!["a", "b", "c", "none"]);
    let labels = prop::collection::vec((word(), word()), 0..3);
    (prop::option::of(0..25u8), 0..6usize, prop::option::of(word()), prop::option::of(word()), labels, any::<bool>()).prop_map(
        |(after, limit, name, state, labels, newest_first)| Page {
            after,
            limit,
            name: name.map(str::to_owned),
            state: state.map(str::to_owned),
            labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            newest_first,
        },
    )
}

/// What the page is, by looking at every row.
fn scanned(rows: &BTreeMap<u8, Thing>, page: &Page<u8>) -> (Vec<Thing>, bool) {
    let behind = |row: &&Thing| match page.after {
        None => true,
        Some(after) if page.newest_first => row.id < after,
        Some(after) => row.id > after,
    };
    let wanted = |row: &&Thing| {
        page.name.as_deref().is_none_or(|name| row.name.as_str() == name)
            && page.state.as_deref().is_none_or(|state| row.state == state)
            && page.labels.iter().all(|(key, value)| row.labels.get(key) == Some(value))
    };
    let mut found: Vec<Thing> = rows.values().filter(behind).filter(wanted).cloned().collect();
    if page.newest_first {
        found.reverse();
    }
    let more = found.len() > page.limit;
    found.truncate(page.limit);
    (found, more)
}

proptest! {
    #[test]
    fn a_page_by_index_is_the_page_by_scan(changes in prop::collection::vec(change(), 0..80), pages in prop::collection::vec(page(), 1..12)) {
        let mut table: Table<Thing> = Table::default();
        let mut rows = BTreeMap::new();
        for change in changes {
            match change {
                Change::Put(row) => {
                    rows.insert(row.id, row.clone());
                    table.put(row);
                }
                Change::Remove(id) => {
                    rows.remove(&id);
                    table.remove(&id);
                }
            }
        }
        prop_assert_eq!(table.len(), rows.len());
        for page in &pages {
            prop_assert_eq!(table.page(page), scanned(&rows, page), "{:?}", page);
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for row in rows.values() {
            *counts.entry(row.state).or_default() += 1;
        }
        prop_assert_eq!(table.by_state(), counts.into_iter().collect::<Vec<_>>());
        for (project, named) in (0..2).flat_map(|project| (0..3).map(move |named| (name(project), name(named)))) {
            let first = rows.values().find(|row| row.project == project && row.name == named).map(|row| row.id);
            prop_assert_eq!(table.find(&project, &named), first);
        }
        // Nothing is left of what went.
        for id in rows.keys() {
            table.remove(id);
        }
        prop_assert_eq!(format!("{:?}", table.index), format!("{:?}", super::Index::<u8>::default()));
    }
}
