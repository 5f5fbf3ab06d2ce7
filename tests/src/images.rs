//! The machine's images in a server: registered by their list, once a server.

use crate::{Machine, Server};
use anyhow::{Context, Result};
use api::{
    client::Options,
    v1::{CreateImage, ImageKind, ImageSpec, Labels},
};
use serde::Deserialize;
use std::path::{Path, PathBuf};

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

/// The kernels, and the one small root file system: Debian's take seconds to import, and hardly a test boots them.
pub async fn register(server: &Server) -> Result<()> {
    let entries = list(server.machine())?;
    for entry in entries.iter().filter(|entry| entry.kind == ImageKind::Kernel || entry.name == ROOTFS) {
        import(server, entry).await?;
    }
    Ok(())
}

/// Registers one more.
pub async fn import(server: &Server, entry: &Entry) -> Result<()> {
    let options = Options { wait_s: Some(IMPORT_WAIT_S), ..Options::default() };
    let create = create(server.machine(), entry);
    server.client().images().create(&create, &options).await.with_context(|| format!("the image {}", entry.name)).map(drop)
}

/// The entry of that name.
pub fn entry(machine: &Machine, name: &str) -> Result<Entry> {
    list(machine)?.into_iter().find(|entry| entry.name == name).with_context(|| format!("no image {name} in the list"))
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

/// The smallest file that passes for a root file system.
fn rootfs(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("rootfs");
    let mut ext4 = vec![0; 8192];
    // The magic of the superblock, which begins at 1024.
    ext4[1080..1082].copy_from_slice(&0xEF53_u16.to_le_bytes());
    std::fs::write(&path, ext4)?;
    Ok(path)
}

/// One whose import takes longer than any test, and next to no room: a hole of a terabyte.
pub fn endless(folder: &Path) -> Result<PathBuf> {
    let path = rootfs(folder)?;
    std::fs::File::options().write(true).open(&path)?.set_len(1 << 40)?;
    Ok(path)
}

/// Images for the simulated driver, which boots nothing: the smallest files that pass for a kernel and a root file system.
pub async fn pretend(server: &Server) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let kernel = folder.path().join("kernel");
    let mut elf = vec![0; 4096];
    elf[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    std::fs::write(&kernel, elf)?;
    let rootfs = rootfs(folder.path())?;
    for (name, kind, path) in [("kernel", ImageKind::Kernel, &kernel), (ROOTFS, ImageKind::Rootfs, &rootfs)] {
        let path = path.to_string_lossy().into_owned();
        let spec = ImageSpec { kind, path, initrd: None, default: kind == ImageKind::Kernel, description: None };
        let create = CreateImage { name: name.to_owned(), project: None, labels: Labels::new(), spec };
        let options = Options { wait_s: Some(IMPORT_WAIT_S), ..Options::default() };
        server.client().images().create(&create, &options).await.with_context(|| format!("the image {name}"))?;
    }
    Ok(())
}
