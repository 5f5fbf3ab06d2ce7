//! Ports of a guest.
//!
//! `WS /v1/vms/ID/connect?tcp=PORT` is a TCP connection to the guest's own loopback, made by its agent; `?vsock=PORT` one to its vsock, where the
//! driver has one. Binary frames are bytes, both ways. Text frames are a [`ConnectControl`]. The socket is closed with 1000 when both sides have
//! ended, with the reason and another code when something broke.

use serde::{Deserialize, Serialize};

/// A text frame of a connection, from either side: `{"eof":true}`: no more bytes come from it, and it goes on to listen (but for Firecracker's
/// vsock, which the client's `eof` ends both ways, with what the guest would have answered). From the server
/// `{"error":"…"}`: why the connection broke; the close frame comes next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ConnectControl {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eof: Option<bool>,
    /// A sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
