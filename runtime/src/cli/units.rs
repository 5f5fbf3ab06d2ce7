//! Sizes, times and ages: as people type them, and as people read them.

use std::time::Duration;

const KIB: f64 = 1024.0;

/// MiB: `256`, `256M`, `1G`, `1.5GiB`.
pub fn parse_mib(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let mib_each = match &lower[digits.len()..] {
        "" | "m" | "mb" | "mib" => 1.0,
        "g" | "gb" | "gib" => KIB,
        "t" | "tb" | "tib" => KIB * KIB,
        _ => return Err(WANT_SIZE.to_owned()),
    };
    let number: f64 = digits.parse().map_err(|_not_a_number| WANT_SIZE.to_owned())?;
    let mib = number * mib_each;
    // Beyond 2^53 a float no longer counts one by one; no machine has as much.
    if !(1.0..9e15).contains(&mib) || mib.fract() != 0.0 {
        return Err(WANT_SIZE.to_owned());
    }
    Ok(mib as u64)
}

pub fn parse_mib_u32(text: &str) -> Result<u32, String> {
    u32::try_from(parse_mib(text)?).map_err(|_too_large| WANT_SIZE.to_owned())
}

const WANT_SIZE: &str = "give a size such as 256 (MiB), 256M or 1G";
const WANT_TIME: &str = "give a time such as 90, 90s, 5m or 1h";

pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds_each = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(WANT_TIME.to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_not_a_number| WANT_TIME.to_owned())?;
    number.checked_mul(seconds_each).map(Duration::from_secs).ok_or_else(|| WANT_TIME.to_owned())
}

/// `0B`, `1023B`, `1.5K`, `12M`, `2.3G`.
pub fn bytes(count: u64) -> String {
    if count < 1024 {
        return format!("{count}B");
    }
    let mut value = count as f64;
    let mut unit = 'B';
    for next in ['K', 'M', 'G', 'T', 'P'] {
        // 1023.95 would be written as 1024.0 of the smaller unit.
        if value < KIB - 0.5 {
            break;
        }
        value /= KIB;
        unit = next;
    }
    let text = if value < 9.95 { format!("{value:.1}") } else { format!("{value:.0}") };
    format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
}

pub fn mib(count: u64) -> String {
    bytes(count.saturating_mul(1 << 20))
}

/// `5s`, `3m`, `2h`, `4d`: the largest unit that fits.
pub fn seconds(count: u64) -> String {
    match count {
        0..60 => format!("{count}s"),
        60..3600 => format!("{}m", count / 60),
        3600..86_400 => format!("{}h", count / 3600),
        _ => format!("{}d", count / 86_400),
    }
}

/// How long ago; the clocks of two machines may differ, so the future is "0s".
pub fn age(then: jiff::Timestamp, now: jiff::Timestamp) -> String {
    seconds(u64::try_from(now.as_second() - then.as_second()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_typed() {
        for (text, mib) in [("256", 256), ("256M", 256), ("256MiB", 256), ("1G", 1024), ("1.5g", 1536), (" 2t ", 2 << 20)] {
            assert_eq!(parse_mib(text), Ok(mib), "{text}");
        }
        for bad in ["", "x", "G", "-1", "0", "1.0001", "1K", "1e99", "NaN", "inf", "99999999999999999999"] {
            assert!(parse_mib(bad).is_err(), "{bad}");
        }
        assert!(parse_mib_u32("8000T").is_err());
    }

    #[test]
    fn times_as_typed() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        for bad in ["", "m", "-1s", "1.5h", "1w", "99999999999999999999d", "999999999999999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_as_read() {
        let cases = [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1K"),
            (1536, "1.5K"),
            (10 << 20, "10M"),
            ((1 << 30) - 1, "1G"),
            (u64::MAX, "16384P"),
        ];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(mib(256), "256M");
    }

    #[test]
    fn ages_as_read() {
        for (count, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h"), (86_400 * 3, "3d")] {
            assert_eq!(seconds(count), text);
        }
        let now = jiff::Timestamp::from_second(100).unwrap();
        assert_eq!(age(jiff::Timestamp::from_second(200).unwrap(), now), "0s");
    }
}
