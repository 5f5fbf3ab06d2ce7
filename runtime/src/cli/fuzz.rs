//! What must hold for anything that is typed: see `runtime::fuzz`.

use super::{filter, units};
use domain::{HostId, ImageId, Name, OperationId, VmId, name::check_labels};
use std::{fmt::Debug, str::FromStr};

/// The first byte says what the rest is.
pub fn typed(input: &[u8]) {
    let Some((which, rest)) = input.split_first() else { return };
    let text = &*String::from_utf8_lossy(rest);
    match which % 5 {
        0 => size(text),
        1 => {
            if let Ok(time) = units::parse_duration(text) {
                assert_eq!(units::parse_duration(&time.as_secs().to_string()), Ok(time), "{text:?}");
            }
        }
        2 => labels(text),
        3 => name(text),
        _ => numbers(rest),
    }
}

fn size(text: &str) {
    let Ok(mib) = units::parse_mib(text) else { return };
    assert!(mib > 0);
    for again in [mib.to_string(), format!("{mib}M"), format!(" {mib}mib ")] {
        assert_eq!(units::parse_mib(&again), Ok(mib), "{text:?}");
    }
    assert_eq!(units::parse_mib_u32(text).ok(), u32::try_from(mib).ok());
}

fn labels(text: &str) {
    let change = filter::parse_label_change(text);
    match filter::parse_label(text) {
        Ok((key, value)) => {
            assert_eq!(format!("{key}={value}"), text);
            assert_eq!(change, Ok((key.clone(), Some(value.clone()))));
            let _kept = check_labels(&[(key, value)].into());
        }
        Err(_) => assert!(change.is_err() || text.ends_with('-')),
    }
}

/// A name is never an id, and each is written as it was read.
fn name(text: &str) {
    let name = text.parse::<Name>();
    if let Ok(name) = &name {
        assert_eq!(name.as_str(), text);
        assert!(text.len() <= 63 && !text.contains(['/', '\0', '_', ' ']) && text != "..");
    }
    let ids = [id::<VmId>(text), id::<HostId>(text), id::<ImageId>(text), id::<OperationId>(text)];
    assert!(ids.iter().filter(|is| **is).count() + usize::from(name.is_ok()) <= 1, "{text:?} is two things");
}

fn id<T: FromStr + ToString + PartialEq + Debug>(text: &str) -> bool {
    let Ok(id) = text.parse::<T>() else { return false };
    assert_eq!(id.to_string(), text, "two texts for one id");
    true
}

/// Whatever the number, it is shown in a few characters.
fn numbers(bytes: &[u8]) {
    let number = bytes.iter().take(8).fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
    for text in [units::bytes(number), units::mib(number)] {
        assert!((2..=7).contains(&text.len()), "{text}");
    }
    assert!(units::seconds(number).len() <= 16);
    let time = |number: u64| jiff::Timestamp::from_second((number % (1 << 37)) as i64).ok();
    if let (Some(then), Some(now)) = (time(number), time(number.rotate_left(20))) {
        assert!(!units::age(then, now).is_empty());
    }
}
