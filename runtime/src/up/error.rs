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

impl UpError {
    fn hint(&self) -> &'static str {
        match self {
            UpError::PortInUse { .. } | UpError::Listen { .. } => "choose another address: hearth up --listen 127.0.0.1:PORT",
            UpError::Journal { source: OpenError::InUse { .. } } => {
                "use that server, stop it first, or choose another --data-dir"
            }
            UpError::Assemble { .. } => "hearth doctor says what this machine can do",
            UpError::Failed { .. } => "look at the log above, then start it again",
            UpError::Runtime { .. }
            | UpError::DataDir { .. }
            | UpError::Journal { .. }
            | UpError::Token(_)
            | UpError::Node { .. }
            | UpError::Impatient => "",
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
