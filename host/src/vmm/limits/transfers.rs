//! How much a VM's processes may transfer to and from the host's disk that its files are on. A VMM keeps a VM's limits itself, disk by disk and with
//! bursts; this is a bound around it, for one that keeps to nothing any more.

use super::{IO, Io, apply, io_max};
use domain::vm::RateLimits;
use nix::sys::stat::{major, minor};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

const MIB: u64 = 1 << 20;
/// Of what the limits allow: a VMM lets a second's worth go at once beside it, and the file system writes what it must know about the files.
const MARGIN: u64 = 2;

/// What follows from the limits of `disks` disks, all of which lie in `folder`. Absent: no limit, or no disk of the host's to count at (a file
/// system of several, in memory, or over another one). Blocks for two reads of the kernel's own files.
pub fn bound(rate_limits: &RateLimits, disks: usize, folder: &Path) -> Option<Io> {
    let io = allowed(rate_limits, disks, disk_of(folder)?);
    (io != unbounded(io.device)).then_some(io)
}

/// Of a machine that runs: as above, and taken off where there is no limit any more. Blocks.
pub fn set(rate_limits: &RateLimits, disks: usize, folder: &Path, group: &Path) {
    let Some(device) = disk_of(folder) else { return };
    let bound = allowed(rate_limits, disks, device);
    // Nothing is made of a group that nobody bounds.
    let is_bound = fs::read_to_string(group.join(IO)).is_ok_and(|text| !text.trim().is_empty());
    if bound != unbounded(device) || is_bound {
        for problem in apply(group, &[io_max(&bound)]) {
            // The same for every VM of a machine; the VMM keeps to the limits all the same.
            tracing::debug!(group = %group.display(), problem, "transfers are not bound");
        }
    }
}

fn allowed(rate_limits: &RateLimits, disks: usize, device: (u32, u32)) -> Io {
    let times = MARGIN.saturating_mul(disks as u64);
    let bytes = rate_limits.disk_mib_per_s.map(|most| (u64::from(most) * MIB).saturating_mul(times));
    let operations = rate_limits.disk_ops_per_s.map(|most| u64::from(most).saturating_mul(times));
    Io { device, read_bytes_per_s: bytes, write_bytes_per_s: bytes, reads_per_s: operations, writes_per_s: operations }
}

fn unbounded(device: (u32, u32)) -> Io {
    Io { device, read_bytes_per_s: None, write_bytes_per_s: None, reads_per_s: None, writes_per_s: None }
}

/// The whole disk, at which alone the kernel counts.
fn disk_of(folder: &Path) -> Option<(u32, u32)> {
    let device = fs::metadata(folder).ok()?.dev();
    whole_disk(Path::new("/sys/dev/block"), (u32::try_from(major(device)).ok()?, u32::try_from(minor(device)).ok()?))
}

/// `devices`: `/sys/dev/block`, in which each names a folder of its own, that of a partition within its disk's.
fn whole_disk(devices: &Path, (major, minor): (u32, u32)) -> Option<(u32, u32)> {
    let own: PathBuf = fs::canonicalize(devices.join(format!("{major}:{minor}"))).ok()?;
    let disk = if own.join("partition").exists() { own.parent()? } else { &own };
    let text = fs::read_to_string(disk.join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_bound_is_twice_what_all_disks_may() {
        let limits = RateLimits { disk_mib_per_s: Some(3), disk_ops_per_s: Some(50), ..RateLimits::default() };
        let bytes = Some(3 * 4 * 2 * MIB);
        let expected = Io {
            device: (8, 0),
            read_bytes_per_s: bytes,
            write_bytes_per_s: bytes,
            reads_per_s: Some(400),
            writes_per_s: Some(400),
        };
        assert_eq!(allowed(&limits, 4, (8, 0)), expected);
        assert_eq!(allowed(&RateLimits::default(), 4, (8, 0)), unbounded((8, 0)));
    }

    #[test]
    fn a_partition_is_counted_at_its_disk_and_what_is_no_disk_nowhere() {
        let top = tempfile::tempdir().unwrap();
        let [devices, disk] = ["dev", "block/vda"].map(|name| top.path().join(name));
        fs::create_dir_all(disk.join("vda1")).unwrap();
        fs::create_dir_all(&devices).unwrap();
        for (folder, number) in [(disk.clone(), "254:0"), (disk.join("vda1"), "254:1")] {
            fs::write(folder.join("dev"), format!("{number}\n")).unwrap();
            symlink(&folder, devices.join(number)).unwrap();
        }
        fs::write(disk.join("vda1/partition"), "1\n").unwrap();
        assert_eq!(
            [(254, 0), (254, 1), (0, 40)].map(|device| whole_disk(&devices, device)),
            [Some((254, 0)), Some((254, 0)), None]
        );
    }

    /// What is no folder of a hierarchy is left alone, until it is to be bound.
    #[test]
    fn a_group_without_a_bound_stays_so() {
        let group = tempfile::tempdir().unwrap();
        set(&RateLimits::default(), 1, group.path(), group.path());
        assert_eq!(fs::read_dir(group.path()).unwrap().count(), 0);
    }
}
