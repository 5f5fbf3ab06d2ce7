//! What a QEMU says of its machine from outside the guest, in one conversation on its control socket. What it says is a stranger's word.

use super::super::{
    VmmError,
    outside::{DriveUse, Outside},
    shared::process,
};
use super::files::CONTROL_SOCKET;
use super::{Qemu, qmp::Qmp};
use domain::{VmId, vm::Machine};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// It answers in milliseconds; somebody waits who wants to know why it does not, and who asks something else meanwhile waits behind this.
const ASK_WITHIN: Duration = Duration::from_secs(1);
/// More than a machine has interrupts for.
const MOST_DRIVES: usize = 32;
/// A drive's id is hearth's own word, and short.
const MOST_NAME: usize = 64;

impl Qemu {
    /// See [`super::super::Vmm::outside`].
    pub(super) async fn look_outside(&self, vm: VmId, machine: &Machine) -> Result<Outside, VmmError> {
        let mut outside = self.runs.outside(vm, machine)?;
        let asked = async {
            let _run = self.runs.released(vm, machine, "metrics")?;
            let deadline = Instant::now() + ASK_WITHIN;
            let mut qmp = Qmp::open(&self.folder(vm), CONTROL_SOCKET, deadline).await?;
            let blocks = qmp.call("query-blockstats", Value::Null, deadline).await?;
            let all = qmp.call("query-memory-size-summary", Value::Null, deadline).await?;
            // One without the device has no balloon.
            let kept = match qmp.call("query-balloon", Value::Null, deadline).await {
                Err(VmmError::Refused { .. }) => None,
                kept => Some(kept?),
            };
            Ok((drives(&blocks), balloon_bytes(&all, kept.as_ref())))
        };
        // The deadline is that of each answer; this one is for what no answer waits for.
        match tokio::time::timeout(ASK_WITHIN * 2, asked).await {
            Ok(Ok((drives, balloon_bytes))) => {
                outside.since_ms = process::started_ms(machine.start_ticks);
                outside.drives = drives;
                outside.balloon_bytes = balloon_bytes;
            }
            // A socket that closes in the middle is not the machine's end.
            Ok(Err(VmmError::Gone)) if self.runs.live(vm, machine).is_err() => return Err(VmmError::Gone),
            Ok(Err(error)) => outside.missing.push(format!("drives, and the balloon's size: {error}")),
            Err(_) => outside.missing.push("drives, and the balloon's size: QEMU did not answer in time".into()),
        }
        Ok(outside)
    }
}

/// Of what `query-blockstats` returned.
pub(super) fn drives(told: &Value) -> Vec<DriveUse> {
    let mut drives: Vec<DriveUse> = told.as_array().into_iter().flatten().take(MOST_DRIVES).filter_map(drive).collect();
    drives.sort_by(|one, other| one.name.cmp(&other.name));
    drives
}

fn drive(told: &Value) -> Option<DriveUse> {
    let name = ["device", "node-name"].iter().filter_map(|field| told.get(*field)?.as_str()).find(|name| !name.is_empty())?;
    let stats = told.get("stats")?;
    let number = |field: &str| stats.get(field).and_then(Value::as_u64);
    let failed = ["failed_rd_operations", "failed_wr_operations", "failed_flush_operations"];
    let failed = failed.iter().map(|field| number(field)).try_fold(0_u64, |sum, count| Some(sum.saturating_add(count?)));
    Some(DriveUse {
        name: name.chars().take(MOST_NAME).collect(),
        read_bytes: number("rd_bytes")?,
        written_bytes: number("wr_bytes")?,
        reads: number("rd_operations")?,
        writes: number("wr_operations")?,
        failed,
        throttled: None,
    })
}

/// QEMU tells what the guest has, not what it gave back.
pub(super) fn balloon_bytes(all: &Value, kept: Option<&Value>) -> Option<u64> {
    let all = all.get("base-memory")?.as_u64()?;
    Some(all.saturating_sub(kept?.get("actual")?.as_u64()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn drives_are_read_from_what_qemu_tells_of_them() {
        let stats = json!({ "rd_bytes": 4096, "wr_bytes": 512, "rd_operations": 2, "wr_operations": 1, "failed_rd_operations": 1,
            "failed_wr_operations": 2, "failed_flush_operations": 3 });
        let told = json!([{ "device": "seed", "stats": { "rd_bytes": 1, "wr_bytes": 0, "rd_operations": 1, "wr_operations": 0 } },
            { "device": "root", "stats": stats, "parent": {} }, { "device": "", "node-name": "", "stats": stats }, {}, 7,
            { "device": "half", "stats": { "rd_bytes": -1 } }]);
        let found = drives(&told);
        let root = DriveUse {
            name: "root".into(),
            read_bytes: 4096,
            written_bytes: 512,
            reads: 2,
            writes: 1,
            failed: Some(6),
            throttled: None,
        };
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], root);
        assert_eq!((found[1].name.as_str(), found[1].failed), ("seed", None), "what was not told is not zero");
        assert_eq!(drives(&json!({})), []);
    }

    #[test]
    fn the_balloon_is_what_the_guest_has_not() {
        let all = json!({ "base-memory": 1000 });
        assert_eq!(balloon_bytes(&all, Some(&json!({ "actual": 900 }))), Some(100));
        assert_eq!(balloon_bytes(&all, Some(&json!({ "actual": 2000 }))), Some(0));
        assert_eq!((balloon_bytes(&all, None), balloon_bytes(&json!([]), Some(&json!({})))), (None, None));
    }
}
