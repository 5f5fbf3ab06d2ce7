//! Which Firecracker and which jailer this machine has: found by name, asked for their versions, held against each other. Makes nothing.

use crate::doctor::programs::{find, is_executable, version};
use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Older ones do not describe their devices by ACPI, and Debian's kernels then do not find them.
pub const OLDEST: (u32, u32) = (1, 8);

pub const FIRECRACKER_VARIABLE: &str = "HEARTH_FIRECRACKER";
pub const JAILER_VARIABLE: &str = "HEARTH_JAILER";

/// What was found, with resolved paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    pub firecracker: PathBuf,
    /// As it tells it: `1.16.1`.
    pub version: String,
    /// Absent: none was asked for.
    pub jailer: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProgramsError {
    #[error(
        "Firecracker is not installed: put its release (firecracker and jailer) into /usr/local/bin, or name it with --firecracker FILE"
    )]
    NoFirecracker,
    #[error("the Firecracker that was named (--firecracker, HEARTH_FIRECRACKER), {}, is not there or no program", .path.display())]
    FirecrackerNamed { path: PathBuf },
    #[error(
        "the jailer is not installed: it comes with Firecracker's release; put it beside firecracker, name it with --jailer FILE, or go without (--no-jailer, on a workstation)"
    )]
    NoJailer,
    #[error("the jailer that was named (--jailer, HEARTH_JAILER), {}, is not there or no program", .path.display())]
    JailerNamed { path: PathBuf },
    #[error("{} does not tell its version: {detail}", .path.display())]
    Version { path: PathBuf, detail: String },
    #[error("{} is version {version}, {}.{} or newer is needed", .path.display(), OLDEST.0, OLDEST.1)]
    TooOld { path: PathBuf, version: String },
    #[error("firecracker is of release {firecracker} and the jailer of {jailer}: both must be of one release")]
    Releases { firecracker: String, jailer: String },
    #[error("the jailer needs root: run hearth as root, or go without it (--no-jailer, on a workstation)")]
    NotRoot,
}

impl Programs {
    /// Changes when the program does: for what was found out with it.
    pub fn identity(&self) -> String {
        let (length, changed) = self.firecracker.metadata().map_or((0, 0), |meta| (meta.len(), meta.mtime()));
        format!("{} {} {length} {changed}", self.firecracker.display(), self.version)
    }
}

/// By option, by environment, by PATH. What the user named counts even if nothing is there: a typing error is to be seen, not papered over.
pub(crate) fn find_firecracker(named: Option<&Path>) -> Option<PathBuf> {
    named.map(Path::to_owned).or_else(|| by_environment(FIRECRACKER_VARIABLE)).or_else(|| find("firecracker"))
}

/// By option, by environment, beside Firecracker (the two must be of one release), by PATH.
pub(crate) fn find_jailer(named: Option<&Path>, firecracker: Option<&Path>) -> Option<PathBuf> {
    let beside =
        || firecracker.and_then(|path| path.parent().map(|folder| folder.join("jailer"))).filter(|path| is_executable(path));
    named.map(Path::to_owned).or_else(|| by_environment(JAILER_VARIABLE)).or_else(beside).or_else(|| find("jailer"))
}

fn by_environment(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The words after the first `v` of what it says: `Firecracker v1.16.1` is `1.16.1`, `Jailer v1.17.0-dev` is `1.17.0-dev`.
pub(crate) fn release(text: &str) -> Option<&str> {
    text.split_whitespace().filter_map(|word| word.strip_prefix('v')).find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
}

/// Finds both, or says what is wrong. `jailer`: absent when none is wanted; inside it, absent when none is named. At most 20 s, when both hang.
pub async fn look(firecracker: Option<&Path>, jailer: Option<Option<&Path>>) -> Result<Programs, ProgramsError> {
    let found = find_firecracker(firecracker).ok_or(ProgramsError::NoFirecracker)?;
    let path = resolved(&found).ok_or(ProgramsError::FirecrackerNamed { path: found })?;
    let told = told(&path).await?;
    if crate::doctor::older(&told, OLDEST) {
        return Err(ProgramsError::TooOld { path, version: told });
    }
    let jailer = match jailer {
        None => None,
        Some(named) => Some(self::jailer(named, &path, &told).await?),
    };
    Ok(Programs { firecracker: path, version: told, jailer })
}

async fn jailer(named: Option<&Path>, firecracker: &Path, version: &str) -> Result<PathBuf, ProgramsError> {
    let found = find_jailer(named, Some(firecracker)).ok_or(ProgramsError::NoJailer)?;
    let path = resolved(&found).ok_or(ProgramsError::JailerNamed { path: found })?;
    let told = told(&path).await?;
    if told != version {
        return Err(ProgramsError::Releases { firecracker: version.to_owned(), jailer: told });
    }
    if !nix::unistd::geteuid().is_root() {
        return Err(ProgramsError::NotRoot);
    }
    Ok(path)
}

/// As `/proc/PID/exe` will name it.
fn resolved(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().filter(|path| is_executable(path))
}

async fn told(path: &Path) -> Result<String, ProgramsError> {
    let failed = |detail: String| ProgramsError::Version { path: path.to_owned(), detail };
    let text = version(path, &["--version"]).await.map_err(failed)?;
    release(&text).map(str::to_owned).ok_or_else(|| failed(format!("it says {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that says so. Another program copies it: see the doctor's tests.
    fn says(folder: &Path, name: &str, text: &str) -> PathBuf {
        let (script, file) = (folder.join("script"), folder.join(name));
        std::fs::write(&script, format!("#!/bin/sh\necho '{text}'\n")).unwrap();
        assert!(std::process::Command::new("install").args(["-m", "755"]).args([&script, &file]).status().unwrap().success());
        file
    }

    #[tokio::test]
    async fn both_are_found_beside_one_another_and_must_be_of_one_release() {
        let folder = tempfile::tempdir().unwrap();
        let firecracker = says(folder.path(), "firecracker", "Firecracker v1.16.1");
        let alone = look(Some(&firecracker), None).await.unwrap();
        assert_eq!((alone.version.as_str(), alone.jailer.as_ref()), ("1.16.1", None));
        let root = nix::unistd::geteuid().is_root();
        let jailer = says(folder.path(), "jailer", "Jailer v1.16.1");
        let both = look(Some(&firecracker), Some(None)).await;
        match root {
            true => assert_eq!(both.unwrap().jailer, Some(jailer.canonicalize().unwrap())),
            false => assert_eq!(both, Err(ProgramsError::NotRoot)),
        }
        says(folder.path(), "jailer", "Jailer v1.15.0");
        let refused = look(Some(&firecracker), Some(None)).await.unwrap_err();
        assert_eq!(refused, ProgramsError::Releases { firecracker: "1.16.1".into(), jailer: "1.15.0".into() });
        assert!(look(Some(&firecracker), None).await.is_ok(), "without the jailer its release is nobody's business");
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (absent, old) = (folder.path().join("absent"), says(folder.path(), "firecracker", "Firecracker v1.7.0"));
        assert_eq!(look(Some(&absent), None).await, Err(ProgramsError::FirecrackerNamed { path: absent.clone() }));
        let told = look(Some(&old), None).await.unwrap_err().to_string();
        assert!(told.contains("1.7.0, 1.8 or newer"), "{told}");
        let good = says(folder.path(), "firecracker", "Firecracker v1.17.0-dev");
        assert_eq!(look(Some(&good), Some(Some(&absent))).await, Err(ProgramsError::JailerNamed { path: absent }));
        let mute = says(folder.path(), "mute", "hello");
        assert!(matches!(look(Some(&mute), None).await, Err(ProgramsError::Version { .. })));
        let before = look(Some(&good), None).await.unwrap().identity();
        assert_eq!(look(Some(&good), None).await.unwrap().identity(), before);
        says(folder.path(), "firecracker", "Firecracker v1.17.1");
        assert_ne!(look(Some(&good), None).await.unwrap().identity(), before, "another program is another thing to try");
    }

    #[test]
    fn releases_are_read() {
        assert_eq!(release("Firecracker v1.16.1"), Some("1.16.1"));
        assert_eq!(release("Jailer v1.17.0-dev"), Some("1.17.0-dev"));
        assert_eq!(release("very vague"), None);
    }
}
