//! Outcomes of self-tests that the data directory keeps, a file each: they hold for one boot of the host's kernel, and for what they were
//! tried with.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::path::Path;

#[derive(Serialize, Deserialize)]
struct Kept<T> {
    boot_id: String,
    /// What it was tried with; absent where the machine alone decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    with: Option<String>,
    verdict: T,
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// What was kept in this boot for the same thing; whatever it was tried with when `with` is absent.
pub fn recall<T: DeserializeOwned>(path: &Path, with: Option<&str>) -> Option<T> {
    let kept: Kept<T> = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    (kept.boot_id == boot_id() && (with.is_none() || with == kept.with.as_deref())).then_some(kept.verdict)
}

/// Only saves the next start some seconds: a failure is no failure.
pub fn keep<T: Serialize>(path: &Path, with: Option<&str>, verdict: &T) {
    let kept = Kept { boot_id: boot_id(), with: with.map(str::to_owned), verdict };
    if let Ok(bytes) = serde_json::to_vec(&kept)
        && let Err(error) = std::fs::write(path, bytes)
    {
        tracing::debug!(%error, path = %path.display(), "a self-test's outcome was not kept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_for_this_boot_and_for_what_it_was_tried_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept.json");
        assert_eq!(recall::<bool>(&path, None), None);
        keep(&path, Some("fc 1"), &true);
        assert_eq!(recall(&path, Some("fc 1")), Some(true));
        assert_eq!(recall(&path, None), Some(true));
        assert_eq!(recall::<bool>(&path, Some("fc 2")), None);
        let text = std::fs::read_to_string(&path).unwrap().replace(&boot_id(), "another-boot");
        std::fs::write(&path, text).unwrap();
        assert_eq!(recall::<bool>(&path, None), None);
        // As it was written before it knew what it was tried with.
        std::fs::write(&path, format!("{{\"boot_id\":\"{}\",\"verdict\":false}}", boot_id())).unwrap();
        assert_eq!(recall(&path, None), Some(false));
    }
}
