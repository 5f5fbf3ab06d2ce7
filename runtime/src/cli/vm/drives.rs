//! Data drives as they are typed: the name first, then what it is to be, between colons.

use crate::cli::units::parse_mib;
use api::v1::{Drive, PatchDrive};

const READ_ONLY: &str = "ro";
const WRITABLE: &str = "rw";
const WANT_DRIVE: &str = "give NAME:SIZE or NAME:SIZE:ro, such as data:10G";

/// For a VM that is made: `data:10G`, `data:10G:ro`.
pub fn parse_drive(text: &str) -> Result<Drive, String> {
    let PatchDrive { name, size_mib, read_only } = parse_change(text)?;
    let size_mib = size_mib.ok_or_else(|| WANT_DRIVE.to_owned())?;
    Ok(Drive { name, size_mib, read_only: read_only.unwrap_or(false) })
}

/// For a VM that is there: `data:10G`, `data:ro`, `data:10G:rw`. Whether the name is one is for the server to say.
pub fn parse_change(text: &str) -> Result<PatchDrive, String> {
    let mut parts = text.split(':');
    let name = parts.next().filter(|name| !name.is_empty()).ok_or_else(|| WANT_DRIVE.to_owned())?;
    let mut change = PatchDrive { name: name.to_owned(), size_mib: None, read_only: None };
    for part in parts {
        match part {
            // What follows the last word is wrong, and so is a second one.
            _ if change.read_only.is_some() => return Err(WANT_DRIVE.to_owned()),
            READ_ONLY => change.read_only = Some(true),
            WRITABLE => change.read_only = Some(false),
            size if change.size_mib.is_none() => change.size_mib = Some(parse_mib(size)?),
            _ => return Err(WANT_DRIVE.to_owned()),
        }
    }
    if change.size_mib.is_none() && change.read_only.is_none() {
        return Err(WANT_DRIVE.to_owned());
    }
    Ok(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drive_is_a_name_a_size_and_perhaps_a_word() {
        let drive = |name: &str, size_mib, read_only| Ok(Drive { name: name.to_owned(), size_mib, read_only });
        assert_eq!(parse_drive("data:10G"), drive("data", 10_240, false));
        assert_eq!(parse_drive("data:512:ro"), drive("data", 512, true));
        assert_eq!(parse_drive("data:512:rw"), drive("data", 512, false));
        for bad in ["", "data", "data:", ":1G", "data:1G:", "data:1G:2G", "data:ro", "data:ro:1G", "data:1G:ro:rw", "data:1G:x"] {
            assert!(parse_drive(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_change_is_a_name_and_at_least_one_thing() {
        let change = |size_mib, read_only| Ok(PatchDrive { name: "data".to_owned(), size_mib, read_only });
        assert_eq!(parse_change("data:1T"), change(Some(1 << 20), None));
        assert_eq!(parse_change("data:ro"), change(None, Some(true)));
        assert_eq!(parse_change("data:2:rw"), change(Some(2), Some(false)));
        for bad in ["data", "data:", "data:rw:2"] {
            assert!(parse_change(bad).is_err(), "{bad}");
        }
    }
}
