//! The protocol's numbers, each with its reason. Both ends compile them in; a peer that breaks one is answered or cut off, never trusted.

/// The newest generation that this build speaks. Raised when a message is added.
pub const GENERATION: u32 = 2;

/// Bytes of payload in one frame: a control message must fit; 64 KiB holds the largest metrics sample with a wide margin.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// Bytes of payload in one data frame: a control frame waits for at most one of these, which is under 1 ms at 32 MiB/s (measured).
pub const DATA_CHUNK: usize = 16 * 1024;

/// Credit that the host grants a stream's output at its start: some round trips' worth at full speed, small enough for hundreds of streams.
pub const OUTPUT_WINDOW: u32 = 256 * 1024;

/// Credit that the agent grants a stream's input: the agent must stay within 2 MiB resident.
pub const STDIN_WINDOW: u32 = 64 * 1024;

/// What a data frame costs beyond its bytes, so that a flood of one-byte frames is bounded as well.
pub const FRAME_COST: u32 = 64;

/// Processes that one agent runs at a time for the host.
pub const MAX_STREAMS: usize = 64;

/// Connections to the guest's own ports that one agent holds at a time for the host, beside the processes.
pub const MAX_CONNECTIONS: usize = 64;

/// How long a port of the guest's may take to accept: loopback answers at once, or its queue is full. Below the host's patience for an answer.
pub const CONNECT_WITHIN_MS: u64 = 5_000;

/// Bytes of the reason in a `Disconnected`: the kernel's word for it, which is a few dozen.
pub const MAX_REASON: usize = 256;

/// Between SIGHUP and SIGKILL for the processes of a session that was lost or of a stream that the host abandoned.
pub const LOST_SESSION_GRACE_MS: u64 = 5_000;

/// Without a subscription the agent reports at this pace: enough to see a guest alive and charge it.
pub const IDLE_METRICS_INTERVAL_MS: u32 = 10_000;

/// Faster than this a small guest would be busy with measuring itself.
pub const MIN_METRICS_INTERVAL_MS: u32 = 200;

/// Bytes in one `AddEntropy`: the kernel's pool is 256 bits; more than twice that is waste.
pub const MAX_ENTROPY: usize = 512;

/// Credit that a data frame of `len` bytes uses up.
pub const fn credit_cost(len: usize) -> u32 {
    // A frame's payload is at most MAX_PAYLOAD, so the cast cannot lose anything.
    len as u32 + FRAME_COST
}
