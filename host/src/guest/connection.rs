//! A connection to a port of a guest's, seen from the host: bytes both ways with bounded memory, each side's end by itself, and how it was over.
//! Independent of who carries it: the agent (TCP on the guest's loopback) and a VMM's socket (vsock) both do.
use super::GuestFault;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use std::{fmt, pin::Pin, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Notify,
};

/// Read at a time from a VMM's socket; as much as the agent sends at a time.
const CHUNK: usize = api::guest::DATA_CHUNK;

/// A port in a guest. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Port {
    /// Of the guest's loopback, by its agent.
    Tcp(u16),
    /// Of the guest's vsock, by its VMM.
    Vsock(u32),
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Port::Tcp(port) => write!(f, "TCP port {port}"),
            Port::Vsock(port) => write!(f, "vsock port {port}"),
        }
    }
}

/// What comes from the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// Never empty.
    Bytes(Bytes),
    /// The guest's side has ended; it may still listen. Comes once at most, after all bytes.
    Eof,
    /// Both sides have ended, and all that was sent has reached the guest. The last event.
    Closed,
}

/// The way to the guest, ended by [`ConnectionSink::close`]. Of one that is dropped without, [`ConnectionEvent::Closed`] may never be told.
#[async_trait]
pub trait ConnectionSink: Send {
    /// Writes all, as fast as the guest reads. Cancel: a part may have been written.
    async fn write_all(&mut self, bytes: &[u8]) -> Result<(), GuestFault>;
    /// The guest reads end-of-file next. Nothing may be written afterwards.
    async fn close(&mut self) -> Result<(), GuestFault>;
}

/// The way from the guest. Dropping it drops the connection.
#[async_trait]
pub trait ConnectionSource: Send {
    /// The next event. Errors: the connection broke, or whoever carries it is gone; not to be called again after that, nor after `Closed`.
    /// Cancel: nothing is lost.
    async fn next(&mut self) -> Result<ConnectionEvent, GuestFault>;
}

/// A connection that stands.
pub struct Connection {
    pub input: Box<dyn ConnectionSink>,
    pub output: Box<dyn ConnectionSource>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

impl Connection {
    /// Over a socket of the VMM's. `gone` resolves when the VMM has ended, which breaks what was not over yet.
    pub fn over(stream: UnixStream, gone: impl Future<Output = ()> + Send + 'static) -> Self {
        let (read, write) = stream.into_split();
        let closed = Arc::new(Notify::new());
        let source =
            SocketSource { read, buffer: BytesMut::new(), closed: Arc::clone(&closed), gone: Box::pin(gone), eof: false };
        Self { input: Box::new(SocketSink { write, closed }), output: Box::new(source) }
    }
}

struct SocketSink {
    write: OwnedWriteHalf,
    closed: Arc<Notify>,
}

#[async_trait]
impl ConnectionSink for SocketSink {
    async fn write_all(&mut self, bytes: &[u8]) -> Result<(), GuestFault> {
        self.write.write_all(bytes).await.map_err(|error| broken(&error))
    }

    async fn close(&mut self) -> Result<(), GuestFault> {
        // A socket that has ended already needs no end.
        let _ = self.write.shutdown().await;
        self.closed.notify_one();
        Ok(())
    }
}

struct SocketSource {
    read: OwnedReadHalf,
    buffer: BytesMut,
    closed: Arc<Notify>,
    gone: Pin<Box<dyn Future<Output = ()> + Send>>,
    eof: bool,
}

#[async_trait]
impl ConnectionSource for SocketSource {
    async fn next(&mut self) -> Result<ConnectionEvent, GuestFault> {
        let ended = || GuestFault::Reset { detail: "the VM ended".to_owned() };
        if self.eof {
            return tokio::select! {
                biased;
                () = self.closed.notified() => Ok(ConnectionEvent::Closed),
                () = &mut self.gone => Err(ended()),
            };
        }
        self.buffer.reserve(CHUNK);
        let got = tokio::select! {
            // What came before the end is still to be had.
            biased;
            got = self.read.read_buf(&mut self.buffer) => got.map_err(|error| broken(&error))?,
            () = &mut self.gone => return Err(ended()),
        };
        if got == 0 {
            self.eof = true;
            return Ok(ConnectionEvent::Eof);
        }
        Ok(ConnectionEvent::Bytes(self.buffer.split().freeze()))
    }
}

fn broken(error: &std::io::Error) -> GuestFault {
    GuestFault::Reset { detail: error.to_string() }
}

#[cfg(test)]
mod tests;
