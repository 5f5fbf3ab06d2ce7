//! The bounds of the client, each with its reason. Not the server's limits.

use std::time::Duration;

/// A server on a network that works answers a connection within milliseconds; a machine that is gone never does.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What is slower than a request is an operation, so an answer that takes longer than this is lost.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The most that `?wait=` may ask for (the API's own limit).
pub const MAX_WAIT_S: u32 = 300;
/// A request is sent at most this often; a server that restarts is back within the pauses between, a wrong address soon reported.
pub const ATTEMPTS: u32 = 3;
/// The pause before the second attempt; doubled for the third.
pub const RETRY_PAUSE: Duration = Duration::from_millis(150);
/// An answer is read whole into memory: a page of 1,000 VMs is about 2 MiB.
pub const MAX_BODY_BYTES: usize = 64 << 20;
/// Largest WebSocket message; terminals and events send a few KiB.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// How often a stream sends a ping.
pub const PING_EVERY: Duration = Duration::from_secs(15);
/// A stream on which not even the answer to a ping came for this long (three pings) is dead.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// Messages that wait to be sent on a stream; a sender then waits.
pub const SEND_QUEUE: usize = 64;
/// How long a stream may take to say goodbye.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// First and longest pause between two attempts to resume an event stream.
pub const RECONNECT_FIRST: Duration = Duration::from_millis(200);
pub const RECONNECT_LONGEST: Duration = Duration::from_secs(10);
/// An event stream that could not be resumed for this long is given up: longer than any restart or upgrade of a server.
pub const RECONNECT_FOR: Duration = Duration::from_secs(600);
/// First and longest pause between two looks at an operation.
pub const POLL_FIRST: Duration = Duration::from_millis(60);
pub const POLL_LONGEST: Duration = Duration::from_secs(1);
/// While waiting for an operation the server may be away for this long (it restarts; operations are durable).
pub const POLL_OUTAGE: Duration = Duration::from_secs(20);
