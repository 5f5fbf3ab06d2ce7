//! Whether the entries of a store are a journal's, whole: read in the order of their keys, from whatever reads them.
//!
//! Owns what must hold between entries: one head, events without a gap between the bounds that it names, every value with all its
//! chunks and no chunk without a value. Knows keys, not tables.

use super::layout::{self, Head};
use std::collections::HashMap;

/// What a whole journal has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub head: Head,
    pub records: u64,
    pub events: u64,
    /// Keys and values, chunks too.
    pub bytes: u64,
}

#[derive(Default)]
pub(crate) struct Checker {
    head: Option<Head>,
    first_event: u64,
    content: Content,
    /// Values in several entries: how many chunks they want and how many were met.
    chunked: HashMap<Vec<u8>, (u8, u8)>,
}

impl Checker {
    /// In ascending order of keys.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.content.bytes += (key.len() + value.len()) as u64;
        if key == layout::HEAD {
            self.head = Some(Head::decode(value).ok_or_else(|| format!("the head has {} bytes", value.len()))?);
            return Ok(());
        }
        if let Some((owner, number)) = layout::chunk_owner(key) {
            // Chunks sort behind all values.
            return match self.chunked.get_mut(owner) {
                Some((wanted, met)) if number == *met + 1 && number <= *wanted => {
                    *met = number;
                    Ok(())
                }
                _ => Err(format!("chunk {number} of {} belongs to no value", owner.escape_ascii())),
            };
        }
        let first = layout::First::of(value).ok_or_else(|| format!("the entry {} is empty", key.escape_ascii()))?;
        if first.chunks > 0 {
            self.chunked.insert(key.to_vec(), (first.chunks, 0));
        }
        match layout::event_cursor(key) {
            Some(cursor) if self.content.events == 0 => self.first_event = cursor,
            Some(cursor) if cursor != self.first_event + self.content.events => {
                return Err(format!("event {} is missing", self.first_event + self.content.events));
            }
            Some(_) => {}
            None if layout::is_record(key) => {
                self.content.records += 1;
                return Ok(());
            }
            None => return Err(format!("{} is no key of a journal", key.escape_ascii())),
        }
        self.content.events += 1;
        Ok(())
    }

    /// # Errors
    /// As `entry`.
    pub fn finish(self) -> Result<Content, String> {
        let head = self.head.ok_or("it has no head")?;
        let last = (self.first_event + self.content.events).saturating_sub(1);
        let bounds = if self.content.events == 0 { (0, 0) } else { (self.first_event, last) };
        if bounds != (head.oldest, head.latest) {
            return Err(format!(
                "the head says events {} to {}, there are {} to {}",
                head.oldest, head.latest, bounds.0, bounds.1
            ));
        }
        if let Some((owner, (wanted, met))) = self.chunked.iter().find(|(_, (wanted, met))| wanted != met) {
            return Err(format!("{} has {met} of its {wanted} chunks", owner.escape_ascii()));
        }
        Ok(Content { head, ..self.content })
    }
}
