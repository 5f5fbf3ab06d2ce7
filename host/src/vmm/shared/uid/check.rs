//! Whether a range of uids is nobody's on this machine. Changes nothing; each refusal is one sentence with the remedy.

use super::{VmmError, unable};
use std::{fs, ops::RangeInclusive};

/// Where users and groups get their numbers from, and the ranges that are handed to users' own containers.
const SINGLE: [&str; 2] = ["/etc/passwd", "/etc/group"];
const RANGES: [&str; 2] = ["/etc/subuid", "/etc/subgid"];
/// What this process may call a uid at all: in a container of an ordinary user only a few are there.
const MAPS: [&str; 2] = ["/proc/self/uid_map", "/proc/self/gid_map"];

/// Errors: somebody is in the range, or this process may not give all of it away.
pub fn free(range: &RangeInclusive<u32>) -> Result<(), VmmError> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let refusal = shape(range)
        .or_else(|| SINGLE.iter().find_map(|path| in_use(&read(path), range).map(|who| format!("{who} of {path} is in it"))))
        .or_else(|| {
            RANGES.iter().find_map(|path| handed_out(&read(path), range).map(|who| format!("{path} gives a part of it to {who}")))
        })
        .or_else(|| absent(range).map(|path| format!("this container has not all of them ({path})")));
    let Some(reason) = refusal else { return Ok(()) };
    let (first, last) = range.clone().into_inner();
    Err(unable(format!("the range of uids {first}-{last} can't be used for VMs: {reason}; name a range that is nobody's")))
}

/// The file that tells that this process may not give all of the range away.
pub fn absent(range: &RangeInclusive<u32>) -> Option<&'static str> {
    MAPS.into_iter().find(|path| fs::read_to_string(path).is_ok_and(|map| !maps(&map, range)))
}

/// What is wrong with the range by itself.
fn shape(range: &RangeInclusive<u32>) -> Option<String> {
    match () {
        () if range.is_empty() => Some("it is empty".into()),
        () if range.contains(&0) => Some("root (0) is in it".into()),
        // To chown(2) the highest one means "leave it as it is".
        () if range.contains(&u32::MAX) => Some("4294967295 is no uid".into()),
        () => None,
    }
}

/// The first user or group of `/etc/passwd` or `/etc/group` whose number is in the range. Users of a directory service are not seen.
fn in_use<'a>(table: &'a str, range: &RangeInclusive<u32>) -> Option<&'a str> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.trim().parse().ok()?;
        range.contains(&number).then_some(name)
    })
}

/// The first user of `/etc/subuid` or `/etc/subgid` whose containers own a part of the range: their processes could end a VM's.
fn handed_out<'a>(table: &'a str, range: &RangeInclusive<u32>) -> Option<&'a str> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let (first, count): (u64, u64) = (fields.next()?.trim().parse().ok()?, fields.next()?.trim().parse().ok()?);
        let apart = count == 0 || first > u64::from(*range.end()) || first.saturating_add(count) <= u64::from(*range.start());
        (!apart).then_some(name)
    })
}

/// Whether one line of a `uid_map` has the whole range. Fields: first inside, first outside, count.
fn maps(map: &str, range: &RangeInclusive<u32>) -> bool {
    map.lines().any(|line| {
        let fields: Vec<u64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        let [first, _, count] = fields[..] else { return false };
        first <= u64::from(*range.start()) && u64::from(*range.end()) < first.saturating_add(count)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_with_anyone_in_it_is_refused() {
        assert_eq!(shape(&(1..=5)), None);
        assert!(shape(&(0..=5)).unwrap().contains("root"));
        #[allow(clippy::reversed_empty_ranges)]
        let empty = 5..=4;
        assert!(shape(&empty).unwrap().contains("empty"));
        assert!(shape(&(5..=u32::MAX)).unwrap().contains("4294967295"));
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\n+::::::\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(in_use(passwd, &(1000..=2000)), Some("ann"));
        assert_eq!(in_use(passwd, &(1001..=2000)), None);
        assert_eq!(in_use("wheel:x:10:ann,bob\n", &(10..=10)), Some("wheel"));
    }

    #[test]
    fn a_range_of_somebodys_containers_is_refused() {
        let subuid = "ann:100000:65536\nbob:165536:65536\nnobody:1\nempty:400000:0\n";
        assert_eq!(handed_out(subuid, &(165_535..=165_535)), Some("ann"));
        assert_eq!(handed_out(subuid, &(165_536..=165_600)), Some("bob"));
        assert_eq!(handed_out(subuid, &(1..=200_000)), Some("ann"));
        assert_eq!(handed_out(subuid, &(231_072..=500_000)), None);
        assert_eq!(handed_out(subuid, &(1..=99_999)), None);
        assert_eq!(handed_out("all:0:4294967295\n", &super::super::DEFAULT), Some("all"));
    }

    #[test]
    fn a_container_must_have_the_uids() {
        assert!(maps("         0          0 4294967295\n", &super::super::DEFAULT));
        assert!(!maps("         0     100000      65536\n", &super::super::DEFAULT));
        assert!(maps("0 1000 1\n1 100000 65536\n", &(1..=65_536)));
        assert!(!maps("0 1000 1\n1 100000 65536\n", &(1..=65_537)));
        assert!(!maps("garbage\n", &(1..=2)));
    }
}
