//! Whose disks lie in a data directory: a VM's disk is of the form that the driver of its creation wants, and no other driver reads it.

use super::{firecracker, qemu};
use domain::vm::Driver;
use std::{collections::BTreeSet, fs, io, path::Path};

/// The drivers whose VMs have disks there; none for a directory that is not there yet. Reads the names in each VM's folder.
///
/// Errors: the folder can't be read.
pub fn drivers(data: &Path) -> io::Result<BTreeSet<Driver>> {
    let mut found = BTreeSet::new();
    let folders = match fs::read_dir(data.join("vms")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        folders => folders?,
    };
    for folder in folders {
        let folder = folder?.path();
        for (driver, disk) in [(Driver::Qemu, qemu::DISK), (Driver::Firecracker, firecracker::DISK)] {
            if !found.contains(&driver) && folder.join(disk).exists() {
                found.insert(driver);
            }
        }
        if found.len() == 2 {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_tell_their_drivers() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(drivers(data.path()).unwrap(), BTreeSet::new());
        let disk = |vm: &str, name: &str| {
            let folder = data.path().join("vms").join(vm);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(name), b"").unwrap();
        };
        disk("vm_1", "console.log");
        assert_eq!(drivers(data.path()).unwrap(), BTreeSet::new());
        disk("vm_1", "disk.qcow2");
        assert_eq!(drivers(data.path()).unwrap(), [Driver::Qemu].into());
        disk("vm_2", "disk.raw");
        assert_eq!(drivers(data.path()).unwrap(), [Driver::Qemu, Driver::Firecracker].into());
    }
}
