//! What the driver is told at its start.

use super::jail;
use std::{ops::Range, path::PathBuf};

/// What the driver is told at its start.
#[derive(Debug, Clone, Default)]
pub struct FirecrackerOptions {
    pub data: PathBuf,
    /// Which hearth this is, unique to its data directory; letters, digits and dashes.
    pub owner: String,
    /// The static agent program, which travels in the initramfs.
    pub agent: Vec<u8>,
    /// Absent: `firecracker` by PATH.
    pub binary: Option<PathBuf>,
    pub jail: JailChoice,
}

/// Whether processes are jailed.
#[derive(Debug, Clone)]
pub enum JailChoice {
    Jailer {
        /// Absent: beside Firecracker, else by PATH.
        binary: Option<PathBuf>,
        /// Each VM has one of these, as its uid and its gid.
        uids: Range<u32>,
    },
    /// For a workstation: Firecracker's own seccomp filters and nothing else.
    None,
}

impl Default for JailChoice {
    fn default() -> Self {
        Self::Jailer { binary: None, uids: *jail::DEFAULT_UIDS.start()..*jail::DEFAULT_UIDS.end() + 1 }
    }
}
