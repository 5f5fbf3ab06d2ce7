//! Terminals: a shell in the guest, or its serial console. Bytes both ways; the size goes up, the exit comes down.

use super::error::ClientError;
use super::http::Client;
use super::socket::{Frame, Socket, SocketSender};
use crate::v1::{Exit, Resize, TerminalControl};
use bytes::Bytes;

pub struct Terminal {
    socket: Socket,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TerminalEvent {
    Output(Bytes),
    /// The program at the other end is over; the stream ends next.
    Exit(Exit),
}

/// The writing side; cheap to clone.
#[derive(Debug, Clone)]
pub struct TerminalInput {
    sender: SocketSender,
}

impl Client {
    /// A shell on a terminal of this size in the guest; 80 x 24 when absent.
    pub async fn shell(&self, vm: &str, size: Option<Resize>) -> Result<Terminal, ClientError> {
        let mut url = self.url(&["v1", "vms", vm, "shell"])?;
        if let Some(Resize { cols, rows }) = size {
            url.query_pairs_mut().append_pair("cols", &cols.to_string()).append_pair("rows", &rows.to_string());
        }
        Ok(Terminal { socket: Socket::open(self, url).await? })
    }

    /// The serial console.
    pub async fn console(&self, vm: &str) -> Result<Terminal, ClientError> {
        Ok(Terminal { socket: Socket::open(self, self.url(&["v1", "vms", vm, "console"])?).await? })
    }
}

impl Terminal {
    pub fn input(&self) -> TerminalInput {
        TerminalInput { sender: self.socket.sender() }
    }

    /// `None` after an orderly end. Cancel: nothing is lost.
    pub async fn next(&mut self) -> Result<Option<TerminalEvent>, ClientError> {
        loop {
            let text = match self.socket.next().await? {
                None => return Ok(None),
                Some(Frame::Binary(bytes)) => return Ok(Some(TerminalEvent::Output(bytes))),
                Some(Frame::Text(text)) => text,
            };
            // A newer server may say more than this client knows: what it does not know, it passes over.
            if let Ok(TerminalControl { exit: Some(exit), .. }) = serde_json::from_str(&text) {
                return Ok(Some(TerminalEvent::Exit(exit)));
            }
        }
    }
}

impl TerminalInput {
    pub async fn send(&self, bytes: Bytes) -> Result<(), ClientError> {
        self.sender.send(Frame::Binary(bytes)).await
    }

    pub async fn resize(&self, size: Resize) -> Result<(), ClientError> {
        let control = TerminalControl { resize: Some(size), exit: None };
        let text = serde_json::to_string(&control).expect("two numbers always serialise");
        self.sender.send(Frame::Text(text)).await
    }
}
