//! Data drives, between the API's words and the domain's.

use super::{command::unprocessable, problem::Answer};
use api::v1;
use domain::vm::{DRIVES_MAX, DriveChange, DriveName, Drives, DrivesChange};

const FIELD: &str = "spec.drives";
const REMOVED: &str = "spec.remove_drives";

pub fn told(drives: &Drives) -> Vec<v1::Drive> {
    let one = |drive: &domain::vm::Drive| v1::Drive {
        name: drive.name.to_string(),
        size_mib: drive.size_mib,
        read_only: drive.read_only,
    };
    drives.all().iter().map(one).collect()
}

/// Errors: more than there may be; a name that none can have.
pub fn asked(drives: Vec<v1::Drive>) -> Answer<Drives> {
    let one = |drive: v1::Drive| {
        let name = name(FIELD, &drive.name)?;
        Ok(DriveChange { name, size_mib: Some(drive.size_mib), read_only: Some(drive.read_only) })
    };
    Ok(Drives::new(&each(FIELD, drives, one)?))
}

/// Lists of nothing ask for nothing, also of a VM that runs. As [`asked`].
pub fn changed(set: Option<Vec<v1::PatchDrive>>, remove: Option<Vec<String>>) -> Answer<Option<Box<DrivesChange>>> {
    let one = |drive: v1::PatchDrive| {
        Ok(DriveChange { name: name(FIELD, &drive.name)?, size_mib: drive.size_mib, read_only: drive.read_only })
    };
    let change = DrivesChange {
        set: each(FIELD, set.unwrap_or_default(), one)?,
        remove: each(REMOVED, remove.unwrap_or_default(), |text| name(REMOVED, &text))?,
    };
    Ok((change != DrivesChange::default()).then(|| Box::new(change)))
}

fn each<A, B>(field: &str, list: Vec<A>, one: impl Fn(A) -> Answer<B>) -> Answer<Vec<B>> {
    if list.len() > DRIVES_MAX {
        let detail = format!("must not be more than {DRIVES_MAX}, not {}", list.len());
        return Err(unprocessable("invalid-spec", field, &detail));
    }
    list.into_iter().map(one).collect()
}

fn name(field: &str, text: &str) -> Answer<DriveName> {
    text.parse().map_err(|error| unprocessable("invalid-spec", field, &format!("{text:?}: {error}")))
}
