//! What Firecracker says of itself and of its machine.

use super::{Balloon, BootSource, CpuConfig, Drive, Logger, MachineConfig, Metrics, MmdsConfig, NetworkInterface, Pmem, Vsock};
use serde::Deserialize;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct InstanceInfo {
    pub id: String,
    pub state: State,
    pub vmm_version: String,
    pub app_name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum State {
    #[serde(rename = "Not started")]
    NotStarted,
    Running,
    Paused,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Version {
    pub firecracker_version: String,
}

/// What was configured. Of a machine from a snapshot the boot source is empty.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FullConfig {
    pub machine_config: Option<MachineConfig>,
    #[serde(default, deserialize_with = "unless_empty")]
    pub boot_source: Option<BootSource>,
    pub cpu_config: Option<CpuConfig>,
    #[serde(default)]
    pub drives: Vec<Drive>,
    #[serde(default)]
    pub pmem: Vec<Pmem>,
    #[serde(default)]
    pub network_interfaces: Vec<NetworkInterface>,
    pub balloon: Option<Balloon>,
    pub vsock: Option<Vsock>,
    pub mmds_config: Option<MmdsConfig>,
    pub logger: Option<Logger>,
    pub metrics: Option<Metrics>,
}

/// `{"kernel_image_path": ""}` stands for none.
fn unless_empty<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<BootSource>, D::Error> {
    let found = Option::<BootSource>::deserialize(from)?;
    Ok(found.filter(|source| !source.kernel_image_path.as_os_str().is_empty()))
}
