//! A table as it was loaded.
//!
//! Owns nothing but the records; decoding them is the caller's, with a helper that keeps one bad record from hiding
//! the rest.

use crate::envelope::{self, DecodeError, Stored};

/// All records of a table at one moment: (key, envelope), in the order of the keys' bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    pub records: Vec<(String, Vec<u8>)>,
}

/// A table decoded: what could be read and what could not. The latter is for `Journal::set_aside`.
#[derive(Debug)]
pub struct Split<T> {
    pub good: Vec<(String, T)>,
    pub bad: Vec<(String, DecodeError)>,
}

impl Loaded {
    pub fn decode<T: Stored>(&self) -> Split<T> {
        let mut split = Split { good: Vec::with_capacity(self.records.len()), bad: Vec::new() };
        for (key, bytes) in &self.records {
            match envelope::decode(bytes) {
                Ok(value) => split.good.push((key.clone(), value)),
                Err(error) => split.bad.push((key.clone(), error)),
            }
        }
        split
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

impl IntoIterator for Loaded {
    type Item = (String, Vec<u8>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.records.into_iter()
    }
}
