//! How bytes come from and go to the host. Owns nothing of their meaning.
mod edges;
mod half;
mod listener;
pub mod socket;
pub mod virtio;
pub mod vsock;

use std::io;
use tokio::io::{AsyncRead, AsyncWrite};

/// Gives one connection after another. The earlier connection's halves are dropped before the next is asked for.
pub trait Transport {
    type Reader: AsyncRead + Unpin;
    type Writer: AsyncWrite + Unpin;

    /// Waits until the host is there. An error ends the agent, and its keeper starts it anew.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Reader, Self::Writer)>>;

    /// Returns when the host has come anew while a connection is on: that one is over, even if nothing else says so, and [`Self::accept`]
    /// gives the new one. Never, where the device itself has but one connection at a time. Cancel: nothing is lost.
    fn newer(&mut self) -> impl Future<Output = ()> {
        std::future::pending()
    }
}
