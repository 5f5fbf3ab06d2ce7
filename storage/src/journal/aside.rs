//! Records that could not be read, moved out of the way with their bytes, so that the rest starts.
//!
//! Owns the table `set-aside` and the shape of its records. It does not decide what is unreadable.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::envelope::Stored;

/// The table. Its records may be deleted like others once somebody has looked at them.
pub const SET_ASIDE: &str = "set-aside";

/// A record set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    pub table: String,
    pub key: String,
    /// As they lay in the journal.
    pub bytes: Vec<u8>,
    pub why: String,
    /// Since 1970, by this machine's clock.
    pub at_ms: u64,
}

impl Stored for SetAside {
    const SCHEMA: u16 = 1;
    const NAME: &'static str = "set-aside record";
}

/// Reasons are for people; a longer one is cut, at a character.
const MAX_WHY_BYTES: usize = 1024;

impl SetAside {
    /// As the journal makes one.
    #[cfg(any(test, fuzzing))]
    pub fn fuzzed(table: &str, key: &str, bytes: Vec<u8>, why: &str) -> SetAside {
        SetAside::new(table, key, bytes, why)
    }

    /// As of now, by this machine's clock.
    pub fn new(table: &str, key: &str, bytes: Vec<u8>, why: &str) -> SetAside {
        let mut end = why.len().min(MAX_WHY_BYTES);
        while !why.is_char_boundary(end) {
            end -= 1;
        }
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
        SetAside { table: table.into(), key: key.into(), bytes, why: why[..end].into(), at_ms }
    }
}
