//! How values are written for people.

/// 1,536 -> `1.5 KiB`. At most three digits and one place.
pub fn bytes(value: f64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = value.max(0.0);
    let mut unit = 0;
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.95 || (value - value.round()).abs() < 0.05 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

pub fn mib(value: u64) -> String {
    bytes(value as f64 * 1024.0 * 1024.0)
}

pub fn rate(bytes_per_s: f64) -> String {
    format!("{}/s", bytes(bytes_per_s))
}

pub fn percent(value: f64) -> String {
    if value > 0.0 && value < 9.95 { format!("{value:.1} %") } else { format!("{value:.0} %") }
}

/// The two largest units: `3d 4h`, `12m 5s`.
pub fn duration(seconds: u64) -> String {
    let (days, hours, minutes, rest) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => format!("{minutes}m {rest}s"),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// How long ago, as of `now_ms`. A clock of the server's that is a little ahead reads as now.
pub fn ago(then_ms: i64, now_ms: i64) -> String {
    let seconds = (now_ms - then_ms).max(0) / 1_000;
    match seconds {
        0..5 => "just now".to_owned(),
        5..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        86_400..172_800 => "yesterday".to_owned(),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// `sha256:0123456789ab…` -> `0123456789ab`, what people compare by eye.
pub fn short_digest(digest: &str) -> &str {
    let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}

/// 12345 -> `12,345`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 VM`, `2 VMs`.
pub fn plural(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

/// First letter upper case: the API writes its sentences without.
pub fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// `vm-network-attached` -> `Network attached`: without the kind, which is shown beside it.
pub fn event_words(event: &str) -> String {
    let words =
        ["vm-", "image-", "host-", "operation-", "webhook-"].iter().find_map(|kind| event.strip_prefix(kind)).unwrap_or(event);
    sentence(&words.replace('-', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (value, text) in [(0.0, "0 B"), (1023.0, "1023 B"), (1024.0, "1 KiB"), (1536.0, "1.5 KiB"), (1048570.0, "1 MiB")] {
            assert_eq!(bytes(value), text);
        }
        assert_eq!(mib(512), "512 MiB");
        assert_eq!(mib(1_073_741_824), "1 PiB");
        assert_eq!(rate(2048.0), "2 KiB/s");
    }

    #[test]
    fn times() {
        assert_eq!(duration(59), "59s");
        assert_eq!(duration(3_661), "1h 1m");
        assert_eq!(duration(90_000), "1d 1h");
        assert_eq!(ago(10_000, 9_000), "just now");
        assert_eq!(ago(0, 59_000), "59 s ago");
        assert_eq!(ago(0, 7_200_000), "2 h ago");
    }

    #[test]
    fn words_and_numbers() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(999), "999");
        assert_eq!(short_digest("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_digest("x"), "x");
        assert_eq!(event_words("vm-agent-connected"), "Agent connected");
        assert_eq!(event_words("webhook-disabled"), "Disabled");
        assert_eq!(percent(0.26), "0.3 %");
        assert_eq!(percent(42.4), "42 %");
    }
}
