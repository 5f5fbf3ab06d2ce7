//! Which Firecracker this machine has.

use super::super::VmmError;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{process::Command, time::timeout};

pub const BINARY: &str = "firecracker";
const HINT: &str =
    "install its release (firecracker and jailer) into /usr/local/bin, or name it with --firecracker PATH or HEARTH_FIRECRACKER";
const VERSION_DEADLINE: Duration = Duration::from_secs(10);
/// Older ones do not describe their devices by ACPI, and Debian's kernels then do not find them.
const OLDEST: (u32, u32) = (1, 8);

/// A release, and what it can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// `1.16.1`.
    pub text: String,
    number: (u32, u32),
}

impl Version {
    /// What `firecracker --version` prints first: `Firecracker v1.16.1`.
    pub fn parse(text: &str) -> Option<Self> {
        let word = text.split_whitespace().find_map(|word| word.strip_prefix('v'))?;
        let mut parts = word.split(|letter: char| !letter.is_ascii_digit());
        let number = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { text: word.to_owned(), number })
    }

    /// The guest names what it frees all the time.
    pub fn has_free_page_reporting(&self) -> bool {
        self.number >= (1, 14)
    }
}

/// The program's resolved path.
pub fn find_binary(named: Option<&Path>) -> Result<PathBuf, VmmError> {
    let candidates: Vec<PathBuf> = match named {
        Some(path) => vec![path.into()],
        None => {
            let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
            std::env::split_paths(&path).map(|folder| folder.join(BINARY)).collect()
        }
    };
    let found = candidates.iter().find_map(|path| path.canonicalize().ok().filter(|path| path.is_file()));
    found.ok_or_else(|| VmmError::ProgramMissing { program: BINARY.into(), hint: HINT.into() })
}

/// Asks the program for its version; one that is too old, or is no Firecracker, is refused.
pub async fn version(binary: &Path) -> Result<Version, VmmError> {
    let run = Command::new(binary).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match timeout(VERSION_DEADLINE, run).await {
        Err(_) => return Err(VmmError::Timeout { call: "--version", after_ms: VERSION_DEADLINE.as_millis() as u64 }),
        Ok(Err(error)) => return Err(VmmError::Spawn { detail: format!("{}: {error}", binary.display()) }),
        Ok(Ok(output)) => output,
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let version = said.lines().next().filter(|line| line.starts_with("Firecracker ")).and_then(Version::parse);
    let Some(version) = version else {
        return Err(VmmError::Spawn { detail: format!("{} is no firecracker: it tells no version", binary.display()) });
    };
    if version.number < OLDEST {
        let detail = format!("firecracker {} ({}) is older than 1.8: {HINT}", version.text, binary.display());
        return Err(VmmError::Spawn { detail });
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found() {
        let version = Version::parse("Firecracker v1.16.1").unwrap();
        assert_eq!((version.text.as_str(), version.number), ("1.16.1", (1, 16)));
        assert!(version.has_free_page_reporting());
        assert!(!Version::parse("Firecracker v1.13.0-dev").unwrap().has_free_page_reporting());
        assert_eq!(Version::parse("Firecracker v1.17.0-dev").unwrap().text, "1.17.0-dev");
        for text in ["", "Firecracker", "v", "v1", "vx.y"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn what_is_no_firecracker_is_told() {
        assert!(matches!(find_binary(Some(Path::new("/nowhere/fc"))), Err(VmmError::ProgramMissing { .. })));
        let other = version(Path::new("/bin/true")).await;
        assert!(matches!(&other, Err(VmmError::Spawn { detail }) if detail.contains("no firecracker")), "{other:?}");
    }
}
