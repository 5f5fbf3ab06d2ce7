//! Names on their way into the view, which knows all others: of what is being made, or about to be called otherwise. A name is held from the
//! moment in which an actor is told to take it until that actor says that it has, or has not. So no two can take it between a look and the
//! commit.
//!
//! ```text
//!           told          the actor says so
//!  (free) --------> held ------------------> free, or in the view
//!                    |                            ^
//!                    | the actor is no more       | the next one has loaded the record
//!                    +--------> in doubt ---------+
//! ```
//! What an actor was told that is no more may be durable, or become so: it stays held until somebody knows.

use domain::Name;
use std::{collections::HashMap, hash::Hash};

/// Project and name.
pub(crate) type Key = (Name, Name);

#[derive(Debug)]
pub(crate) struct Names<I> {
    holders: HashMap<Key, I>,
    /// The same by holder, each as often as it was told, so that one that goes is not searched for.
    told: HashMap<I, Vec<Key>>,
    doubtful: HashMap<I, Vec<Key>>,
}

impl<I> Default for Names<I> {
    fn default() -> Names<I> {
        Names { holders: HashMap::new(), told: HashMap::new(), doubtful: HashMap::new() }
    }
}

impl<I: Copy + Eq + Hash> Names<I> {
    pub fn holder(&self, key: &Key) -> Option<I> {
        self.holders.get(key).copied()
    }

    pub fn hold(&mut self, id: I, key: Key) {
        self.holders.insert(key.clone(), id);
        self.told.entry(id).or_default().push(key);
    }

    /// Of one that was told so: it is in the view, or was not taken. Another of the same id may hold it still.
    pub fn settled(&mut self, id: I, name: &Name) {
        let Some(told) = self.told.get_mut(&id) else { return };
        let Some(at) = told.iter().position(|key| key.1 == *name) else { return };
        let key = told.swap_remove(at);
        if !told.contains(&key) {
            self.holders.remove(&key);
        }
        if told.is_empty() {
            self.told.remove(&id);
        }
    }

    /// Its actor is no more.
    pub fn doubt(&mut self, id: I) {
        if let Some(told) = self.told.remove(&id) {
            self.doubtful.entry(id).or_default().extend(told);
        }
    }

    /// Its record was loaded again: of what was in doubt, what was done is in the view, and nobody does the rest any more. What its next actor
    /// was told since is no part of it: that is still to be done.
    pub fn loaded(&mut self, id: I) {
        for key in self.doubtful.remove(&id).unwrap_or_default() {
            if !self.told.get(&id).is_some_and(|told| told.contains(&key)) {
                self.holders.remove(&key);
            }
        }
    }

    /// It holds nothing any more.
    pub fn let_go(&mut self, id: I) {
        self.doubt(id);
        self.loaded(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        ("default".parse().unwrap(), name.parse().unwrap())
    }

    /// Which of the names somebody holds.
    fn held(names: &Names<u8>) -> String {
        ["a", "b", "c"].into_iter().filter(|name| names.holder(&key(name)).is_some()).collect()
    }

    #[test]
    fn each_change_on_its_way_holds_its_own_name() {
        let mut names = Names::default();
        for name in ["a", "b", "b"] {
            names.hold(1, key(name));
        }
        assert_eq!(names.holder(&key("a")), Some(1));
        names.settled(1, &key("a").1);
        assert_eq!(held(&names), "b", "the first that is through frees no other's");
        names.settled(1, &key("b").1);
        assert_eq!(held(&names), "b", "another is to take it still");
        names.settled(2, &key("b").1);
        names.settled(1, &key("c").1);
        assert_eq!(held(&names), "b", "who does not hold it frees nothing");
        names.settled(1, &key("b").1);
        assert_eq!(held(&names), "");
    }

    #[test]
    fn what_a_fallen_actor_was_told_stays_held_until_somebody_knows() {
        let mut names = Names::default();
        names.hold(1, key("a"));
        names.hold(1, key("b"));
        names.doubt(1);
        names.doubt(1);
        names.settled(1, &key("a").1);
        assert_eq!(held(&names), "ab");
        // The next actor is told before it says that it has loaded.
        names.hold(1, key("b"));
        names.hold(2, key("c"));
        names.loaded(1);
        assert_eq!(held(&names), "bc");
        names.let_go(1);
        assert_eq!(held(&names), "c");
        names.let_go(2);
        assert_eq!(held(&names), "");
        assert!(names.told.is_empty() && names.doubtful.is_empty(), "{names:?}");
    }
}
