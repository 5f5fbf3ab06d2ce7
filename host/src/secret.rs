//! Secrets that must be kept to be used, such as the key that a webhook's deliveries are signed with. They lie in files of mode 0600, one
//! each, beside the journal and never in it: the journal, its backups and its events may be shown to people who may not sign.
//!
//! Owns the files and their names; which secret belongs to whom is said by the records. What a crash leaves is swept at the next start.

use async_trait::async_trait;
use std::{
    fmt,
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Above any key of ours; a longer file is not one that we wrote.
const SECRET_MAX: u64 = 4096;

/// Bytes that no log, error or debugger's view shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(bytes)
    }

    /// For whoever signs with it.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the secret of {owner} is not there: give it a new one")]
    Missing { owner: String },
    #[error("{owner:?} can't own a secret")]
    Owner { owner: String },
    #[error("the secret file {path} can't be used")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Where secrets are kept, by their owner's id.
#[async_trait]
pub trait SecretStore: Send + Sync + 'static {
    /// Replaces what there was; durable when it returns. Cancel: the old or the new one is there, whole.
    async fn put(&self, owner: &str, secret: Secret) -> Result<(), SecretError>;
    async fn get(&self, owner: &str) -> Result<Secret, SecretError>;
    /// Removing what is not there is no error.
    async fn remove(&self, owner: &str) -> Result<(), SecretError>;
    /// Removes those that no record names (`named`), but none whose owner's record can't be read (`unread`: theirs are called the owner, or
    /// the owner, `_` and more); answers which.
    async fn sweep(&self, named: &[String], unread: &[String]) -> Result<Vec<String>, SecretError>;
}

/// Files in a folder that only its owner may enter.
pub struct FileSecrets {
    folder: PathBuf,
}

impl FileSecrets {
    pub fn new(folder: impl Into<PathBuf>) -> FileSecrets {
        FileSecrets { folder: folder.into() }
    }

    /// The same as `put`, for a folder that no server uses. Blocks.
    ///
    /// # Errors
    /// The name is none of ours, or the disk refuses.
    pub fn restore(&self, owner: &str, secret: &Secret) -> Result<(), SecretError> {
        let path = self.path(owner)?;
        write(&path, secret.reveal()).map_err(|source| SecretError::File { path, source })
    }

    /// Whether there is one. Blocks.
    pub fn has(&self, owner: &str) -> bool {
        self.path(owner).is_ok_and(|path| path.is_file())
    }

    /// An id of ours as a file's name, with what tells its secrets apart; nothing else becomes one.
    fn path(&self, owner: &str) -> Result<PathBuf, SecretError> {
        let fits =
            !owner.is_empty() && owner.len() <= 64 && owner.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if fits { Ok(self.folder.join(owner)) } else { Err(SecretError::Owner { owner: owner.to_owned() }) }
    }
}

/// Off the async workers.
async fn blocking<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce(&Path) -> std::io::Result<T> + Send + 'static,
) -> Result<T, SecretError> {
    let shown = path.clone();
    let done = tokio::task::spawn_blocking(move || work(&path)).await;
    done.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(|source| SecretError::File { path: shown, source })
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let temporary = path.with_extension("new");
    let _ = std::fs::remove_file(&temporary);
    // Never readable by others, not even for a moment.
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(folder)?.sync_all()?;
    // The folder itself may be new.
    folder.parent().map_or(Ok(()), |parent| std::fs::File::open(parent)?.sync_all())
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn names(folder: &Path) -> std::io::Result<Vec<String>> {
    match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
        Ok(entries) => {
            let name =
                |entry: std::io::Result<std::fs::DirEntry>| entry.map(|entry| entry.file_name().to_string_lossy().into_owned());
            entries.map(name).collect()
        }
    }
}

/// Whether a secret of this name is one that `sweep` removes.
pub fn is_swept(name: &str, named: &[String], unread: &[String]) -> bool {
    let of = |owner: &String| name.strip_prefix(owner.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
    !named.iter().any(|known| known == name) && !unread.iter().any(of)
}

#[async_trait]
impl SecretStore for FileSecrets {
    async fn put(&self, owner: &str, secret: Secret) -> Result<(), SecretError> {
        blocking(self.path(owner)?, move |path| write(path, secret.reveal())).await
    }

    async fn get(&self, owner: &str) -> Result<Secret, SecretError> {
        let missing = owner.to_owned();
        let read = blocking(self.path(owner)?, |path| match std::fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(meta) if meta.len() > SECRET_MAX => Err(ErrorKind::FileTooLarge.into()),
            Ok(_) => std::fs::read(path).map(Some),
        });
        read.await?.map(Secret::new).ok_or(SecretError::Missing { owner: missing })
    }

    async fn remove(&self, owner: &str) -> Result<(), SecretError> {
        blocking(self.path(owner)?, remove).await
    }

    async fn sweep(&self, named: &[String], unread: &[String]) -> Result<Vec<String>, SecretError> {
        let (named, unread) = (named.to_vec(), unread.to_vec());
        blocking(self.folder.clone(), move |folder| {
            let unknown: Vec<String> = names(folder)?.into_iter().filter(|name| is_swept(name, &named, &unread)).collect();
            unknown.iter().try_for_each(|name| remove(&folder.join(name)))?;
            Ok(unknown)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn a_secret_is_kept_for_its_owner_alone_and_goes_with_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = FileSecrets::new(dir.path().join("secrets"));
        assert!(matches!(store.get("wh_1").await, Err(SecretError::Missing { .. })));
        for secret in [b"first".to_vec(), b"second".to_vec()] {
            store.put("wh_1", Secret::new(secret.clone())).await.expect("kept");
            assert_eq!(store.get("wh_1").await.expect("there").reveal(), secret);
        }
        let mode = |path: &str| std::fs::metadata(dir.path().join(path)).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode("secrets"), mode("secrets/wh_1")), (0o700, 0o600));
        for name in ["wh_1_05", "wh_2", "wh_2_07", "wh_22", "wh_3"] {
            store.put(name, Secret::new(vec![1])).await.expect("kept");
        }
        let owners = |names: [&str; 2]| names.map(str::to_owned);
        let mut swept = store.sweep(&owners(["wh_1", "wh_3"]), &owners(["wh_2", "wh_9"])).await.expect("swept");
        swept.sort();
        assert_eq!(swept, ["wh_1_05", "wh_22"], "what no record names, but for an owner's whose record can't be read");
        store.remove("wh_1").await.expect("removed");
        store.remove("wh_1").await.expect("twice is no error");
        assert!(matches!(store.get("wh_1").await, Err(SecretError::Missing { .. })));
    }

    #[tokio::test]
    async fn only_ids_own_secrets() {
        let store = FileSecrets::new("/nonexistent");
        for bad in ["", "../x", "a/b", "a.new", &"x".repeat(65)] {
            assert!(matches!(store.get(bad).await, Err(SecretError::Owner { .. })), "{bad}");
        }
    }

    #[test]
    fn nobody_sees_it_by_accident() {
        assert!(!format!("{:?}", Secret::new(b"hunter2".to_vec())).contains("hunter2"));
    }
}
