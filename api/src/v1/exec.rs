//! Programs and terminals in the guest.
//!
//! `POST /v1/vms/ID/exec` runs a program and answers when it ended. The same path as a WebSocket streams: the first text frame is an
//! [`ExecRequest`]; then binary frames, whose first byte names the stream (0 stdin, 1 stdout, 2 stderr), and text frames with an
//! [`ExecControl`]; the server's last text frame is `{"exit":…}`. `WS /v1/vms/ID/shell` and `…/console` carry bare bytes in binary frames,
//! and [`TerminalControl`] in text frames.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ExecRequest {
    /// The program and its arguments; found on the guest's PATH. No shell is involved.
    pub command: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Given to the program's standard input, which then ends. Not for the WebSocket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// The program is ended after this many seconds; 1 to 300, 60 when absent. Not for the WebSocket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u32>,
    /// Run it on a terminal of this size. WebSocket only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<Resize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ExecResult {
    pub exit: Exit,
    /// Bytes that are not UTF-8 are replaced; at most 1 MiB.
    pub stdout: String,
    pub stderr: String,
    /// Whether output beyond the limit was dropped.
    pub truncated: bool,
    pub duration_ms: u64,
}

/// How a program ended: exactly one of the two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Exit {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Resize {
    pub cols: u16,
    pub rows: u16,
}

/// A text frame of a terminal. From the client `{"resize":{"cols":80,"rows":24}}`; from the server `{"exit":{"code":0}}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TerminalControl {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
}

/// A text frame of a streamed exec after the first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ExecControl {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
    /// The client's standard input ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eof: Option<bool>,
    /// Send this signal to the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// The program could not be run; a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
