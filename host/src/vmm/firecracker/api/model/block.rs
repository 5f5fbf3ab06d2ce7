//! Drives and persistent memory: the files that the guest sees as devices.

use super::{super::Invalid, Check, DeviceId, RateLimiter, all};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drive {
    pub drive_id: DeviceId,
    /// At most one drive (or pmem) of a machine.
    pub is_root_device: bool,
    /// Of the partition that is the root. With `is_root_device` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partuuid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_type: Option<CacheType>,
    #[serde(flatten)]
    pub backing: Backing,
}

/// What the drive is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Backing {
    /// A raw file or a block device.
    File {
        path_on_host: PathBuf,
        is_read_only: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        io_engine: Option<IoEngine>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rate_limiter: Option<RateLimiter>,
    },
    /// Another process by vhost-user; it decides what can be written and how fast.
    VhostUser { socket: PathBuf },
}

impl Check for Drive {
    fn check(&self) -> Result<(), Invalid> {
        match &self.backing {
            Backing::File { rate_limiter, .. } => all(rate_limiter),
            Backing::VhostUser { .. } => Ok(()),
        }
    }
}

/// Whether a flush of the guest reaches the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheType {
    /// It does not: what the guest was told is safe may be lost with the host's power.
    Unsafe,
    Writeback,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IoEngine {
    Sync,
    /// By io_uring; host kernel 5.10.51 or newer.
    Async,
}

/// Of a running machine: another file of the same kind (the guest sees its new size), another limit. For a vhost-user drive both are absent,
/// which has the guest read the device's size again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveUpdate {
    pub drive_id: DeviceId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_on_host: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limiter: Option<RateLimiter>,
}

impl Check for DriveUpdate {
    fn check(&self) -> Result<(), Invalid> {
        all(&self.rate_limiter)
    }
}

/// A file that the guest maps (virtio-pmem): no page cache of its own for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pmem {
    pub id: DeviceId,
    pub path_on_host: PathBuf,
    #[serde(default)]
    pub root_device: bool,
    #[serde(default)]
    pub read_only: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limiter: Option<RateLimiter>,
}

impl Check for Pmem {
    fn check(&self) -> Result<(), Invalid> {
        all(&self.rate_limiter)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PmemUpdate {
    pub id: DeviceId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limiter: Option<RateLimiter>,
}

impl Check for PmemUpdate {
    fn check(&self) -> Result<(), Invalid> {
        all(&self.rate_limiter)
    }
}
