//! Checks of the programs that hearth starts: VMMs and the tools for disks.

use super::{
    Check, Status,
    programs::{find, is_executable, version},
};
use crate::vmm::firecracker::programs::{OLDEST, find_firecracker, find_jailer, release};
use std::path::{Path, PathBuf};

/// What everything was tried with. Older ones have other machine lines.
const QEMU_MIN: (u32, u32) = (7, 2);

pub(super) async fn checks(firecracker: Option<&Path>, jailer: Option<&Path>) -> Vec<Check> {
    let (found, qemu, mkfs) = tokio::join!(self::found(firecracker, jailer), qemu(), mkfs());
    let (firecracker, jailer) = found;
    vec![firecracker, jailer, qemu, mkfs]
}

async fn found(firecracker: Option<&Path>, jailer: Option<&Path>) -> (Check, Check) {
    let firecracker = find_firecracker(firecracker);
    let jailer = find_jailer(jailer, firecracker.as_deref());
    let ((first, release), second) = tokio::join!(self::firecracker(firecracker), self::jailer(jailer));
    (first, second.of_one_release(release.as_deref()))
}

/// The check, and of which release it is.
async fn firecracker(found: Option<PathBuf>) -> (Check, Option<String>) {
    let (id, title) = ("firecracker", "Firecracker");
    let remedy = "install its release (firecracker and jailer) into /usr/local/bin, or name it with --firecracker PATH or HEARTH_FIRECRACKER";
    let Some(path) = found else {
        return (Check::new(id, title, Status::Missing, "not found; VMs run under QEMU").remedy(remedy), None);
    };
    if !is_executable(&path) {
        return (Check::new(id, title, Status::Failed, format!("{} is no program", path.display())).remedy(remedy), None);
    }
    match version(&path, &["--version"]).await {
        Ok(text) if older(&text, OLDEST) => {
            let detail = format!("{text} ({}) is older than {}.{}", path.display(), OLDEST.0, OLDEST.1);
            (Check::new(id, title, Status::Warn, detail).remedy(remedy), None)
        }
        Ok(text) => (Check::ok(id, title, format!("{text} ({})", path.display())), release(&text).map(str::to_owned)),
        Err(error) => (Check::new(id, title, Status::Failed, format!("{}: {error}", path.display())).remedy(remedy), None),
    }
}

const FROM_THE_RELEASE: &str =
    "it comes with Firecracker's release; put it beside firecracker, or name it with --jailer PATH or HEARTH_JAILER";

/// The jailer as it is by itself.
struct Jailer {
    check: Check,
    release: Option<String>,
}

impl Jailer {
    /// A jailer knows the options of its own Firecracker alone.
    fn of_one_release(self, firecracker: Option<&str>) -> Check {
        match (firecracker, self.release) {
            (Some(one), Some(other)) if one != other => {
                let detail = format!("it is of release {other} and firecracker of {one}: both must be of one release");
                Check::new(self.check.id, self.check.title, Status::Failed, detail).remedy(FROM_THE_RELEASE)
            }
            _ => self.check,
        }
    }
}

async fn jailer(found: Option<PathBuf>) -> Jailer {
    let (id, title) = ("jailer", "Jailer");
    let other = |check: Check| Jailer { check: check.remedy(FROM_THE_RELEASE), release: None };
    let Some(path) = found else { return other(Check::new(id, title, Status::Missing, "not found")) };
    if !is_executable(&path) {
        return other(Check::new(id, title, Status::Failed, format!("{} is no program", path.display())));
    }
    match version(&path, &["--version"]).await {
        Ok(text) => {
            let check = Check::ok(id, title, format!("{text} ({})", path.display()));
            Jailer { check, release: release(&text).map(str::to_owned) }
        }
        Err(error) => other(Check::new(id, title, Status::Failed, format!("{}: {error}", path.display()))),
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
pub(crate) fn older(text: &str, least: (u32, u32)) -> bool {
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
