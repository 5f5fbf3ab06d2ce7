//! The admin's token: made at the first start, kept in a file that only its owner reads, compared in constant time. Owns no users: there is
//! one token and it may do everything.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::TryRngCore;
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

pub const FILE: &str = "admin.token";
/// Says what it is, so that a scanner for leaked secrets can find it.
const PREFIX: &str = "hearth_";
/// 256 bits: beyond guessing, whatever the rate.
const BYTES: usize = 32;
/// Whoever writes his own token must not write one that can be guessed.
const LEAST: usize = 16;
const MODE: u32 = 0o600;

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the operating system gives no randomness for {path}")]
    Random {
        path: PathBuf,
        #[source]
        source: rand::rand_core::OsError,
    },
    #[error("can't write the admin's token {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("can't read the admin's token {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} holds no token ({LEAST} visible characters at least), remove it to have a new one made")]
    Malformed { path: PathBuf },
}

/// Only a digest is kept in memory: what leaks of it is of no use.
#[derive(Clone)]
pub struct AdminToken {
    digest: [u8; 32],
}

impl AdminToken {
    pub fn of(token: &str) -> AdminToken {
        AdminToken { digest: Sha256::digest(token.as_bytes()).into() }
    }

    /// Reads `DIR/admin.token`, or makes it.
    pub fn open(dir: &Path) -> Result<AdminToken, TokenError> {
        let path = dir.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let token = text.trim();
                if token.len() < LEAST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(TokenError::Malformed { path });
                }
                // A copy or a careless umask may have opened it to others.
                fs::set_permissions(&path, fs::Permissions::from_mode(MODE))
                    .map_err(|source| TokenError::Write { path, source })?;
                Ok(AdminToken::of(token))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(path),
            Err(source) => Err(TokenError::Read { path, source }),
        }
    }

    /// Takes the same time for every wrong token: the digests are compared whole.
    pub fn is(&self, token: &str) -> bool {
        let theirs: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        self.digest.iter().zip(theirs).fold(0u8, |difference, (ours, theirs)| difference | (ours ^ theirs)) == 0
    }
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken")
    }
}

/// By a temporary file and a rename: a crash must not leave half a token.
fn make(path: PathBuf) -> Result<AdminToken, TokenError> {
    let mut random = [0; BYTES];
    if let Err(source) = rand::rngs::OsRng.try_fill_bytes(&mut random) {
        return Err(TokenError::Random { path, source });
    }
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let half = path.with_extension("token.new");
    let write = || {
        let _ = fs::remove_file(&half);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(&half)?;
        writeln!(file, "{token}")?;
        file.sync_all()?;
        fs::rename(&half, &path)
    };
    write().map_err(|source| TokenError::Write { path: path.clone(), source })?;
    Ok(AdminToken::of(&token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        AdminToken::open(dir.path()).unwrap();
        let path = dir.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(PREFIX) && text.len() > 40, "{text}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let again = AdminToken::open(dir.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "opened to others, and closed again");
        assert!(again.is(text.trim()));
        for wrong in ["", text.trim_end().strip_suffix(char::is_alphanumeric).unwrap_or("x"), "hearth_", &text] {
            assert!(!again.is(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn an_empty_file_is_no_token() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "\n").unwrap();
        assert!(matches!(AdminToken::open(dir.path()), Err(TokenError::Malformed { .. })));
    }
}
