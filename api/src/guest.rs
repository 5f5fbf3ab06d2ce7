//! What host and guest agent say to one another: frames, messages, limits. Owns the wire format and nothing else: no I/O, no clock, no
//! randomness; both ends bring their own.
//!
//! One byte stream (a virtio-serial port or a vsock connection) carries everything. Bytes on it are frames between zero bytes ([`frame`]): a zero
//! never occurs inside a frame, so a receiver finds the next frame after any garbage or half a frame, without a timer and without padding.
//!
//! ```text
//!  host                                     agent
//!   | 00 Hello{nonce, generation}             |   (repeated until answered; the same nonce changes nothing)
//!   |---------------------------------------->|   another nonce: the streams of the old session end
//!   |             Hello{nonce, generation, …} |
//!   |<----------------------------------------|   everything before this answer is of an earlier session: dropped
//!   | Control(id, HostMessage)                |
//!   |---------------------------------------->|   answered once under the same id; an exec's or connection's is its stream
//!   |       Stdout(id) … Credit(id) … Stdin(id)|
//! ```
//!
//! Rules that both ends keep:
//! - An end sends data on a stream only as far as the other's credit reaches ([`credit_cost`]); control frames need none and go first.
//! - An unknown message is answered [`ErrorCode::Unsupported`]; unknown fields are ignored; new fields are optional. The generation is the
//!   lower of the two at hello, and nobody sends a message born later ([`HostMessage::born`]).
//! - A lost session is not resumed. Its connections are dropped; its processes get SIGHUP at once and SIGKILL after [`LOST_SESSION_GRACE_MS`].
mod boot;
mod crc;
mod error;
mod exec;
pub mod frame;
mod limits;
mod message;
mod metrics;
mod network;

pub use boot::{POWER_OFF_LINE, VSOCK_PORT, VSOCK_PORT_MAX};
pub use error::{ErrorCode, GuestError};
pub use exec::{ExecRequest, ExitStatus, Stdin, TtySize};
pub use frame::{Decoder, Frame, FrameError, FrameKind};
pub use limits::*;
pub use message::{AgentHello, AgentMessage, HostHello, HostMessage, ShutdownKind};
pub use metrics::{CpuTimes, DiskCounters, Filesystem, Memory, MetricsSample, NetworkCounters, Processes};
pub use network::{InterfaceAddress, InterfaceAddresses, NetworkConfig};
