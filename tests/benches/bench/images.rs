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

/// The smallest real guest, on the kernel that VMs get by default: ours after `make kernel`, else Debian's. The answer is the kernel's name.
pub async fn busybox(http: &mut Http) -> Result<String> {
    let folder = folder()?;
    let list: Value = serde_json::from_slice(&std::fs::read(folder.join("images.json"))?)?;
    let images = list.as_array().context("images.json is no list")?;
    let file = |image: &Value, key: &str| image[key].as_str().map(|path| folder.join(path));
    let kernel = images.iter().find(|image| image["kind"] == "kernel" && image["default"] == true);
    let kernel = kernel.context("images.json has no default kernel: run `make setup`")?;
    let mut spec = json!({"kind": "kernel", "path": file(kernel, "path").context("a kernel without a path")?, "default": true});
    if let Some(initrd) = file(kernel, "initrd") {
        spec["initrd"] = json!(initrd);
    }
    add(http, "kernel", spec).await?;
    let rootfs =
        images.iter().find(|image| image["name"] == "busybox").context("images.json has no busybox: run `make setup`")?;
    add(http, "rootfs", json!({"kind": "rootfs", "path": file(rootfs, "path").context("an image without a path")?})).await?;
    Ok(kernel["name"].as_str().unwrap_or("kernel").to_owned())
}

async fn add(http: &mut Http, name: &str, spec: Value) -> Result<()> {
    let body = json!({"name": name, "spec": spec}).to_string();
    http.want("POST", "/v1/images?wait=60", &body).await.map(drop)
}
