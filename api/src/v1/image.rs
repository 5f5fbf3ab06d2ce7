//! Images: kernels and root file systems.

use super::common::{Labels, Reason};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Image {
    /// Opaque, stable, begins with `img_`.
    pub id: String,
    pub name: String,
    pub project: String,
    pub labels: Labels,
    pub generation: u64,
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub updated_at: Timestamp,
    pub spec: ImageSpec,
    pub status: ImageStatus,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ImageSpec {
    pub kind: ImageKind,
    /// An absolute path on the host to import from.
    pub path: String,
    /// Of a kernel: an initramfs with its modules, an absolute path on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initrd: Option<String>,
    /// Of a kernel: whether VMs that name none boot from it. The newest default wins.
    #[serde(default)]
    pub default: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// `oci`, `disk` and `iso` are known words that this version refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum ImageKind {
    Kernel,
    Rootfs,
    Oci,
    Disk,
    Iso,
}

impl ImageKind {
    pub fn as_str(self) -> &'static str {
        match self {
            ImageKind::Kernel => "kernel",
            ImageKind::Rootfs => "rootfs",
            ImageKind::Oci => "oci",
            ImageKind::Disk => "disk",
            ImageKind::Iso => "iso",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum ImageState {
    Importing,
    Ready,
    Failed,
    Deleting,
    /// A state of a newer server.
    #[serde(other)]
    Unknown,
}

impl ImageState {
    pub fn as_str(self) -> &'static str {
        match self {
            ImageState::Importing => "importing",
            ImageState::Ready => "ready",
            ImageState::Failed => "failed",
            ImageState::Deleting => "deleting",
            ImageState::Unknown => "unknown",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ImageStatus {
    pub state: ImageState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    pub size_bytes: u64,
    /// `sha256:…` of the main file; absent until imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Ids of the VMs that boot from it; at most 100, `used_by_count` has the number.
    pub used_by: Vec<String>,
    pub used_by_count: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    pub actions: Vec<String>,
    pub refused: BTreeMap<String, String>,
}

/// `POST /v1/images`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CreateImage {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    pub spec: ImageSpec,
}

/// `PATCH /v1/images/ID`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PatchImage {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}
