//! `--demo`: registers the images that set-up made and boots a VM named `demo`. Says how it went; a failure leaves the server as it is.

use super::say;
use actors::{CommandError, NewImage, NewVm, Node, Who};
use domain::{
    Labels, Name, OperationId,
    image::{ImageKind, ImageSpec},
    operation::Status,
    vm::{Command, RestartPolicy, State, VmSpec, nic::DEFAULT_NETWORK},
};
use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const NAME: &str = "demo";
const VCPUS: u32 = 1;
/// Debian boots in it too.
const MEM_MIB: u32 = 256;
/// A copy of the largest image on a slow disk.
const IMPORT_WITHIN: Duration = Duration::from_secs(600);
/// The slowest boot that the boot timer allows, and the disk before it.
const BOOT_WITHIN: Duration = Duration::from_secs(300);

#[derive(Debug, Deserialize)]
struct Entry {
    name: String,
    kind: Kind,
    /// Relative to the list.
    path: PathBuf,
    initrd: Option<PathBuf>,
    #[serde(default)]
    default: bool,
    description: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Kernel,
    Rootfs,
}

#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("there are no images: {path} can't be read ({source}); `make setup` makes them")]
    Manifest { path: PathBuf, source: std::io::Error },
    #[error("{path} is no list of images: {source}")]
    Malformed { path: PathBuf, source: serde_json::Error },
    #[error("{path} lists no root file system; `make setup` makes one")]
    NoRootfs { path: PathBuf },
    #[error("{name:?} can't be a name: {source}")]
    Name { name: String, source: domain::NameError },
    #[error("{what}: {source}")]
    Refused { what: String, source: CommandError },
    #[error("{what}: {detail}")]
    Failed { what: String, detail: String },
    #[error("{what} did not end within {} s", within.as_secs())]
    Slow { what: String, within: Duration },
}

/// The list itself; a folder means the list in it.
fn list(named: &Path) -> PathBuf {
    if named.is_dir() { named.join("images.json") } else { named.to_owned() }
}

/// The default kernel of the list, to try KVM with; absent when there is no list.
pub fn kernel(manifest: &Path) -> Option<PathBuf> {
    let manifest = &list(manifest);
    let entries = read(manifest).ok()?;
    let entry = entries.iter().find(|entry| entry.kind == Kind::Kernel && entry.default)?;
    Some(beside(manifest, &entry.path)).filter(|path| path.is_file())
}

pub async fn run(node: &Node, manifest: &Path) {
    match boot(node, &list(manifest)).await {
        Ok(text) => say(&text),
        Err(error) => say(&format!("the demo did not start: {error}")),
    }
}

async fn boot(node: &Node, manifest: &Path) -> Result<String, DemoError> {
    let entries = read(manifest)?;
    let rootfs = entries.iter().filter(|entry| entry.kind == Kind::Rootfs);
    let rootfs = rootfs.max_by_key(|entry| entry.default).ok_or_else(|| DemoError::NoRootfs { path: manifest.to_owned() })?;
    for entry in &entries {
        register(node, manifest, entry).await?;
    }
    let started = Instant::now();
    let project = name(crate::http::PROJECT)?;
    let who = Who::system(NAME);
    let refused = |source| DemoError::Refused { what: format!("the VM {NAME}"), source };
    let found = node.view().find_vm(&project, &name(NAME)?).and_then(|id| node.view().vm(id));
    let accepted = match found {
        None => {
            let new = NewVm { name: Some(name(NAME)?), project, labels: Labels::new(), spec: spec(&rootfs.name), start: true };
            node.create_vm(new, who).await.map_err(refused)?
        }
        Some(vm) if matches!(vm.record.state, State::Created | State::Stopped | State::Failed) => {
            node.command_vm(vm.record.id, Command::Start, who).await.map_err(refused)?
        }
        Some(vm) => return Ok(format!("the VM {NAME} is {}", vm.record.state.name())),
    };
    if let Some(operation) = accepted.operation {
        ended(node, operation, format!("the VM {NAME}"), BOOT_WITHIN).await?;
    }
    let address = accepted.resource.nics.first().map_or_else(String::new, |nic| format!(" at {}", nic.address));
    let seconds = started.elapsed().as_secs_f32();
    Ok(format!("the VM {NAME} runs {}{address}, {seconds:.1} s after it was asked for: hearth vm shell {NAME}", rootfs.name))
}

fn spec(image: &str) -> VmSpec {
    VmSpec {
        host: None,
        vcpus: VCPUS,
        mem_mib: MEM_MIB,
        kernel: None,
        image: image.to_owned(),
        disk_mib: None,
        cmdline: None,
        networks: vec![DEFAULT_NETWORK.into()],
        restart: RestartPolicy::OnFailure,
        devices: domain::vm::Devices::default(),
    }
}

/// An image of that name that is there already stays; one whose import failed is made again.
async fn register(node: &Node, manifest: &Path, entry: &Entry) -> Result<(), DemoError> {
    let (image_name, project) = (name(&entry.name)?, name(crate::http::PROJECT)?);
    let what = format!("the image {}", entry.name);
    let refused = |source| DemoError::Refused { what: what.clone(), source };
    if let Some(image) = node.view().find_image(&project, &image_name).and_then(|id| node.view().image(id)) {
        if !matches!(image.state, domain::image::State::Failed { .. }) {
            return Ok(());
        }
        let accepted = node.command_image(image.id, actors::ImageCommand::Delete, Who::system(NAME)).await.map_err(refused)?;
        if let Some(operation) = accepted.operation {
            ended(node, operation, what.clone(), IMPORT_WITHIN).await?;
        }
    }
    let text = |path: &Path| beside(manifest, path).to_string_lossy().into_owned();
    let spec = ImageSpec {
        kind: match entry.kind {
            Kind::Kernel => ImageKind::Kernel,
            Kind::Rootfs => ImageKind::Rootfs,
        },
        path: text(&entry.path),
        initrd: entry.initrd.as_deref().map(text),
        default: entry.default && entry.kind == Kind::Kernel,
        description: entry.description.clone(),
    };
    let new = NewImage { name: image_name, project, labels: Labels::new(), spec };
    let accepted = node.create_image(new, Who::system(NAME)).await.map_err(refused)?;
    match accepted.operation {
        Some(operation) => ended(node, operation, what.clone(), IMPORT_WITHIN).await,
        None => Ok(()),
    }
}

async fn ended(node: &Node, id: OperationId, what: String, within: Duration) -> Result<(), DemoError> {
    match node.wait(id, within).await.as_deref().map(|operation| operation.status.clone()) {
        None | Some(Status::Succeeded) => Ok(()),
        Some(Status::Running) => Err(DemoError::Slow { what, within }),
        Some(Status::Failed(error)) => Err(DemoError::Failed { what, detail: error.detail }),
        Some(Status::Cancelled) => Err(DemoError::Failed { what, detail: "it was cancelled".to_owned() }),
    }
}

fn read(manifest: &Path) -> Result<Vec<Entry>, DemoError> {
    let text = std::fs::read(manifest).map_err(|source| DemoError::Manifest { path: manifest.to_owned(), source })?;
    serde_json::from_slice(&text).map_err(|source| DemoError::Malformed { path: manifest.to_owned(), source })
}

/// Images are imported by absolute path.
fn beside(manifest: &Path, path: &Path) -> PathBuf {
    let full = manifest.parent().unwrap_or_else(|| Path::new("")).join(path);
    std::path::absolute(&full).unwrap_or(full)
}

fn name(text: &str) -> Result<Name, DemoError> {
    text.parse().map_err(|source| DemoError::Name { name: text.to_owned(), source })
}
