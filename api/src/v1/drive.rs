//! Data drives of a VM.

use serde::{Deserialize, Serialize};

/// A raw disk, empty when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Drive {
    /// Unique in its VM: lower-case letters, digits and `-`, and at both ends a letter or digit. With QEMU the guest sees it as the drive's serial
    /// number (`/dev/disk/by-id/virtio-NAME`).
    #[cfg_attr(feature = "schema", schema(min_length = 1, max_length = 20, pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub name: String,
    /// The space is taken as the guest writes.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 67_108_864))]
    pub size_mib: u64,
    /// The guest can't write to it.
    #[serde(default)]
    pub read_only: bool,
}

/// What becomes of the drive of that name; absent: as it is. There being none, it is added, for which it needs a size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PatchDrive {
    #[cfg_attr(feature = "schema", schema(min_length = 1, max_length = 20, pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub name: String,
    /// Never less than it is: the guest makes its file system larger itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 67_108_864))]
    pub size_mib: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}
