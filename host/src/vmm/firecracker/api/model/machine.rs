//! The machine itself: processors, memory, and what it boots.

use super::{super::Invalid, Check};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineConfig {
    /// 1 to 32; with `smt` 1 or even.
    pub vcpu_count: u8,
    pub mem_size_mib: u64,
    /// Two threads a core. x86 only.
    #[serde(default)]
    pub smt: bool,
    /// What differential snapshots need; costs a little on each first write to a page.
    #[serde(default)]
    pub track_dirty_pages: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_template: Option<CpuTemplate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub huge_pages: Option<HugePages>,
}

impl Check for MachineConfig {
    fn check(&self) -> Result<(), Invalid> {
        let vcpus = self.vcpu_count;
        if !(1..=32).contains(&vcpus) || (self.smt && vcpus != 1 && !vcpus.is_multiple_of(2)) {
            return Err(Invalid::Vcpus { vcpus: vcpus.into() });
        }
        let mem_mib = self.mem_size_mib;
        if mem_mib == 0 || (self.huge_pages == Some(HugePages::Of2M) && !mem_mib.is_multiple_of(2)) {
            return Err(Invalid::Memory { mem_mib });
        }
        Ok(())
    }
}

/// Features hidden from the guest so that it looks the same on several processors. Deprecated upstream in favour of [`super::CpuConfig`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CpuTemplate {
    C3,
    T2,
    T2S,
    T2CL,
    T2A,
    V1N1,
    None,
}

/// What backs the guest's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HugePages {
    None,
    #[serde(rename = "2M")]
    Of2M,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootSource {
    pub kernel_image_path: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initrd_path: Option<PathBuf>,
    /// The kernel's command line. Absent: Firecracker's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_args: Option<String>,
}
