//! When each part of a console's log was first seen. Pure. The log's writer tells no times, so they are those of hearth's looks: each second, and
//! whenever somebody reads with times. What was printed while nobody could look has a time before which it was; what is older than all that is
//! remembered has none.

use std::collections::VecDeque;

/// Four looks a second bring one each, at most: a guest that floods its console costs no more, and one that prints once a minute is remembered
/// for days.
pub const MOST_MARKS: usize = 4096;
/// What comes sooner after a mark belongs to it.
const APART_MS: u64 = 250;
/// Looks come each second, on a busy machine later. After a longer time without one nobody knows when in it something came.
const LATE_MS: u64 = 5_000;

/// Of some bytes in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The first, counted from before all cuts.
    pub at: u64,
    /// Behind the last that has the same time.
    pub end: u64,
    /// Milliseconds since the epoch.
    pub seen_ms: u64,
    /// They came at that time at the latest, and maybe long before.
    pub late: bool,
}

#[derive(Debug, Default)]
pub struct Times {
    /// Ordered by `at`.
    marks: VecDeque<Mark>,
    /// How far the log was seen.
    seen: u64,
    looked_ms: Option<u64>,
}

impl Times {
    /// As an earlier hearth remembered it: what is out of order and what follows it is not taken.
    pub fn remembered(marks: impl IntoIterator<Item = Mark>) -> Self {
        let mut times = Self::default();
        for mark in marks {
            if mark.at < times.seen || mark.end <= mark.at {
                break;
            }
            times.seen = mark.end;
            times.push(mark);
        }
        times
    }

    /// The log ends there now. `began_ms`: since when there has been a log to look at, where that is known. A new mark, if there is one.
    pub fn look(&mut self, end: u64, now_ms: u64, began_ms: Option<u64>) -> Option<Mark> {
        if end < self.seen {
            // It is another log.
            *self = Self { seen: end, ..Self::default() };
        }
        let before = self.looked_ms.replace(now_ms).or(began_ms);
        if end == self.seen {
            return None;
        }
        let late = before.is_none_or(|before| now_ms.saturating_sub(before) > LATE_MS);
        let at = std::mem::replace(&mut self.seen, end);
        let joins = |last: &&mut Mark| !late && !last.late && now_ms.saturating_sub(last.seen_ms) < APART_MS;
        if let Some(last) = self.marks.back_mut().filter(joins) {
            last.end = end;
            return None;
        }
        let mark = Mark { at, end, seen_ms: now_ms, late };
        self.push(mark);
        Some(mark)
    }

    /// A look that found the log as long as at the last.
    pub fn nothing_new(&mut self, now_ms: u64) {
        self.looked_ms = Some(now_ms);
    }

    fn push(&mut self, mark: Mark) {
        if self.marks.len() == MOST_MARKS {
            self.marks.pop_front();
        }
        self.marks.push_back(mark);
    }

    /// Of the byte at that point.
    pub fn of(&self, at: u64) -> Option<&Mark> {
        let after = self.marks.partition_point(|mark| mark.at <= at);
        self.marks.get(after.checked_sub(1)?)
    }

    /// Where what was first seen at that moment or later begins; the end when nothing was. What may have come earlier counts as well.
    pub fn since(&self, ms: u64) -> u64 {
        self.marks.iter().find(|mark| mark.seen_ms >= ms).map_or(self.seen, |mark| mark.at)
    }

    /// What lies before that point is gone.
    pub fn cut(&mut self, to: u64) {
        while self.marks.get(1).is_some_and(|next| next.at <= to) {
            self.marks.pop_front();
        }
    }

    pub fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.marks.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(times: &Times, at: u64) -> Option<(u64, bool)> {
        times.of(at).map(|mark| (mark.seen_ms, mark.late))
    }

    #[test]
    fn what_is_seen_first_at_a_look_has_its_time() {
        let mut times = Times::default();
        assert!(times.look(10, 1_000, Some(900)).is_some());
        assert!(times.look(10, 2_000, Some(900)).is_none(), "nothing new");
        assert!(times.look(30, 3_000, Some(900)).is_some());
        assert!(times.look(31, 3_100, Some(900)).is_none(), "too soon for another mark");
        assert!(times.look(32, 3_400, Some(900)).is_some());
        let all = [0, 9, 10, 30, 31].map(|at| seen(&times, at).unwrap().0);
        assert_eq!(all, [1_000, 1_000, 3_000, 3_000, 3_400]);
        assert_eq!([0, 1_001, 3_001, 9_000].map(|ms| times.since(ms)), [0, 10, 31, 32]);
    }

    #[test]
    fn what_came_while_nobody_looked_came_before() {
        let mut times = Times::default();
        times.look(10, 100_000, Some(1_000));
        times.look(20, 101_000, None);
        times.look(30, 110_000, None);
        assert_eq!([0, 10, 20].map(|at| seen(&times, at).unwrap().1), [true, false, true]);
        let mut again = Times::remembered(times.marks().copied().take(2));
        assert_eq!(seen(&again, 19), Some((101_000, false)), "an earlier hearth saw it");
        again.look(30, 500_000, None);
        assert_eq!(seen(&again, 20), Some((500_000, true)), "and not this");
    }

    #[test]
    fn what_follows_a_long_silence_is_seen_at_once() {
        let mut times = Times::default();
        times.look(10, 1_000, Some(900));
        times.nothing_new(60_000);
        times.look(20, 61_000, None);
        assert_eq!(seen(&times, 15), Some((61_000, false)));
    }

    #[test]
    fn a_flood_is_remembered_by_a_bounded_number_of_marks() {
        let mut times = Times::default();
        for look in 0..100_000 {
            times.look(look * 100, look * 10, Some(0));
        }
        assert!(times.marks.len() <= MOST_MARKS, "{}", times.marks.len());
        for look in 0..10_000 {
            times.look(20_000_000 + look, 2_000_000 + look * 1_000, None);
        }
        assert_eq!(times.marks.len(), MOST_MARKS);
        assert_eq!(seen(&times, 5), None, "the oldest has none any more");
        times.cut(20_009_999);
        assert_eq!(times.marks.len(), 1);
        assert!(seen(&times, 20_009_999).is_some());
    }

    #[test]
    fn another_log_begins_anew_and_nonsense_is_not_remembered() {
        let mut times = Times::default();
        times.look(100, 1_000, Some(900));
        times.look(5, 2_000, None);
        assert_eq!(seen(&times, 4), None);
        let mark = |at, end| Mark { at, end, seen_ms: 7, late: false };
        let remembered = Times::remembered([mark(0, 5), mark(5, 9), mark(8, 20), mark(30, 40)]);
        assert_eq!((remembered.marks.len(), remembered.seen), (2, 9));
    }
}
