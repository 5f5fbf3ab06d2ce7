//! `--user-data`, `--ssh-key`, `--metadata`: what a guest is given to configure itself by, out of files. What can be seen to be wrong here is
//! told here, before anything is sent; above all a private key, which must not leave the machine.

use crate::cli::error::CliError;
use api::v1::{CloudInit, Metadata};
use clap::Args;
use domain::vm::{SSH_KEY_TYPES, USER_DATA_MAX};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// The server's own bound for each of them; a file is read no further.
const MOST_BYTES: usize = USER_DATA_MAX;

#[derive(Debug, Args)]
pub struct GivenArgs {
    /// For cloud-init in the guest: a file with #cloud-config or a script
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// For cloud-init in the guest: a public key for the image's user, or a file of such; may be repeated
    #[arg(long = "ssh-key", value_name = "KEY|FILE")]
    ssh_keys: Vec<String>,
    /// A file with a JSON object that the guest reads at http://169.254.169.254; one that runs sees a change at once
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,
}

impl GivenArgs {
    /// Anything for cloud-init.
    pub fn for_cloud_init(&self) -> bool {
        self.user_data.is_some() || !self.ssh_keys.is_empty()
    }

    /// Absent: nothing was given.
    pub fn cloud_init(&self) -> Result<Option<CloudInit>, CliError> {
        if !self.for_cloud_init() {
            return Ok(None);
        }
        let mut all = CloudInit::default();
        if let Some(path) = &self.user_data {
            let text = read(path, "user data")?;
            refuse_private(&text, path)?;
            all.user_data = Some(text);
        }
        if !self.ssh_keys.is_empty() {
            all.ssh_keys = self.ssh_keys.iter().map(|given| keys(given)).collect::<Result<Vec<_>, _>>()?.concat();
        }
        Ok(Some(all))
    }

    pub fn metadata(&self) -> Result<Option<Metadata>, CliError> {
        let Some(path) = &self.metadata else { return Ok(None) };
        let parsed = serde_json::from_str(&read(path, "metadata")?);
        parsed.map(Some).map_err(|error| {
            usage(format!("{} is no JSON object: {error}", path.display()), "give a file such as {\"role\": \"web\"}")
        })
    }
}

/// What was given on top of what a VM has already: keys for keys, data for data.
pub fn over(given: CloudInit, before: Option<CloudInit>) -> CloudInit {
    let before = before.unwrap_or_default();
    let ssh_keys = if given.ssh_keys.is_empty() { before.ssh_keys } else { given.ssh_keys };
    // One that is there is shown as set, which means that it stays.
    CloudInit { user_data: given.user_data.or(before.user_data), ssh_keys, password: given.password.or(before.password) }
}

fn usage(detail: String, hint: &'static str) -> CliError {
    CliError::Usage { detail, hint }
}

fn read(path: &Path, what: &str) -> Result<String, CliError> {
    let mut bytes = Vec::new();
    let opened = File::open(path).and_then(|file| file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes));
    if let Err(error) = opened {
        return Err(usage(format!("cannot read {}: {error}", path.display()), "give the path of a file on this machine"));
    }
    if bytes.len() > MOST_BYTES {
        let detail = format!("{} is too large: {what} may have {MOST_BYTES} bytes", path.display());
        return Err(usage(detail, "let the guest fetch the rest itself"));
    }
    String::from_utf8(bytes).map_err(|_| usage(format!("{} is no text", path.display()), "give a file of text in UTF-8"))
}

/// The argument itself where it is a key, else those of the file: one a line, as in `authorized_keys`.
fn keys(given: &str) -> Result<Vec<String>, CliError> {
    if given.contains("PRIVATE KEY") {
        return Err(private("what was given"));
    }
    // No options stand before it.
    if SSH_KEY_TYPES.iter().any(|kind| given.starts_with(kind)) && given.contains(' ') {
        return Ok(vec![given.trim().to_owned()]);
    }
    let path = Path::new(given);
    let text = read(path, "keys")?;
    refuse_private(&text, path)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Vec<String> = lines.map(str::to_owned).collect();
    if keys.is_empty() {
        return Err(usage(format!("{given} holds no key"), "give a public key, or its file, which ends in .pub"));
    }
    Ok(keys)
}

/// Cloud-config may bring a host's own private key on purpose, so that only what is a key and nothing else is refused.
fn refuse_private(text: &str, path: &Path) -> Result<(), CliError> {
    let begins = text.trim_start();
    if begins.starts_with("-----BEGIN") && begins.contains("PRIVATE KEY") {
        return Err(private(&path.display().to_string()));
    }
    Ok(())
}

fn private(what: &str) -> CliError {
    usage(format!("{what} is a private key"), "give the public one: its file ends in .pub")
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::v1::Password;

    fn given(user_data: Option<&Path>, keys: &[&str], metadata: Option<&Path>) -> GivenArgs {
        GivenArgs {
            user_data: user_data.map(Into::into),
            ssh_keys: keys.iter().map(|&key| key.to_owned()).collect(),
            metadata: metadata.map(Into::into),
        }
    }

    fn told<T: std::fmt::Debug>(refused: Result<T, CliError>) -> String {
        let error = refused.unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    }

    #[test]
    fn keys_by_themselves_and_by_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let pubs = file("keys.pub", "# mine\nssh-ed25519 AAAA me@here\n\n  ssh-rsa BBBB  \r\n");
        let args = given(None, &["ssh-ed25519 CCCC x", pubs.to_str().unwrap()], None);
        let before = CloudInit { user_data: Some("kept".into()), ssh_keys: vec!["gone".into()], password: Some(Password::Set) };
        let all = over(args.cloud_init().unwrap().unwrap(), Some(before));
        assert_eq!(all.ssh_keys, ["ssh-ed25519 CCCC x", "ssh-ed25519 AAAA me@here", "ssh-rsa BBBB"]);
        assert_eq!((all.user_data.as_deref(), all.password), (Some("kept"), Some(Password::Set)));
        let asked = CloudInit { password: Some(Password::Generate), ..CloudInit::default() };
        assert_eq!(over(asked, Some(all)).password, Some(Password::Generate));
        assert_eq!(given(None, &[], None).cloud_init().unwrap(), None);

        let private = file("id", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n");
        for args in [given(None, &[private.to_str().unwrap()], None), given(Some(&private), &[], None)] {
            assert!(told(args.cloud_init()).ends_with("id is a private key"));
        }
        assert!(told(given(None, &["-----BEGIN PRIVATE KEY-----"], None).cloud_init()).contains("private key"));
        assert!(told(given(None, &["no-such-file.pub"], None).cloud_init()).starts_with("cannot read no-such-file.pub: "));
        assert!(told(given(None, &[file("none", "\n").to_str().unwrap()], None).cloud_init()).ends_with("holds no key"));
    }

    #[test]
    fn files_that_are_too_large_or_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let write = |bytes: &[u8]| std::fs::write(&path, bytes).unwrap();
        write(&vec![b'x'; MOST_BYTES]);
        assert_eq!(given(Some(&path), &[], None).cloud_init().unwrap().unwrap().user_data.unwrap().len(), MOST_BYTES);
        write(&vec![b'x'; MOST_BYTES + 1]);
        assert!(told(given(Some(&path), &[], None).cloud_init()).contains("too large: user data may have 32768 bytes"));
        write(b"\xff");
        assert!(told(given(Some(&path), &[], None).cloud_init()).ends_with("is no text"));
        write(b"[1]");
        assert!(told(given(None, &[], Some(&path)).metadata()).contains("no JSON object"));
        write(b"{\"role\": \"web\"}");
        assert_eq!(given(None, &[], Some(&path)).metadata().unwrap().unwrap()["role"], "web");
    }
}
