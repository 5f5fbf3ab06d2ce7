//! Memory that is plugged in and out while the guest runs (virtio-mem).

use super::{super::Invalid, Check};
use serde::{Deserialize, Serialize};

/// Sizes in MiB; each a multiple of the next smaller kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HotplugMemory {
    pub total_size_mib: u64,
    /// What the host gives at a time: 128 or more. Absent: 128.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot_size_mib: Option<u64>,
    /// What the guest takes at a time: 2 or more. Absent: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_size_mib: Option<u64>,
}

const SLOT_MIB: u64 = 128;
const BLOCK_MIB: u64 = 2;

impl Check for HotplugMemory {
    fn check(&self) -> Result<(), Invalid> {
        let block = self.block_size_mib.unwrap_or(BLOCK_MIB);
        let slot = self.slot_size_mib.unwrap_or(SLOT_MIB);
        let multiple = |what, mib: u64, of_mib: u64| {
            if mib > 0 && of_mib > 0 && mib.is_multiple_of(of_mib) {
                Ok(())
            } else {
                Err(Invalid::Granularity { what, mib, of_mib })
            }
        };
        if slot < SLOT_MIB {
            return Err(Invalid::Granularity { what: "a slot", mib: slot, of_mib: SLOT_MIB });
        }
        multiple("a block", block, BLOCK_MIB)?;
        multiple("a slot", slot, block)?;
        multiple("hot-plug memory", self.total_size_mib, slot)
    }
}

/// What the device has of it now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HotplugStatus {
    #[serde(default)]
    pub total_size_mib: u64,
    #[serde(default)]
    pub slot_size_mib: u64,
    #[serde(default)]
    pub block_size_mib: u64,
    #[serde(default)]
    pub plugged_size_mib: u64,
    #[serde(default)]
    pub requested_size_mib: u64,
}
