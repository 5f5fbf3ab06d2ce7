//! Firecracker as the command line asks for it: finding its programs before anything is made, trying it once a boot, and making its driver.

use super::{AssembleError, kept};
use host::vmm::firecracker::{
    Firecracker, FirecrackerOptions, JailChoice, jail,
    programs::{self, Programs, ProgramsError},
    selftest::{self, Untried, Verdict},
};
use std::{
    ops::Range,
    path::{Path, PathBuf},
};

/// Uids (and gids) for jails when the command line names none.
pub const JAILER_UIDS: Range<u32> = *jail::DEFAULT_UIDS.start()..*jail::DEFAULT_UIDS.end() + 1;

/// What the command line says of Firecracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirecrackerWanted {
    /// Absent: by PATH.
    pub binary: Option<PathBuf>,
    pub jail: Jail,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jail {
    /// Absent `binary`: beside Firecracker, else by PATH.
    Jailer {
        binary: Option<PathBuf>,
        uids: Range<u32>,
    },
    None,
}

impl Default for FirecrackerWanted {
    fn default() -> Self {
        Self { binary: None, jail: Jail::Jailer { binary: None, uids: JAILER_UIDS } }
    }
}

/// Looks for the programs that are asked for. Makes nothing.
pub async fn look(wanted: &FirecrackerWanted) -> Result<Programs, ProgramsError> {
    let jailer = match &wanted.jail {
        Jail::Jailer { binary, .. } => Some(binary.as_deref()),
        Jail::None => None,
    };
    programs::look(wanted.binary.as_deref(), jailer).await
}

fn kept_at(data_dir: &Path) -> PathBuf {
    data_dir.join("firecracker.json")
}

/// What the last start of this boot found out about Firecracker on this KVM.
pub fn remembered(data_dir: &Path) -> Option<Verdict> {
    kept::recall(&kept_at(data_dir), None)
}

/// Whether a guest boots with it: as kept, else tried and kept.
pub async fn verdict(data_dir: &Path, found: &Programs, kernel: Option<&Path>) -> Result<Verdict, Untried> {
    let with = found.identity();
    if let Some(verdict) = kept::recall(&kept_at(data_dir), Some(&with)) {
        return Ok(verdict);
    }
    let verdict = selftest::run(&found.firecracker, kernel).await?;
    kept::keep(&kept_at(data_dir), Some(&with), &verdict);
    Ok(verdict)
}

/// The driver, with the programs that were found.
pub async fn driver(
    data_dir: &Path,
    owner: &str,
    agent: &'static [u8],
    found: &Programs,
    jail: &Jail,
) -> Result<Firecracker, AssembleError> {
    let jail = match jail {
        Jail::Jailer { uids, .. } => JailChoice::Jailer { binary: found.jailer.clone(), uids: uids.clone() },
        Jail::None => JailChoice::None,
    };
    let options = FirecrackerOptions {
        data: data_dir.to_owned(),
        owner: owner.to_owned(),
        agent: agent.to_vec(),
        binary: Some(found.firecracker.clone()),
        jail,
    };
    Firecracker::detect(options).await.map_err(AssembleError::Vmm)
}
