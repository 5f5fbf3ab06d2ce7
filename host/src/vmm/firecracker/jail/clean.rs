//! Removing a jail, whatever a compromised Firecracker may have left in it. No link is followed: the standard library removes a tree through
//! open folders, so a folder that is changed into a link meanwhile is not followed either.

use super::{VmmError, storage_error};
use std::{
    fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

const MOUNTS: &str = "/proc/thread-self/mountinfo";

/// Removes the folder with all in it; absent is no error.
pub fn remove(base: &Path) -> Result<(), VmmError> {
    if fs::symlink_metadata(base).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    let failed = |detail: String| VmmError::Clean { what: format!("the jail {}", base.display()), detail };
    // The jailer's own mounts are in the process's namespace and end with it. Somebody else's would be emptied.
    let mounts = fs::read(MOUNTS).map_err(|source| storage_error(Path::new(MOUNTS), source))?;
    if let Some(inside) = mounted_in(&mounts, base) {
        return Err(failed(format!("{} is mounted in it: unmount that", inside.display())));
    }
    match fs::remove_dir_all(base) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error.to_string())),
        _ => Ok(()),
    }
}

/// The first mount at the folder or below it, from the text of `mountinfo`.
fn mounted_in(mounts: &[u8], folder: &Path) -> Option<PathBuf> {
    let points = mounts.split(|&byte| byte == b'\n').filter_map(|line| line.split(|&byte| byte == b' ').nth(4)).map(unescape);
    points.into_iter().find(|point| point.starts_with(folder))
}

/// In `mountinfo` a space, a tab, an end of line and a backslash are a backslash and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::with_capacity(field.len()), field);
    while let Some((&first, behind)) = rest.split_first() {
        let digits_follow = |(digits, _): &(&[u8], &[u8])| digits.iter().all(u8::is_ascii_digit);
        let octal = (first == b'\\').then(|| behind.split_at_checked(3)).flatten().filter(digits_follow);
        let number = octal.and_then(|(digits, _)| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match (number, octal) {
            (Some(byte), Some((_, after))) => {
                bytes.push(byte);
                rest = after;
            }
            _ => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_in_the_folder_are_found_and_others_are_not() {
        let mounts = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            30 22 0:26 / /data/vms/vm_1/jail/a\\040b rw - tmpfs tmpfs rw\n\
            31 22 0:27 / /data/vms/vm_2/jail2 rw - tmpfs tmpfs rw\n\
            garbage\n";
        assert_eq!(mounted_in(mounts, Path::new("/data/vms/vm_1/jail")), Some("/data/vms/vm_1/jail/a b".into()));
        assert_eq!(mounted_in(mounts, Path::new("/data/vms/vm_1/jail/a b")), Some("/data/vms/vm_1/jail/a b".into()));
        assert_eq!(mounted_in(mounts, Path::new("/data/vms/vm_2/jail")), None);
        assert_eq!(mounted_in(b"", Path::new("/data")), None);
    }

    #[test]
    fn escapes_are_undone_and_half_ones_stay() {
        for (field, expected) in [("a\\134b", "a\\b"), ("a\\04", "a\\04"), ("\\", "\\"), ("\\999", "\\999"), ("\\+12", "\\+12")] {
            assert_eq!(unescape(field.as_bytes()), PathBuf::from(expected), "{field}");
        }
    }

    #[test]
    fn what_is_not_there_is_removed_already() {
        let folder = tempfile::tempdir().unwrap();
        remove(&folder.path().join("jail")).unwrap();
    }
}
