//! The machine's images in a server: registered by their list, once a server.

use crate::{Machine, Server};
use anyhow::{Context, Result};
use api::{
    client::Options,
    v1::{CreateImage, ImageKind, ImageSpec, Labels},
};
use serde::Deserialize;
use std::path::PathBuf;

/// A copy on a slow disk; here it takes less than a second.
const IMPORT_WAIT_S: u32 = 120;

/// A line of `images.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Entry {
    pub name: String,
    pub kind: ImageKind,
    /// Relative to the list.
    pub path: PathBuf,
    pub initrd: Option<PathBuf>,
    #[serde(default)]
    pub default: bool,
}

/// What the list has.
pub fn list(machine: &Machine) -> Result<Vec<Entry>> {
    let path = machine.manifest();
    let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_slice(&text)?)
}

/// The kernels, and the one small root file system: Debian's takes seconds to import and no test boots it.
pub async fn register(server: &Server) -> Result<()> {
    let entries = list(server.machine())?;
    for entry in entries.iter().filter(|entry| entry.kind == ImageKind::Kernel || entry.name == ROOTFS) {
        let options = Options { wait_s: Some(IMPORT_WAIT_S), ..Options::default() };
        let create = create(server.machine(), entry);
        server.client().images().create(&create, &options).await.with_context(|| format!("the image {}", entry.name))?;
    }
    Ok(())
}

/// The root file system that the guests of the suites boot.
pub const ROOTFS: &str = "busybox";

/// The request that registers an entry.
pub fn create(machine: &Machine, entry: &Entry) -> CreateImage {
    let full = |path: &PathBuf| machine.images.join(path).to_string_lossy().into_owned();
    CreateImage {
        name: entry.name.clone(),
        project: None,
        labels: Labels::new(),
        spec: ImageSpec {
            kind: entry.kind,
            path: full(&entry.path),
            initrd: entry.initrd.as_ref().map(full),
            // Of root file systems the list's default is meant for people, not for the server.
            default: entry.default && entry.kind == ImageKind::Kernel,
            description: None,
        },
    }
}
