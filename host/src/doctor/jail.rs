//! Checks of what jails and QEMU's processes are given: uids that are nobody else's.

use super::{Check, Status};
use std::{fs, ops::Range};

pub(super) fn uids(range: &Range<u32>) -> Check {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    judge(range, &read("/etc/passwd"), &read("/etc/group"), &read("/etc/subuid"), &read("/proc/self/uid_map"))
}

/// By the texts of `/etc/passwd`, `/etc/group`, `/etc/subuid` and `/proc/self/uid_map`.
pub(super) fn judge(range: &Range<u32>, users: &str, groups: &str, subordinate: &str, uid_map: &str) -> Check {
    let (id, title) = ("jailer-uids", "Uids for VMs");
    let last = range.end.saturating_sub(1);
    let shown = format!("{}-{last} ({} VMs at most)", range.start, range.len());
    let other = "choose others with --jailer-uids FIRST-LAST";
    if let Some((name, number)) = owner_in(range, users).or_else(|| owner_in(range, groups)) {
        return Check::new(id, title, Status::Failed, format!("{shown}: {number} is {name}'s")).remedy(other);
    }
    if !is_mapped(range, uid_map) {
        let detail = format!("{shown}: not all of them exist in this container");
        return Check::new(id, title, Status::Warn, detail).remedy(other);
    }
    if let Some(name) = subordinate.lines().find_map(|line| overlaps(range, line)) {
        let detail = format!("{shown}: containers of {name} have some of them too (/etc/subuid)");
        return Check::new(id, title, Status::Warn, detail).remedy(other);
    }
    Check::ok(id, title, format!("{shown}, nobody else's"))
}

/// `name:x:number:…`, of users and groups alike.
fn owner_in<'a>(range: &Range<u32>, text: &'a str) -> Option<(&'a str, u32)> {
    text.lines().find_map(|line| {
        let mut words = line.split(':');
        let (name, number) = (words.next()?, words.nth(1)?.parse().ok()?);
        range.contains(&number).then_some((name, number))
    })
}

/// `name:first:count` of `/etc/subuid`, if it shares uids with the range.
fn overlaps<'a>(range: &Range<u32>, line: &'a str) -> Option<&'a str> {
    let mut words = line.split(':');
    let (name, first, count): (_, u64, u64) = (words.next()?, words.next()?.parse().ok()?, words.next()?.trim().parse().ok()?);
    (first < u64::from(range.end) && first.saturating_add(count) > u64::from(range.start)).then_some(name)
}

/// `inside outside count` a line; no lines: there is no such map, and all exist.
fn is_mapped(range: &Range<u32>, map: &str) -> bool {
    let within = |line: &str| {
        let mut words = line.split_whitespace();
        let (inside, _, count): (u64, _, u64) = (words.next()?.parse().ok()?, words.next()?, words.next()?.parse().ok()?);
        Some(inside <= u64::from(range.start) && u64::from(range.end) <= inside.saturating_add(count))
    };
    map.trim().is_empty() || map.lines().any(|line| within(line).unwrap_or(false))
}
