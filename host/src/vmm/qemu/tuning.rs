//! Limits, balloon and sizes of disks in QEMU's words: of the command line, and of the control socket. The balloon of a machine that starts is told by the
//! control socket, too, before its vCPUs run: what it shall be lies in the VM's folder from the launch on, so that a release can be repeated.

use super::super::shared::layout::{self, storage_error};
use super::super::{Tuning, VmmError};
use super::files::BALLOON;
use super::qmp::Qmp;
use domain::vm::{DiskSizes, RateLimits};
use serde_json::{Value, json};
use std::{fs, io, path::Path};
use tokio::time::Instant;

const MIB: u64 = 1024 * 1024;
/// QEMU's names of the root disk, of a data drive with its number behind, and of an interface with its place.
pub const ROOT: &str = "root";
pub const DATA: &str = "drive-";
pub const NIC: &str = "nic-";

/// What follows a drive's other words, each of those that the guest writes to alike.
pub fn drive_words(limits: &RateLimits) -> String {
    let bytes = limits.disk_mib_per_s.map(|most| format!(",throttling.bps-total={}", u64::from(most) * MIB));
    let ops = limits.disk_ops_per_s.map(|most| format!(",throttling.iops-total={most}"));
    [bytes, ops].into_iter().flatten().collect()
}

/// 0: no limit.
fn throttle(device: &str, limits: &RateLimits) -> Value {
    let bytes = limits.disk_mib_per_s.map_or(0, |most| u64::from(most) * MIB);
    let ops = limits.disk_ops_per_s.unwrap_or(0);
    json!({ "device": device, "bps": bytes, "bps_rd": 0, "bps_wr": 0, "iops": ops, "iops_rd": 0, "iops_wr": 0 })
}

/// Writes down what the balloon shall be. Blocks.
pub fn keep(tuning: &Tuning, folder: &Path) -> Result<(), VmmError> {
    let path = folder.join(BALLOON);
    match tuning.balloon_mib {
        0 => layout::remove_file(&path),
        mib => fs::write(&path, mib.to_string()),
    }
    .map_err(|source| storage_error(&path, source))
}

/// As it was written down, of a machine that starts.
pub async fn begin(control: &mut Qmp, folder: &Path, deadline: Instant) -> Result<(), VmmError> {
    match kept(folder)? {
        Some(mib) => balloon(control, mib, deadline).await,
        None => Ok(()),
    }
}

/// Errors: it was written down and can't be read, so that nobody knows what was asked for.
fn kept(folder: &Path) -> Result<Option<u32>, VmmError> {
    let path = folder.join(BALLOON);
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|error| storage_error(&path, io::Error::other(error))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(storage_error(&path, error)),
    }
}

/// What is so already is said again, which changes nothing. Gives how many disks have limits.
pub async fn apply(control: &mut Qmp, tuning: &Tuning, deadline: Instant) -> Result<usize, VmmError> {
    let all = control.call("query-block", Value::Null, deadline).await?;
    let limited = limited(&all);
    for device in &limited {
        control.call("block_set_io_throttle", throttle(device, &tuning.rate_limits), deadline).await?;
    }
    for (device, size) in smaller(&all, &tuning.disks)? {
        control.call("block_resize", json!({ "device": device, "size": size }), deadline).await?;
    }
    balloon(control, tuning.balloon_mib, deadline).await?;
    Ok(limited.len())
}

/// Of the drives that a QEMU says it has, the root and the data drives.
fn limited(all: &Value) -> Vec<&str> {
    let names = all.as_array().into_iter().flatten().filter_map(|one| one.get("device")?.as_str());
    names.filter(|name| *name == ROOT || name.starts_with(DATA)).collect()
}

/// The disks that are smaller than they are to be, with the size that they are to have, in bytes.
///
/// Errors: QEMU does not tell how large one is. It is left alone: to be told a size could make it smaller.
fn smaller(all: &Value, wanted: &DiskSizes) -> Result<Vec<(String, u64)>, VmmError> {
    let drives = wanted.drives_mib.iter().map(|(number, mib)| (format!("{DATA}{number}"), *mib));
    let disks = wanted.root_mib.map(|mib| (ROOT.to_owned(), mib)).into_iter().chain(drives);
    let size = |device: &str| -> Option<u64> {
        let one = all.as_array()?.iter().find(|one| one.get("device").and_then(Value::as_str) == Some(device))?;
        one.pointer("/inserted/image/virtual-size")?.as_u64()
    };
    let mut found = Vec::new();
    for (device, mib) in disks {
        let Some(is) = size(&device) else {
            return Err(VmmError::Refused { call: "query-block", detail: format!("it does not tell the size of {device}") });
        };
        let bytes = mib.saturating_mul(MIB);
        if is < bytes {
            found.push((device, bytes));
        }
    }
    Ok(found)
}

/// QEMU is told what the guest keeps.
async fn balloon(control: &mut Qmp, balloon_mib: u32, deadline: Instant) -> Result<(), VmmError> {
    let all = control.call("query-memory-size-summary", Value::Null, deadline).await?;
    let all = all.get("base-memory").and_then(Value::as_u64).unwrap_or(0);
    let kept = all.saturating_sub(u64::from(balloon_mib) * MIB);
    match control.call("balloon", json!({ "value": kept }), deadline).await {
        // One without the device has no balloon, as is wanted.
        Err(VmmError::Refused { .. }) if balloon_mib == 0 => Ok(()),
        told => told.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_bytes_and_operations_of_both_directions() {
        let limits =
            RateLimits { disk_mib_per_s: Some(2), disk_ops_per_s: Some(30), rx_mbit_per_s: Some(9), tx_mbit_per_s: None };
        assert_eq!(drive_words(&limits), ",throttling.bps-total=2097152,throttling.iops-total=30");
        assert_eq!(drive_words(&RateLimits::default()), "");
        let told = throttle("root", &limits);
        assert_eq!((&told["bps"], &told["iops"], &told["bps_rd"]), (&json!(2_097_152), &json!(30), &json!(0)));
        assert_eq!((&told["device"], &throttle("drive-1", &RateLimits::default())["bps"]), (&json!("root"), &json!(0)));
    }

    #[test]
    fn the_disks_are_limited_and_the_seed_is_not() {
        let all =
            json!([{ "device": "root", "locked": false }, { "device": "seed" }, { "device": "drive-12" }, { "qdev": "x" }, 7]);
        assert_eq!(limited(&all), ["root", "drive-12"]);
        assert_eq!(limited(&json!({})), Vec::<&str>::new());
    }

    #[test]
    fn only_what_is_smaller_is_made_larger() {
        let disk = |device: &str, size: u64| json!({ "device": device, "inserted": { "image": { "virtual-size": size } } });
        let all =
            json!([disk("root", 3 * MIB - 512), disk("drive-0", 2 * MIB), disk("drive-1", 4 * MIB), { "device": "drive-2" }]);
        let sizes = |root_mib, drives: &[(u32, u64)]| smaller(&all, &DiskSizes { root_mib, drives_mib: drives.to_vec() });
        let told = |device: &str, mib| (device.to_owned(), mib * MIB);
        assert_eq!(sizes(None, &[]).unwrap(), []);
        assert_eq!(sizes(Some(2), &[(0, 2), (1, 1)]).unwrap(), []);
        assert_eq!(sizes(Some(3), &[(0, 3), (1, 4)]).unwrap(), [told("root", 3), told("drive-0", 3)]);
        // Its size is not told, and it is not there.
        for number in [2, 3] {
            let error = sizes(Some(3), &[(number, 1)]).unwrap_err().to_string();
            assert!(error.contains(&format!("drive-{number}")), "{error}");
        }
    }

    #[test]
    fn the_balloon_of_the_next_start_is_kept_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let tuning = |balloon_mib| Tuning { balloon_mib, ..Tuning::default() };
        keep(&tuning(7), folder.path()).unwrap();
        assert_eq!(kept(folder.path()).unwrap(), Some(7));
        keep(&tuning(0), folder.path()).unwrap();
        keep(&tuning(0), folder.path()).unwrap();
        assert!(!folder.path().join(BALLOON).exists());
        assert_eq!(kept(folder.path()).unwrap(), None);
    }

    #[test]
    fn a_balloon_that_cannot_be_read_is_not_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(BALLOON), b"").unwrap();
        assert!(matches!(kept(folder.path()), Err(VmmError::Folder { .. })));
        fs::remove_file(folder.path().join(BALLOON)).unwrap();
        fs::create_dir(folder.path().join(BALLOON)).unwrap();
        assert!(matches!(kept(folder.path()), Err(VmmError::Folder { .. })));
    }
}
