//! Images for the parts: the real ones of `make setup`, and empty ones for VMs that only exist on paper.

use super::http::Http;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The folder of `make setup`'s images.
pub fn folder() -> Result<PathBuf> {
    let path = std::env::var_os("HEARTH_IMAGES").map_or_else(|| PathBuf::from("build/images"), PathBuf::from);
    path.canonicalize().with_context(|| format!("{} is not there: run `make setup`", path.display()))
}

/// What a simulated VM boots from: a file that begins like a kernel, and one that begins like an ext4.
pub async fn simulated(http: &mut Http, dir: &Path) -> Result<()> {
    let kernel = dir.join("vmlinux");
    std::fs::write(&kernel, b"\x7fELF")?;
    let mut superblock = vec![0; 4096];
    superblock[1028] = 4;
    superblock[1080..1082].copy_from_slice(&[0x53, 0xEF]);
    let rootfs = dir.join("rootfs.ext4");
    std::fs::write(&rootfs, superblock)?;
    add(http, "kernel", json!({"kind": "kernel", "path": kernel, "default": true})).await?;
    add(http, "rootfs", json!({"kind": "rootfs", "path": rootfs})).await
}

/// The smallest real guest.
pub async fn busybox(http: &mut Http) -> Result<()> {
    let folder = folder()?;
    add(http, "kernel", json!({"kind": "kernel", "path": folder.join("hearth-kernel/vmlinux"), "default": true})).await?;
    add(http, "rootfs", json!({"kind": "rootfs", "path": folder.join("busybox/rootfs.ext4")})).await
}

async fn add(http: &mut Http, name: &str, spec: Value) -> Result<()> {
    let body = json!({"name": name, "spec": spec}).to_string();
    http.want("POST", "/v1/images?wait=60", &body).await.map(drop)
}
