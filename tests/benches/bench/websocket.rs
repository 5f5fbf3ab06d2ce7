//! The least of a WebSocket client (RFC 6455): reads text frames, answers pings. Hundreds of thousands of frames a second go through it on
//! the cores that the server needs.

use super::server::Server;
use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const READ_BYTES: usize = 64 * 1024;

pub struct WebSocket {
    stream: TcpStream,
    received: Vec<u8>,
    /// Read already.
    at: usize,
}

impl WebSocket {
    pub async fn connect(server: &Server, path: &str) -> Result<WebSocket> {
        let mut stream = TcpStream::connect(server.address).await?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: hearth\r\nauthorization: Bearer {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            server.token
        );
        stream.write_all(request.as_bytes()).await?;
        let mut received = Vec::with_capacity(READ_BYTES);
        loop {
            ensure!(stream.read_buf(&mut received).await? > 0, "closed during the handshake");
            if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                ensure!(received.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&received[..at]));
                return Ok(WebSocket { stream, received, at: at + 4 });
            }
        }
    }

    /// Gives `see` every text that has come, and waits only when none has.
    pub async fn next(&mut self, mut see: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        loop {
            let mut texts = 0;
            while let Some((opcode, from, to)) = self.frame()? {
                self.at = to;
                match opcode {
                    TEXT => {
                        texts += 1;
                        see(&self.received[from..to])?;
                    }
                    PING => self.pong(from, to).await?,
                    CLOSE => bail!("closed: {}", String::from_utf8_lossy(&self.received[from..to])),
                    _ => {}
                }
            }
            self.received.drain(..self.at);
            self.at = 0;
            if texts > 0 {
                return Ok(());
            }
            self.received.reserve(READ_BYTES);
            ensure!(self.stream.read_buf(&mut self.received).await? > 0, "the server closed the connection");
        }
    }

    /// The next whole frame: opcode, and where its payload is. A server's frames are not masked.
    fn frame(&self) -> Result<Option<(u8, usize, usize)>> {
        let bytes = &self.received[self.at..];
        let [first, second, ..] = *bytes else { return Ok(None) };
        ensure!(first & 0x80 != 0 && second & 0x80 == 0, "a frame that is masked or in parts");
        let (head, length) = match second {
            126 => match bytes.get(2..4) {
                Some(two) => (4, u64::from(u16::from_be_bytes(two.try_into()?))),
                None => return Ok(None),
            },
            127 => match bytes.get(2..10) {
                Some(eight) => (10, u64::from_be_bytes(eight.try_into()?)),
                None => return Ok(None),
            },
            small => (2, u64::from(small)),
        };
        let end = head + usize::try_from(length)?;
        Ok((bytes.len() >= end).then_some((first & 0x0f, self.at + head, self.at + end)))
    }

    /// The same payload, masked with zeros.
    async fn pong(&mut self, from: usize, to: usize) -> Result<()> {
        let length = u8::try_from(to - from).ok().filter(|length| *length < 126).context("a long ping")?;
        let mut frame = vec![0x80 | PONG, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(&self.received[from..to]);
        Ok(self.stream.write_all(&frame).await?)
    }
}
