//! What must be true of the machine before a jail can be made on it. Changes nothing; each refusal is one sentence with the remedy.

use super::{VmmError, unable};
use nix::{
    sys::statvfs::{FsFlags, statvfs},
    unistd::geteuid,
};
use std::path::Path;

/// The jailer makes device nodes, changes owners and pivots the root.
pub fn root() -> Result<(), VmmError> {
    if geteuid().is_root() {
        return Ok(());
    }
    Err(unable(
        "the jailer needs root: start hearth as root, or without it by --no-jailer, where a guest that breaks out is hearth's user",
    ))
}

/// The jail holds device nodes and a program, and both must work there.
pub fn file_system(vms: &Path) -> Result<(), VmmError> {
    // One that can't be asked shows what it lacks when a VM starts.
    let flags = statvfs(vms).map_or(FsFlags::empty(), |answer| answer.flags());
    mounted_for_jails(vms, flags)
}

fn mounted_for_jails(vms: &Path, flags: FsFlags) -> Result<(), VmmError> {
    for (flag, word, what) in [(FsFlags::ST_NODEV, "nodev", "device nodes"), (FsFlags::ST_NOEXEC, "noexec", "programs")] {
        if flags.contains(flag) {
            let path = vms.display();
            return Err(unable(format!(
                "{path} is mounted {word} and a jail needs {what}: mount it without, put the data directory elsewhere, or use --no-jailer"
            )));
        }
    }
    Ok(())
}

/// The jailer takes its arguments as text and ends at any other.
pub fn text(path: &Path) -> Result<(), VmmError> {
    match path.to_str() {
        Some(_) => Ok(()),
        None => Err(unable(format!("the path {} is not UTF-8, which the jailer needs: use another", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_devices_or_programs_is_named() {
        let folder = Path::new("/data/vms");
        assert!(mounted_for_jails(folder, FsFlags::ST_NOSUID).is_ok());
        let nodev = mounted_for_jails(folder, FsFlags::ST_NODEV).unwrap_err().to_string();
        assert!(nodev.contains("/data/vms is mounted nodev"), "{nodev}");
        let noexec = mounted_for_jails(folder, FsFlags::ST_NOEXEC).unwrap_err().to_string();
        assert!(noexec.contains("noexec") && noexec.contains("--no-jailer"), "{noexec}");
    }
}
