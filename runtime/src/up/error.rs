//! Why the server did not start, or ended: what people read, and the exit code.

use crate::{assemble::AssembleError, auth::TokenError};
use actors::{StartError, error::chain};
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};
use storage::OpenError;

#[derive(Debug, thiserror::Error)]
pub enum UpError {
    #[error("the server can't be started")]
    Runtime {
        #[source]
        source: io::Error,
    },
    #[error("{address} is in use by another program")]
    PortInUse { address: String },
    #[error("can't listen on {address}")]
    Listen {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("the data directory {path} can't be made")]
    DataDir {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the journal can't be opened")]
    Journal {
        #[source]
        source: OpenError,
    },
    #[error("the admin's token can't be used")]
    Token(#[from] TokenError),
    #[error("this machine can't run VMs as asked")]
    Assemble {
        #[source]
        source: AssembleError,
    },
    #[error("the node can't be started")]
    Node {
        #[source]
        source: StartError,
    },
    #[error("the node has failed: {reason}")]
    Failed { reason: String },
    #[error("stopped at once, by a second signal; the next start recovers")]
    Impatient,
}

/// The kernel's words in small letters, which every error's chain ends with, and what to do about them whatever was tried.
const REMEDIES: [(&str, &str); 4] = [
    ("no space left", "make room on the disk of the data directory, then start it again"),
    (
        "read-only file system",
        "the data directory's disk is read-only: look for its error (dmesg), mount it writable, then start it again",
    ),
    ("input/output error", "the data directory's disk fails: look for its error (dmesg), repair it, then start it again"),
    ("too many open files", "raise the limit of open files (ulimit -n 1024), then start it again"),
];

impl UpError {
    /// What to do: by what the machine said where that is plain, else by what was tried.
    fn hint(&self) -> &'static str {
        // Ours begin with a small letter, the kernel's with a capital.
        let told = chain(self).to_lowercase();
        let by_cause = REMEDIES.iter().find(|(word, _)| told.contains(word)).map(|(_, remedy)| *remedy);
        by_cause.unwrap_or_else(|| self.hint_by_step())
    }

    fn hint_by_step(&self) -> &'static str {
        match self {
            UpError::PortInUse { .. } | UpError::Listen { .. } => "choose another address: hearth up --listen 127.0.0.1:PORT",
            UpError::Journal { source: OpenError::InUse { .. } } => {
                "use that server, stop it first, or choose another --data-dir"
            }
            UpError::Assemble { .. } => "hearth doctor says what this machine can do",
            UpError::Failed { .. } => "look at the log above, then start it again",
            UpError::Runtime { .. } => "look at this machine's limits (ulimit -a) and its free memory",
            UpError::DataDir { .. } | UpError::Token(_) => {
                "the data directory must be writable for this user; choose another with --data-dir"
            }
            UpError::Journal { .. } => "look at the disk, and copy the folder journal before anything else is tried with it",
            UpError::Node { .. } => "look at the log above and at the disk, then start it again",
            UpError::Impatient => "",
        }
    }

    /// On stderr; answers the exit code.
    pub fn tell(&self) -> ExitCode {
        let mut text = format!("error: {}\n", chain(self));
        if !self.hint().is_empty() {
            text.push_str(&format!("hint: {}\n", self.hint()));
        }
        // Without a stderr there is nobody to tell.
        let _ = io::stderr().write_all(text.as_bytes());
        match self {
            UpError::Impatient => ExitCode::from(130),
            _ => ExitCode::FAILURE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::vmm::VmmError;

    #[test]
    fn a_full_disk_is_named_whoever_met_it() {
        let by_the_kernel = UpError::DataDir { path: "d".into(), source: io::Error::from_raw_os_error(nix::libc::ENOSPC) };
        let full = AssembleError::Vmm(VmmError::DiskFull { path: "d".into() });
        for error in [by_the_kernel, UpError::Assemble { source: full }] {
            assert!(error.hint().contains("make room"), "{}: {}", chain(&error), error.hint());
        }
        let read_only = UpError::DataDir { path: "d".into(), source: io::Error::from_raw_os_error(nix::libc::EROFS) };
        assert!(read_only.hint().contains("read-only"));
    }
}
