//! When each part of a console's log was first seen. Pure. The log's writer tells no times, so they are those of hearth's looks: each second, and
//! whenever somebody reads with times. What was printed while nobody could look has a time before which it was; what is older than all that is
//! remembered has none.

use std::collections::VecDeque;

/// There are four a second at most, however often it is looked: a guest that floods its console costs no more, and one that prints once a minute is
/// remembered for days.
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
    /// What the next hearth would not know.
    unkept: Unkept,
}

/// Which marks are not with those that the next hearth reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unkept {
    /// So many of the newest, the oldest of them maybe there and shorter.
    Some(usize),
    /// What is there is to be replaced: it is of another log, of another cut, torn, or can't be read.
    All,
}

impl Default for Unkept {
    fn default() -> Self {
        Self::Some(0)
    }
}

impl Times {
    /// As an earlier hearth kept them. One that begins where the one before it does takes its place; what is out of order and what follows it is
    /// not taken.
    pub fn remembered(marks: impl IntoIterator<Item = Mark>) -> Self {
        let mut times = Self::default();
        for mark in marks {
            if let Some(last) = times.marks.back_mut().filter(|last| last.at == mark.at && last.end <= mark.end) {
                // Kept once more with what has joined it.
                *last = mark;
                times.seen = mark.end;
                continue;
            }
            if mark.at < times.seen || mark.end <= mark.at {
                break;
            }
            // Marks have no gaps: what lies between two joined the first and was not kept.
            if let Some(last) = times.marks.back_mut() {
                last.end = mark.at;
            }
            times.seen = mark.end;
            times.push(mark);
        }
        times.unkept = Unkept::default();
        times
    }

    /// The log ends there now. `began_ms`: since when there has been a log to look at, where that is known.
    pub fn look(&mut self, end: u64, now_ms: u64, began_ms: Option<u64>) {
        if end < self.seen {
            // It is another log.
            *self = Self { seen: end, unkept: Unkept::All, ..Self::default() };
        }
        let before = self.looked_ms.replace(now_ms).or(began_ms);
        if end == self.seen {
            return;
        }
        let late = before.is_none_or(|before| now_ms.saturating_sub(before) > LATE_MS);
        let at = std::mem::replace(&mut self.seen, end);
        // A clock that was set back is no short time.
        let is_soon = |seen_ms: u64| now_ms.checked_sub(seen_ms).is_some_and(|apart| apart < APART_MS);
        if let Some(last) = self.marks.back_mut().filter(|last| !late && !last.late && is_soon(last.seen_ms)) {
            last.end = end;
            if let Unkept::Some(newest) = &mut self.unkept {
                *newest = (*newest).max(1);
            }
            return;
        }
        self.push(Mark { at, end, seen_ms: now_ms, late });
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
        if let Unkept::Some(newest) = &mut self.unkept {
            *newest = (*newest + 1).min(MOST_MARKS);
        }
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

    pub fn marks(&self) -> impl DoubleEndedIterator<Item = &Mark> {
        self.marks.iter()
    }

    pub fn unkept(&self) -> Unkept {
        self.unkept
    }

    /// Whoever keeps them tells what is not kept now.
    pub fn set_unkept(&mut self, unkept: Unkept) {
        self.unkept = unkept;
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
        for (end, now_ms, marks) in [(10, 1_000, 1), (10, 2_000, 1), (30, 3_000, 2), (31, 3_100, 2), (32, 3_400, 3)] {
            times.look(end, now_ms, Some(900));
            assert_eq!(times.marks.len(), marks, "nothing new, or too soon for another mark: {end} at {now_ms}");
        }
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
    fn a_clock_that_was_set_back_begins_another_mark() {
        let mut times = Times::default();
        for (end, now_ms) in [(10, 900_000), (20, 1_000), (30, 2_000)] {
            times.look(end, now_ms, Some(900_000));
        }
        assert_eq!([0, 10, 20].map(|at| seen(&times, at).unwrap().0), [900_000, 1_000, 2_000]);
    }

    #[test]
    fn what_joined_a_mark_that_was_kept_has_its_time_in_the_next_hearth_too() {
        let mark = |at, end| Mark { at, end, seen_ms: at, late: false };
        let remembered = Times::remembered([mark(0, 5), mark(9, 12)]);
        assert_eq!(remembered.marks().map(|mark| mark.end).collect::<Vec<_>>(), [9, 12]);
        assert_eq!(remembered.unkept(), Unkept::Some(0));
        let again = Times::remembered([mark(0, 5), mark(5, 9), mark(5, 11), mark(11, 12), mark(0, 40)]);
        assert_eq!(again.marks().map(|mark| (mark.at, mark.end)).collect::<Vec<_>>(), [(0, 5), (5, 11), (11, 12)]);
        assert_eq!(Times::remembered([mark(5, 9), mark(5, 7), mark(9, 12)]).seen, 9, "none is ever shorter");
    }

    #[test]
    fn what_joins_a_mark_is_to_be_kept_as_well() {
        let mut times = Times::default();
        times.look(5, 1_000, Some(900));
        times.set_unkept(Unkept::Some(0));
        times.look(9, 1_100, None);
        assert_eq!((times.marks.len(), times.unkept()), (1, Unkept::Some(1)));
        times.look(9, 1_150, None);
        times.look(12, 1_200, None);
        assert_eq!(times.unkept(), Unkept::Some(1));
        times.look(20, 2_000, None);
        assert_eq!(times.unkept(), Unkept::Some(2));
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
        assert_eq!((seen(&times, 4), times.unkept()), (None, Unkept::All));
        let mark = |at, end| Mark { at, end, seen_ms: 7, late: false };
        let remembered = Times::remembered([mark(0, 5), mark(5, 9), mark(8, 20), mark(30, 40)]);
        assert_eq!((remembered.marks.len(), remembered.seen), (2, 9));
    }
}
