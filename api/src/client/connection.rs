//! Connections to a guest's ports. Bytes both ways; each side's end by itself.

use super::error::ClientError;
use super::http::Client;
use super::socket::{Frame, Socket, SocketSender};
use crate::guest::{VSOCK_PORT, VSOCK_PORT_MAX};
use crate::v1::ConnectControl;
use bytes::Bytes;
use std::fmt;
use std::str::FromStr;

/// A port in a guest, never 0. As text `80` or `tcp:80`, `vsock:5000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestPort {
    /// Of the guest's loopback.
    Tcp(u16),
    Vsock(u32),
}

impl fmt::Display for GuestPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GuestPort::Tcp(port) => write!(f, "tcp:{port}"),
            GuestPort::Vsock(port) => write!(f, "vsock:{port}"),
        }
    }
}

impl FromStr for GuestPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |number: &str, most: u32| format!("{number:?} is no port: a number from 1 to {most}");
        match text.split_once(':') {
            Some(("vsock", number)) => match number.parse::<u32>() {
                Ok(VSOCK_PORT) => Err(format!("vsock port {VSOCK_PORT} is the guest agent's")),
                Ok(port) if (1..=VSOCK_PORT_MAX).contains(&port) => Ok(GuestPort::Vsock(port)),
                _ => Err(wrong(number, VSOCK_PORT_MAX)),
            },
            Some((kind, _)) if kind != "tcp" => Err(format!("{kind:?} is no kind of port: tcp or vsock")),
            Some((_, number)) => of_tcp(number).ok_or_else(|| wrong(number, u16::MAX.into())),
            None => of_tcp(text).ok_or_else(|| wrong(text, u16::MAX.into())),
        }
    }
}

fn of_tcp(number: &str) -> Option<GuestPort> {
    number.parse().ok().filter(|port| *port > 0).map(GuestPort::Tcp)
}

pub struct Connection {
    socket: Socket,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionEvent {
    Bytes(Bytes),
    /// The guest's side has ended; it may still listen.
    Eof,
}

/// The writing side; cheap to clone.
#[derive(Debug, Clone)]
pub struct ConnectionInput {
    sender: SocketSender,
}

impl Client {
    /// Connects to a port in the guest. Returns when it has accepted; a port at which nobody listens is a refusal.
    pub async fn connect(&self, vm: &str, port: GuestPort) -> Result<Connection, ClientError> {
        let mut url = self.url(&["v1", "vms", vm, "connect"])?;
        match port {
            GuestPort::Tcp(port) => url.query_pairs_mut().append_pair("tcp", &port.to_string()),
            GuestPort::Vsock(port) => url.query_pairs_mut().append_pair("vsock", &port.to_string()),
        };
        Ok(Connection { socket: Socket::open(self, url).await? })
    }
}

impl Connection {
    pub fn input(&self) -> ConnectionInput {
        ConnectionInput { sender: self.socket.sender() }
    }

    /// `None` when both sides have ended and all has arrived. What is not taken here waits, in the guest at last. Errors: it broke. Cancel:
    /// nothing is lost.
    pub async fn next(&mut self) -> Result<Option<ConnectionEvent>, ClientError> {
        loop {
            let text = match self.socket.next().await? {
                None => return Ok(None),
                Some(Frame::Binary(bytes)) if bytes.is_empty() => continue,
                Some(Frame::Binary(bytes)) => return Ok(Some(ConnectionEvent::Bytes(bytes))),
                Some(Frame::Text(text)) => text,
            };
            // What a newer server says beyond this is passed over.
            match serde_json::from_str::<ConnectControl>(&text) {
                Ok(ConnectControl { error: Some(error), .. }) => return Err(self.socket.lost(&error)),
                Ok(ConnectControl { eof: Some(true), .. }) => return Ok(Some(ConnectionEvent::Eof)),
                _ => {}
            }
        }
    }
}

impl ConnectionInput {
    /// Waits while the guest takes nothing.
    pub async fn send(&self, bytes: Bytes) -> Result<(), ClientError> {
        self.sender.send(Frame::Binary(bytes)).await
    }

    /// No more bytes come from here.
    pub async fn eof(&self) -> Result<(), ClientError> {
        let control = ConnectControl { eof: Some(true), error: None };
        let text = serde_json::to_string(&control).expect("plain fields always serialise");
        self.sender.send(Frame::Text(text)).await
    }
}

#[cfg(test)]
mod tests {
    use super::GuestPort;

    #[test]
    fn ports_are_numbers_of_their_kind() {
        let port = |text: &str| text.parse::<GuestPort>();
        assert_eq!((port("22"), port("tcp:65535")), (Ok(GuestPort::Tcp(22)), Ok(GuestPort::Tcp(65_535))));
        assert_eq!(port("vsock:70000"), Ok(GuestPort::Vsock(70_000)));
        assert_eq!(port("vsock:5000").unwrap().to_string().parse(), Ok(GuestPort::Vsock(5000)));
        for wrong in ["0", "65536", "-1", "", "vsock:0", "vsock:4294967295", "udp:1", "tcp:", "http"] {
            assert!(port(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(port("70000").unwrap_err(), "\"70000\" is no port: a number from 1 to 65535");
    }
}
