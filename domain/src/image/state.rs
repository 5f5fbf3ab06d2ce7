//! What an image is.

use crate::{Attempt, Generation, ImageId, Labels, Name, OperationId, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ImageKind {
    Kernel,
    Rootfs,
}

impl ImageKind {
    pub fn as_str(self) -> &'static str {
        match self {
            ImageKind::Kernel => "kernel",
            ImageKind::Rootfs => "rootfs",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSpec {
    pub kind: ImageKind,
    /// Where it was imported from, an absolute path on the host.
    pub path: String,
    /// Of a kernel: an initramfs with its modules.
    pub initrd: Option<String>,
    /// Of a kernel: whether VMs that name none boot from it. The newest default wins.
    pub default: bool,
    pub description: Option<String>,
}

/// What the import left in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// `sha256:` and 64 hexadecimal digits; of the main file.
    pub digest: String,
    pub size_bytes: u64,
    pub initrd_digest: Option<String>,
    pub initrd_size_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Importing,
    Ready(Files),
    Failed {
        code: String,
        detail: String,
    },
    Deleting,
    /// The import was given up; what it left is being removed.
    Cancelling,
}

impl State {
    pub fn name(&self) -> &'static str {
        match self {
            State::Importing => "importing",
            State::Ready(_) => "ready",
            State::Failed { .. } => "failed",
            State::Deleting | State::Cancelling => "deleting",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub id: ImageId,
    pub name: Name,
    pub project: Name,
    pub labels: Labels,
    pub generation: Generation,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub spec: ImageSpec,
    pub state: State,
    pub attempt: Attempt,
    pub operation: Option<OperationId>,
}
