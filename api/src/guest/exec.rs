//! Running a process in the guest: what is asked and how it ended.
use serde::{Deserialize, Serialize};

/// What to run. The process leads a session and process group of its own; signals go to the group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecRequest {
    /// Program and arguments, looked up in the PATH of `env` or the usual one. Empty: the user's login shell.
    pub argv: Vec<String>,
    /// Variables on top of PATH, HOME, USER, SHELL and, with a terminal, TERM; a later one wins.
    pub env: Vec<(String, String)>,
    /// Absolute; the user's home if absent, `/` if that is missing.
    pub cwd: Option<String>,
    /// Name or number, with `:group` if wanted; the agent's own (root) if absent.
    pub user: Option<String>,
    /// A terminal of this size; then all output comes as stdout.
    pub tty: Option<TtySize>,
    pub stdin: Stdin,
}

/// Where standard input comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stdin {
    /// `/dev/null`, or the terminal if there is one.
    #[default]
    Null,
    /// Frames from the host until the empty one.
    Stream,
    /// An origin of a later generation; the agent refuses it.
    #[serde(other)]
    Unknown,
}

/// In characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TtySize {
    pub cols: u16,
    pub rows: u16,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitStatus {
    /// It returned this.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl ExitStatus {
    /// One number as shells give it: 128 more than the signal.
    pub const fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}
