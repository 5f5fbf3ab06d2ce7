//! What a Firecracker says of its machine from outside the guest. It is asked to write its counters down now, which it else does each minute, and
//! for its balloon; one that does not answer in time is told with what it wrote last.

use super::super::{VmmError, outside::Outside, shared::blocking};
use super::api::{ApiError, Found, Microvm, Started, model::BalloonStatistics};
use super::{Firecracker, counters};
use domain::{VmId, vm::Machine};
use std::time::Duration;

/// It answers in milliseconds; somebody waits who wants to know why it does not.
const ASK_WITHIN: Duration = Duration::from_secs(1);
const MIB: u64 = 1024 * 1024;

impl Firecracker {
    /// See [`super::super::Vmm::outside`].
    pub(super) async fn look_outside(&self, vm: VmId, machine: &Machine) -> Result<Outside, VmmError> {
        let mut outside = self.runs.outside(vm, machine)?;
        match tokio::time::timeout(ASK_WITHIN, self.ask_outside(vm, machine)).await {
            Ok(Ok((flushed, balloon))) => {
                match balloon {
                    Ok(balloon) => outside.balloon_bytes = Some(balloon.actual_mib.saturating_mul(MIB)),
                    Err(error) => outside.missing.push(format!("the balloon's size: {error}")),
                }
                if let Err(error) = flushed {
                    outside.missing.push(format!("counters of this moment (they may be a minute old): {error}"));
                }
            }
            // A socket that closes in the middle is not the machine's end.
            Ok(Err(VmmError::Gone)) if self.runs.live(vm, machine).is_err() => return Err(VmmError::Gone),
            Ok(Err(error)) => outside.missing.push(format!("counters of this moment, and the balloon's size: {error}")),
            Err(_) => {
                let waited = format!("firecracker did not answer within {} s", ASK_WITHIN.as_secs());
                outside.missing.push(format!("counters of this moment, and the balloon's size: {waited}"));
            }
        }
        let folder = self.inner.ground.folder(vm);
        match blocking(move || Ok(counters::read(&folder))).await? {
            Ok(Some(counted)) => {
                outside.since_ms = Some(counted.since_ms);
                outside.drives = counted.tally.drives();
                outside.interfaces = counted.tally.interfaces();
                outside.safety = Some(counted.tally.safety());
            }
            Ok(None) => outside.missing.push("firecracker's counters: an earlier hearth started it without them".into()),
            Err(error) => outside.missing.push(format!("firecracker's counters: {error}")),
        }
        Ok(outside)
    }

    async fn ask_outside(&self, vm: VmId, machine: &Machine) -> Result<Asked, VmmError> {
        match self.found(vm, machine, "metrics").await? {
            (_door, Found::Running(machine)) => Ok(ask(&machine).await),
            (_door, Found::Paused(machine)) => Ok(ask(&machine).await),
            (_door, Found::NotStarted(machine)) => Err(super::asking::not_started("metrics", &machine)),
        }
    }
}

type Asked = (Result<(), ApiError>, Result<BalloonStatistics, ApiError>);

async fn ask<P: Started>(machine: &Microvm<P>) -> Asked {
    // One after the other: it serves one request at a time.
    (machine.flush_metrics().await, machine.balloon_statistics().await)
}
