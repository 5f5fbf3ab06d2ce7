//! A unix socket, for an agent that is started by hand: tests, and trying things out.
use super::Transport;
use std::io;
use tokio::net::{UnixListener, unix};

pub struct Socket {
    /// Bound before there is a runtime; handed to it at the first accept.
    early: Option<std::os::unix::net::UnixListener>,
    listener: Option<UnixListener>,
}

impl Socket {
    /// The path must not exist.
    pub fn bind(path: &str) -> io::Result<Self> {
        let early = std::os::unix::net::UnixListener::bind(path)?;
        early.set_nonblocking(true)?;
        Ok(Self { early: Some(early), listener: None })
    }
}

impl Transport for Socket {
    type Reader = unix::OwnedReadHalf;
    type Writer = unix::OwnedWriteHalf;

    async fn accept(&mut self) -> io::Result<(Self::Reader, Self::Writer)> {
        if let Some(early) = self.early.take() {
            self.listener = Some(UnixListener::from_std(early)?);
        }
        let listener = self.listener.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        Ok(listener.accept().await?.0.into_split())
    }
}
