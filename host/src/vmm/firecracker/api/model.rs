//! The shapes of Firecracker's API, one file for each thing of a machine. Optional fields that are `None` are left out: Firecracker's default.
//! What comes back may have fields that are newer than these; what is sent never has.

mod balloon;
mod block;
mod cpu;
mod id;
mod instance;
mod limit;
mod machine;
mod memory;
mod metadata;
mod network;
mod output;
mod snapshot;

pub use balloon::{Balloon, BalloonStatistics, HintingStatus};
pub use block::{Backing, CacheType, Drive, DriveUpdate, IoEngine, Pmem, PmemUpdate};
pub use cpu::{CpuConfig, CpuidLeaf, CpuidRegister, Msr, Register};
pub use id::DeviceId;
pub use instance::{FullConfig, InstanceInfo, State, Version};
pub use limit::{RateLimiter, TokenBucket};
pub use machine::{BootSource, CpuTemplate, HugePages, MachineConfig};
pub use memory::{HotplugMemory, HotplugStatus};
pub use metadata::{MmdsConfig, MmdsVersion};
pub use network::{NetworkInterface, NetworkInterfaceUpdate, Vsock};
pub use output::{LogLevel, Logger, Metrics, Serial};
pub use snapshot::{Backend, MemoryBackend, NetworkOverride, SnapshotCreate, SnapshotLoad, SnapshotType, VsockOverride};

use super::Invalid;

/// Something that can be wrong by itself, in any state of the machine.
pub trait Check {
    /// # Errors
    /// The first value that Firecracker would refuse.
    fn check(&self) -> Result<(), Invalid>;
}

fn all<'a, T: Check + 'a>(parts: impl IntoIterator<Item = &'a T>) -> Result<(), Invalid> {
    parts.into_iter().try_for_each(Check::check)
}

#[cfg(test)]
mod tests;
