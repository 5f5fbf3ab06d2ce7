//! The words for when a line was first seen, before each line of a console's log.

use super::times::{Mark, Times};
use std::fmt::Write;

/// Puts them in, piece by piece.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    at_start: bool,
}

impl Stamp {
    /// The next byte is the first of a line.
    pub fn new() -> Self {
        Self { at_start: true }
    }

    /// Adds these bytes of that point of the log to `out`. A time is that of a line's first byte.
    pub fn write(&mut self, times: &Times, mut at: u64, bytes: &[u8], out: &mut Vec<u8>) {
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            if self.at_start {
                out.extend_from_slice(word(times.of(at)).as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(line);
            at += line.len() as u64;
            self.at_start = line.ends_with(b"\n");
        }
    }
}

/// RFC 3339 in UTC; behind `<` for one that came before; `-` where nobody knows.
fn word(mark: Option<&Mark>) -> String {
    let mut word = String::with_capacity(25);
    match mark {
        None => word.push('-'),
        Some(mark) => {
            if mark.late {
                word.push('<');
            }
            let (days, ms) = (mark.seen_ms / 86_400_000, mark.seen_ms % 86_400_000);
            let (year, month, day) = date(days);
            let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
            // To a String, which takes everything.
            let _written = write!(word, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1_000);
        }
    }
    word
}

/// Of a day since the epoch: year, month and day of the Gregorian calendar. Source: Howard Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`, for days that are not negative.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(seen_ms: u64, late: bool) -> Mark {
        Mark { at: 0, end: 1, seen_ms, late }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let told = |ms| word(Some(&mark(ms, false)));
        assert_eq!(told(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(told(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(told(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(told(1_798_761_599_001), "2026-12-31T23:59:59.001Z");
        assert_eq!(word(Some(&mark(0, true))), "<1970-01-01T00:00:00.000Z");
        assert_eq!(word(None), "-");
    }

    #[test]
    fn each_line_has_the_time_of_its_first_byte_however_it_comes() {
        let mut times = Times::default();
        times.look(3, 1_000, Some(900));
        times.look(8, 2_000, None);
        let whole = b"one\r\ntwo\n\nthree";
        for cut in 0..whole.len() {
            let (mut stamp, mut out) = (Stamp::new(), Vec::new());
            let (first, second) = whole.split_at(cut);
            stamp.write(&times, 0, first, &mut out);
            stamp.write(&times, cut as u64, second, &mut out);
            let (one, two) = ("1970-01-01T00:00:01.000Z", "1970-01-01T00:00:02.000Z");
            let wanted = format!("{one} one\r\n{two} two\n{two} \n{two} three");
            assert_eq!(String::from_utf8_lossy(&out), wanted, "cut at {cut}");
        }
    }
}
