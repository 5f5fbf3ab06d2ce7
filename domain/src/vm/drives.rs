//! The data drives that a VM has beside its root disk: their names and bounds, and what a change makes of them. Data is lost by no change but
//! one that names the drive it takes away: what a change does not name stays.

use super::{
    actions::Refused,
    spec::{DISK_MIB_MAX, SpecProblem},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// With the root, a seed and the other devices below the 19 that Firecracker has interrupts for, and QEMU's 24 transports.
pub const DRIVES_MAX: usize = 8;
/// A virtio block device's serial number has no more bytes (virtio 1.2, 5.2.6, `VIRTIO_BLK_T_GET_ID`).
pub const DRIVE_NAME_MAX: usize = 20;

const FIELD: &str = "spec.drives";
const REMOVED: &str = "spec.remove_drives";

/// 1 to 20 lower-case letters, digits and `-`; begins and ends with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriveName(Box<str>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a drive's name has 1 to {DRIVE_NAME_MAX} lower-case letters, digits and '-', and begins and ends with a letter or digit"
)]
pub struct BadDriveName;

impl DriveName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DriveName {
    type Err = BadDriveName;

    fn from_str(text: &str) -> Result<Self, BadDriveName> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = text.as_bytes();
        let fits = bytes.len() <= DRIVE_NAME_MAX && text.bytes().all(allowed) && edge(bytes.first()) && edge(bytes.last());
        if fits { Ok(DriveName(text.into())) } else { Err(BadDriveName) }
    }
}

impl fmt::Display for DriveName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// As a plain text, in every format.
impl Serialize for DriveName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for DriveName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One drive, empty when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drive {
    /// Unique in its VM.
    pub name: DriveName,
    pub size_mib: u64,
    pub read_only: bool,
    /// Which of the VM's drives it is, counted over its life: a later drive of the same name is another one, with another file.
    pub number: u32,
}

/// A VM's drives, in the order in which the guest sees them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Drives {
    all: Vec<Drive>,
    /// The number of the next one.
    next: u32,
}

/// What becomes of the drive of that name, or how a new one is to be. Absent: as it is; a new one can be written to, and needs a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveChange {
    pub name: DriveName,
    /// Never less than it is.
    pub size_mib: Option<u64>,
    pub read_only: Option<bool>,
}

/// What is asked of a VM's drives. What it names nowhere stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DrivesChange {
    /// To add or to change, each once.
    pub set: Vec<DriveChange>,
    /// To take away with all that they hold.
    pub remove: Vec<DriveName>,
}

/// How large the disks of a VM are to be at least that its guest writes to: a machine that runs has them grow to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DiskSizes {
    /// Absent: as it is.
    pub root_mib: Option<u64>,
    /// Of data drives, by their numbers. Those that are only read have the size of the machine's start.
    pub drives_mib: Vec<(u32, u64)>,
}

impl Drives {
    /// Those of a new VM.
    pub fn new(asked: &[DriveChange]) -> Self {
        let mut drives = Drives::default();
        asked.iter().for_each(|one| drives.add(one));
        drives
    }

    pub fn all(&self) -> &[Drive] {
        &self.all
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn find(&self, name: &DriveName) -> Option<&Drive> {
        self.all.iter().find(|drive| drive.name == *name)
    }

    /// The number of the next one: all that were have a smaller one.
    pub fn next_number(&self) -> u32 {
        self.next
    }

    /// Whether there was a drive of that number, which is no more.
    pub fn had(&self, number: u32) -> bool {
        number < self.next && self.all.iter().all(|drive| drive.number != number)
    }

    /// Whether each has a number, and with it a file, of its own.
    pub(super) fn are_apart(&self) -> bool {
        self.all.is_sorted_by(|one, next| one.number < next.number) && self.all.iter().all(|drive| drive.number < self.next)
    }

    fn add(&mut self, asked: &DriveChange) {
        let (size_mib, read_only) = (asked.size_mib.unwrap_or(0), asked.read_only.unwrap_or(false));
        self.all.push(Drive { name: asked.name.clone(), size_mib, read_only, number: self.next });
        self.next = self.next.saturating_add(1);
    }

    /// What a change makes of them. Those that it does not name stay, at their places; new ones follow, and without a size there is none.
    pub fn apply(&mut self, change: &DrivesChange) {
        self.all.retain(|drive| !change.remove.contains(&drive.name));
        for change in &change.set {
            match self.all.iter_mut().find(|drive| drive.name == change.name) {
                Some(drive) => {
                    drive.size_mib = change.size_mib.unwrap_or(drive.size_mib);
                    drive.read_only = change.read_only.unwrap_or(drive.read_only);
                }
                None if change.size_mib.is_some() => self.add(change),
                None => {}
            }
        }
    }

    /// Whether no machine that has these drives can take the change over: it adds one, takes one away, has one be written to or no more, or makes one
    /// larger that is only read, whose VMM may not write to its file.
    pub(super) fn are_remade_by(&self, change: &DrivesChange) -> bool {
        let is_remade = |drive: &Drive, to: &DriveChange| {
            let is_other = to.read_only.is_some_and(|wanted| wanted != drive.read_only);
            is_other || (drive.read_only && to.size_mib.is_some_and(|wanted| wanted != drive.size_mib))
        };
        let changed = |to: &DriveChange| self.find(&to.name).is_none_or(|drive| is_remade(drive, to));
        !change.remove.is_empty() || change.set.iter().any(changed)
    }

    /// Whether the change says what can be done, on these drives. What follows from it is judged with the whole specification.
    pub(super) fn admit(&self, change: &DrivesChange) -> Result<(), Refused> {
        let DrivesChange { set, remove } = change;
        if remove.iter().any(|name| self.find(name).is_none()) {
            return Err(Refused::NoSuchDrive);
        }
        let names = || remove.iter().chain(set.iter().map(|change| &change.name));
        if names().enumerate().any(|(place, name)| names().take(place).any(|before| before == name)) {
            return Err(Refused::DriveNamedTwice);
        }
        for change in set {
            match (self.find(&change.name), change.size_mib) {
                (None, None) => return Err(Refused::DriveWithoutSize),
                (Some(drive), Some(wanted)) if wanted < drive.size_mib => return Err(Refused::DriveSmaller),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn check(&self) -> Vec<SpecProblem> {
        let mut problems = Vec::new();
        let mut add = |detail: String| problems.push(SpecProblem { field: FIELD, detail });
        if self.all.len() > DRIVES_MAX {
            // Which are the ones too many nobody can say.
            add(format!("must not be more than {DRIVES_MAX}, not {}", self.all.len()));
            return problems;
        }
        for (place, drive) in self.all.iter().enumerate() {
            let Drive { name, size_mib, .. } = drive;
            if *size_mib == 0 || *size_mib > DISK_MIB_MAX {
                add(format!("the size of \"{name}\" must be 1 to {DISK_MIB_MAX} MiB, not {size_mib}"));
            }
            if self.all.iter().take(place).any(|before| before.name == *name) {
                add(format!("two have the name \"{name}\""));
            }
        }
        problems
    }
}

/// The field that such a refusal is about.
pub(super) fn field(refused: Refused) -> Option<&'static str> {
    match refused {
        Refused::NoSuchDrive => Some(REMOVED),
        Refused::DriveNamedTwice | Refused::DriveWithoutSize | Refused::DriveSmaller => Some(FIELD),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DriveName {
        text.parse().unwrap()
    }

    fn change(drive: &str, size_mib: Option<u64>) -> DriveChange {
        DriveChange { name: name(drive), size_mib, read_only: None }
    }

    fn to(set: &[DriveChange], remove: &[&str]) -> DrivesChange {
        DrivesChange { set: set.to_vec(), remove: remove.iter().map(|drive| name(drive)).collect() }
    }

    fn two() -> Drives {
        Drives::new(&[change("data", Some(10)), DriveChange { read_only: Some(true), ..change("logs", Some(20)) }])
    }

    fn told(drives: &Drives) -> Vec<(&str, u64, bool, u32)> {
        drives.all().iter().map(|drive| (drive.name.as_str(), drive.size_mib, drive.read_only, drive.number)).collect()
    }

    #[test]
    fn names_are_what_a_serial_number_holds() {
        for good in ["a", "0", "data-1", "abcdefghijklmnopqrst"] {
            assert_eq!(name(good).as_str(), good);
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "a b", "é", "a,b", "abcdefghijklmnopqrstu"] {
            assert_eq!(bad.parse::<DriveName>(), Err(BadDriveName), "{bad}");
        }
    }

    #[test]
    fn what_a_change_does_not_name_stays() {
        let mut drives = two();
        drives.apply(&DrivesChange::default());
        assert_eq!(drives, two());
        drives.apply(&to(&[change("logs", Some(30)), change("new", Some(5))], &[]));
        assert_eq!(told(&drives), [("data", 10, false, 0), ("logs", 30, true, 1), ("new", 5, false, 2)]);
        drives.apply(&to(&[DriveChange { read_only: Some(false), ..change("logs", None) }], &["data"]));
        assert_eq!(told(&drives), [("logs", 30, false, 1), ("new", 5, false, 2)]);
    }

    /// Whose file is another one: what was taken away never comes back by its name.
    #[test]
    fn a_drive_of_a_name_that_was_is_another_one() {
        let mut drives = two();
        drives.apply(&to(&[], &["logs"]));
        drives.apply(&to(&[change("logs", Some(20))], &[]));
        assert_eq!(told(&drives), [("data", 10, false, 0), ("logs", 20, false, 2)]);
        drives.apply(&to(&[], &["data", "logs"]));
        drives.apply(&to(&[change("data", Some(1))], &[]));
        assert_eq!(told(&drives), [("data", 1, false, 3)]);
        assert!(drives.are_apart());
        let drive = |number| Drive { number, ..drives.all[0].clone() };
        assert!(!Drives { all: vec![drive(0), drive(0)], next: 1 }.are_apart(), "two with one file");
        assert!(!Drives { all: vec![drive(1)], next: 1 }.are_apart(), "the next one would have its file");
    }

    #[test]
    fn what_can_not_be_done_is_refused_by_its_field() {
        let judged = |changed: &[DriveChange], removed: &[&str]| {
            two().admit(&to(changed, removed)).map_err(|why| (why.code(), why.field().unwrap()))
        };
        assert_eq!(judged(&[change("data", Some(10)), change("logs", None), change("new", Some(1))], &[]), Ok(()));
        assert_eq!(judged(&[change("data", Some(9))], &[]), Err(("drive-smaller", FIELD)));
        assert_eq!(judged(&[change("new", None)], &[]), Err(("drive-without-size", FIELD)));
        assert_eq!(judged(&[change("data", None), change("data", Some(11))], &[]), Err(("drive-named-twice", FIELD)));
        assert_eq!(judged(&[change("data", Some(11))], &["data"]), Err(("drive-named-twice", FIELD)));
        assert_eq!(judged(&[], &["data", "data"]), Err(("drive-named-twice", FIELD)));
        assert_eq!(judged(&[], &["data", "other"]), Err(("no-such-drive", REMOVED)));
    }

    #[test]
    fn a_machine_takes_over_only_that_what_it_writes_to_is_larger() {
        let remade = |set: &[DriveChange], remove: &[&str]| two().are_remade_by(&to(set, remove));
        let is_read = |drive, read_only| DriveChange { read_only: Some(read_only), ..change(drive, None) };
        for same in [is_read("data", false), is_read("logs", true), change("data", None), change("logs", Some(20))] {
            assert!(!remade(std::slice::from_ref(&same), &[]), "{same:?}");
        }
        assert!(!remade(&[change("data", Some(11))], &[]) && !remade(&[], &[]));
        for other in [is_read("data", true), is_read("logs", false), change("logs", Some(21)), change("new", Some(1))] {
            assert!(remade(&[change("data", Some(11)), other.clone()], &[]), "{other:?}");
        }
        assert!(remade(&[], &["logs"]));
    }

    #[test]
    fn bounds_are_told() {
        let details = |asked: &[DriveChange]| -> Vec<String> {
            Drives::new(asked).check().into_iter().map(|problem| problem.detail).collect()
        };
        let many = |count: usize| (0..count).map(|n| change(&format!("d{n}"), Some(DISK_MIB_MAX))).collect::<Vec<_>>();
        assert_eq!(details(&many(DRIVES_MAX)), Vec::<String>::new());
        assert_eq!(details(&many(DRIVES_MAX + 1)), ["must not be more than 8, not 9"]);
        let told = details(&[change("a", Some(0)), change("b", Some(DISK_MIB_MAX + 1)), change("b", Some(1))]);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[2].contains("two have the name \"b\""), "{told:?}");
    }
}
