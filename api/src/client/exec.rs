//! A program in the guest with its streams: input up, output and exit down.

use super::error::ClientError;
use super::http::Client;
use super::socket::{Frame, Socket, SocketSender};
use crate::v1::{ExecControl, ExecRequest, Exit, Resize};
use bytes::{BufMut, Bytes, BytesMut};

/// The first byte of a binary frame names the stream.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;

pub struct ExecStream {
    socket: Socket,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecEvent {
    Stdout(Bytes),
    Stderr(Bytes),
    /// The program ended; nothing follows.
    Exit(Exit),
    /// The program could not be run; a sentence.
    Error(String),
}

/// The writing side; cheap to clone.
#[derive(Debug, Clone)]
pub struct ExecInput {
    sender: SocketSender,
}

impl Client {
    /// Runs a program. `stdin` and `timeout_s` of the request are not for this call.
    pub async fn exec_stream(&self, vm: &str, request: &ExecRequest) -> Result<ExecStream, ClientError> {
        let socket = Socket::open(self, self.url(&["v1", "vms", vm, "exec"])?).await?;
        let text = serde_json::to_string(request).expect("request types are maps with string keys");
        socket.sender().send(Frame::Text(text)).await?;
        Ok(ExecStream { socket })
    }
}

impl ExecStream {
    pub fn input(&self) -> ExecInput {
        ExecInput { sender: self.socket.sender() }
    }

    /// `None` if the stream ended without telling an exit. Cancel: nothing is lost.
    pub async fn next(&mut self) -> Result<Option<ExecEvent>, ClientError> {
        loop {
            match self.socket.next().await? {
                None => return Ok(None),
                Some(Frame::Binary(mut bytes)) => {
                    if bytes.is_empty() {
                        continue;
                    }
                    return match bytes.split_to(1)[0] {
                        STDOUT => Ok(Some(ExecEvent::Stdout(bytes))),
                        STDERR => Ok(Some(ExecEvent::Stderr(bytes))),
                        other => Err(self.socket.unexpected(format!("output on stream {other}"))),
                    };
                }
                // What a newer server says beyond this is passed over.
                Some(Frame::Text(text)) => match serde_json::from_str::<ExecControl>(&text) {
                    Ok(ExecControl { exit: Some(exit), .. }) => return Ok(Some(ExecEvent::Exit(exit))),
                    Ok(ExecControl { error: Some(error), .. }) => return Ok(Some(ExecEvent::Error(error))),
                    _ => {}
                },
            }
        }
    }
}

impl ExecInput {
    pub async fn send(&self, bytes: &[u8]) -> Result<(), ClientError> {
        let mut frame = BytesMut::with_capacity(bytes.len() + 1);
        frame.put_u8(STDIN);
        frame.extend_from_slice(bytes);
        self.sender.send(Frame::Binary(frame.freeze())).await
    }

    /// The program's standard input ends.
    pub async fn eof(&self) -> Result<(), ClientError> {
        self.control(&ExecControl { eof: Some(true), ..ExecControl::default() }).await
    }

    pub async fn signal(&self, signal: i32) -> Result<(), ClientError> {
        self.control(&ExecControl { signal: Some(signal), ..ExecControl::default() }).await
    }

    pub async fn resize(&self, size: Resize) -> Result<(), ClientError> {
        self.control(&ExecControl { resize: Some(size), ..ExecControl::default() }).await
    }

    async fn control(&self, control: &ExecControl) -> Result<(), ClientError> {
        let text = serde_json::to_string(control).expect("plain fields always serialise");
        self.sender.send(Frame::Text(text)).await
    }
}
