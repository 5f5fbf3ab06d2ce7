//! Checks of the programs that hearth starts: VMMs and the tools for disks.

use super::{
    Check, Status,
    programs::{find, is_executable, version},
};
use std::{
    env,
    path::{Path, PathBuf},
};

/// Firecracker older than this does not describe its devices by ACPI, and Debian's kernels then do not find them.
const FIRECRACKER_MIN: (u32, u32) = (1, 8);
/// What everything was tried with. Older ones have other machine lines.
const QEMU_MIN: (u32, u32) = (7, 2);

pub(super) async fn checks(firecracker: Option<&Path>) -> Vec<Check> {
    let (firecracker, jailer, qemu, mkfs) = tokio::join!(self::firecracker(firecracker), jailer(firecracker), qemu(), mkfs());
    vec![firecracker, jailer, qemu, mkfs]
}

/// The path that the user gave counts even if nothing is there: a typing error is to be seen, not papered over.
fn firecracker_path(given: Option<&Path>) -> Option<PathBuf> {
    let given = given.map(Path::to_owned);
    given
        .or_else(|| env::var_os("HEARTH_FIRECRACKER").filter(|path| !path.is_empty()).map(PathBuf::from))
        .or_else(|| find("firecracker"))
}

async fn firecracker(given: Option<&Path>) -> Check {
    let (id, title) = ("firecracker", "Firecracker");
    let remedy = "install its release (firecracker and jailer) into /usr/local/bin, or name it with --firecracker PATH or HEARTH_FIRECRACKER";
    let Some(path) = firecracker_path(given) else {
        return Check::new(id, title, Status::Missing, "not found; VMs run under QEMU").remedy(remedy);
    };
    if !is_executable(&path) {
        return Check::new(id, title, Status::Failed, format!("{} is no program", path.display())).remedy(remedy);
    }
    match version(&path, &["--version"]).await {
        Ok(text) if older(&text, FIRECRACKER_MIN) => {
            Check::new(id, title, Status::Warn, format!("{text} ({}) is older than 1.8", path.display())).remedy(remedy)
        }
        Ok(text) => Check::ok(id, title, format!("{text} ({})", path.display())),
        Err(error) => Check::new(id, title, Status::Failed, format!("{}: {error}", path.display())).remedy(remedy),
    }
}

/// Beside Firecracker first: the two must be of one release.
async fn jailer(given: Option<&Path>) -> Check {
    let (id, title) = ("jailer", "Jailer");
    let beside = firecracker_path(given).and_then(|path| path.parent().map(|folder| folder.join("jailer")));
    let Some(path) = beside.filter(|path| is_executable(path)).or_else(|| find("jailer")) else {
        return Check::new(id, title, Status::Missing, "not found")
            .remedy("it comes with Firecracker's release; put it beside firecracker");
    };
    match version(&path, &["--version"]).await {
        Ok(text) => Check::ok(id, title, format!("{text} ({})", path.display())),
        Err(error) => Check::new(id, title, Status::Failed, format!("{}: {error}", path.display())),
    }
}

async fn qemu() -> Check {
    let (id, title) = ("qemu", "QEMU");
    let install = "install it: apt-get install --no-install-recommends qemu-system-x86";
    let Some(path) = find("qemu-system-x86_64") else {
        return Check::new(id, title, Status::Missing, "qemu-system-x86_64 is not found; only Firecracker can run VMs")
            .remedy(install);
    };
    match version(&path, &["--version"]).await {
        Ok(text) if older(&text, QEMU_MIN) => {
            Check::new(id, title, Status::Warn, format!("{text} is older than 7.2")).remedy(install)
        }
        Ok(text) => Check::ok(id, title, format!("{text} ({})", path.display())),
        Err(error) => Check::new(id, title, Status::Failed, format!("{}: {error}", path.display())).remedy(install),
    }
}

async fn mkfs() -> Check {
    let (id, title) = ("mkfs-ext4", "mkfs.ext4");
    let install = "install it: apt-get install e2fsprogs";
    let Some(path) = find("mkfs.ext4") else {
        return Check::new(id, title, Status::Failed, "not found; images can't be made").remedy(install);
    };
    match version(&path, &["-V"]).await {
        Ok(text) => Check::ok(id, title, text),
        Err(error) => Check::new(id, title, Status::Failed, format!("{}: {error}", path.display())).remedy(install),
    }
}

/// Whether the first `major.minor` in the text is below the least. A text without one is not.
pub(super) fn older(text: &str, least: (u32, u32)) -> bool {
    numbers(text).is_some_and(|version| version < least)
}

/// The first `major.minor` in a text, as in `Firecracker v1.16.1` and `6.1.0-56-cloud`.
pub(super) fn numbers(text: &str) -> Option<(u32, u32)> {
    text.split(|c: char| c.is_whitespace() || c == 'v' || c == '(').find_map(|word| {
        let mut parts = word.split(|c: char| !c.is_ascii_digit());
        let (major, minor) = (parts.next()?, parts.next()?);
        Some((major.parse().ok()?, minor.parse().ok()?))
    })
}
