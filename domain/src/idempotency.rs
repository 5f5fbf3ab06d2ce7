//! How long an idempotency key stands for what it did, and its place in the index by time. Pure; what was answered to a key, and the tables,
//! are `actors`'.
//!
//! The index's entries are made of the hour in which a key was used, in hexadecimal digits of one length, and the key: in their order, what
//! is due comes first, and what a clock that was wrong has put far ahead comes last. An entry says where to look and no more: a key
//! that is used again has another record and one more entry.

use crate::Timestamp;
use std::ops::Range;

/// The contract's day.
pub const KEPT_MS: u64 = 24 * 60 * 60 * 1000;
const HOUR_MS: u64 = 60 * 60 * 1000;
/// Digits of the largest hour that a timestamp can name.
const DIGITS: usize = 11;
/// Behind every entry: `g` follows the digits.
const END: &str = "g";
/// Not an entry, and behind them: every key that is kept has its entry. Absent in a journal of a hearth that had no index.
pub const COMPLETE: &str = "~complete";

/// Whether a key that was used at `at` still stands for what it did. One from a time that has not come was used under a clock that was
/// wrong: it counts for a day from either side, so that such a clock does not keep it for years.
pub fn counts(at: Timestamp, now: Timestamp) -> bool {
    now.0.abs_diff(at.0) < KEPT_MS
}

/// The entry of a key that was used at `at`: 12 bytes longer than the key.
pub fn entry(at: Timestamp, key: &str) -> String {
    format!("{}/{key}", hour(at.0 / HOUR_MS))
}

/// The key of an entry.
pub fn key_of(entry: &str) -> Option<&str> {
    let (hour, key) = entry.split_once('/')?;
    (hour.len() == DIGITS).then_some(key)
}

/// Where the entries lie of which no key counts at `now`, whichever the minute of its hour: before a day ago, and after a day from now.
pub fn due(now: Timestamp) -> [Range<String>; 2] {
    let ago = now.0.saturating_sub(KEPT_MS) / HOUR_MS;
    let ahead = now.0.saturating_add(KEPT_MS).div_ceil(HOUR_MS);
    [String::new()..hour(ago), hour(ahead)..END.to_owned()]
}

fn hour(number: u64) -> String {
    format!("{number:0DIGITS$x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_767_225_600_000;

    fn is_due(at: u64, now: u64) -> bool {
        let entry = entry(Timestamp(at), "k");
        due(Timestamp(now)).iter().any(|range| range.contains(&entry))
    }

    /// What lies in journals: it may not change without another name for the table.
    #[test]
    fn an_entry_is_as_it_always_was() {
        assert_eq!(entry(Timestamp(NOW), "a/b"), "00000077d90/a/b");
        assert_eq!(entry(Timestamp(0), "k"), "00000000000/k");
        assert_eq!(key_of(&entry(Timestamp(u64::MAX), "a/b")), Some("a/b"));
        assert_eq!(key_of(COMPLETE), None);
        assert!(entry(Timestamp(u64::MAX), &"k".repeat(255)).as_str() < END && END < COMPLETE);
    }

    #[test]
    fn what_is_due_counts_no_more_and_what_counts_is_never_due() {
        for now in [0, 1, KEPT_MS, NOW, NOW + 1, NOW + HOUR_MS - 1, u64::MAX] {
            for near in [0, now.saturating_sub(KEPT_MS), now, now.saturating_add(KEPT_MS), u64::MAX] {
                for at in [-2, -1, 0, 1, 2].iter().flat_map(|hours: &i64| {
                    let at = near.saturating_add_signed(hours * HOUR_MS as i64);
                    [at.saturating_sub(1), at, at.saturating_add(1)]
                }) {
                    let counts = counts(Timestamp(at), Timestamp(now));
                    assert!(!(counts && is_due(at, now)), "{at} at {now}");
                    // At most an hour late, which is the index's grain.
                    let long_ago = now.abs_diff(at) >= KEPT_MS + HOUR_MS;
                    assert!(!long_ago || is_due(at, now), "{at} at {now}");
                }
            }
        }
    }
}
