//! How an exchange with Firecracker fails, by what the caller can do about it.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nobody listens: not yet, or not any more.
    #[error("firecracker's API socket can't be reached")]
    Unreachable(#[source] io::Error),
    /// It may have taken effect.
    #[error("firecracker did not answer {call} within {after_ms} ms")]
    Timeout { call: &'static str, after_ms: u64 },
    /// `fault`: Firecracker's own words. Nothing was changed.
    #[error("firecracker refused {call}: {fault}")]
    Refused { call: &'static str, fault: String },
    /// It may have taken effect.
    #[error("firecracker's answer to {call} is none: {detail}")]
    Garbled { call: &'static str, detail: String },
    /// It may have taken effect.
    #[error("firecracker closed its API socket during {call}")]
    Closed { call: &'static str },
    /// Nothing was sent.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// What Firecracker would refuse whatever its state is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("{id:?} can't name a device: 1 to 64 letters, digits or underscores")]
    DeviceId { id: String },
    #[error("{vcpus} vCPUs: firecracker takes 1 to 32, and with SMT 1 or an even number")]
    Vcpus { vcpus: u32 },
    #[error("a memory of {mem_mib} MiB: with huge pages of 2 MiB it is an even number, and never 0")]
    Memory { mem_mib: u64 },
    #[error("an MTU of {mtu}: 68 to 65535")]
    Mtu { mtu: u32 },
    #[error("CID {cid} belongs to the host or to nobody: a guest's is 3 or more")]
    Cid { cid: u32 },
    #[error("{address} is no address for metadata: 169.254.1.0 to 169.254.254.255")]
    MetadataAddress { address: std::net::Ipv4Addr },
    #[error("a rate limit that limits nothing: its size and its refill time are 1 or more")]
    Limit,
    #[error("{what} of {mib} MiB: a multiple of {of_mib}")]
    Granularity { what: &'static str, mib: u64, of_mib: u64 },
    /// A path that is no UTF-8.
    #[error("{call} can't be said in JSON: {detail}")]
    NoText { call: &'static str, detail: String },
}
