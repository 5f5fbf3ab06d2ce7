//! The least of an HTTP/1.1 client: one connection, one request at a time. On two cores a full client would cost more than the server.

use super::server::Server;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Longer than the longest `?wait=` in here.
const ANSWER_WITHIN: Duration = Duration::from_secs(180);
const HEAD_END: &[u8] = b"\r\n\r\n";

pub struct Http {
    stream: TcpStream,
    token: String,
    received: Vec<u8>,
}

impl Http {
    pub async fn connect(server: &Server) -> Result<Http> {
        Http::open(server.address, server.token.clone()).await
    }

    pub async fn open(address: SocketAddr, token: String) -> Result<Http> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Http { stream, token, received: Vec::with_capacity(16 * 1024) })
    }

    /// Status and body.
    pub async fn call(&mut self, method: &str, path: &str, body: &str) -> Result<(u16, Vec<u8>)> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: hearth\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        tokio::time::timeout(ANSWER_WITHIN, self.answer()).await.context("no answer in time")?
    }

    async fn answer(&mut self) -> Result<(u16, Vec<u8>)> {
        let head = loop {
            if let Some(at) = self.received.windows(HEAD_END.len()).position(|window| window == HEAD_END) {
                break at + HEAD_END.len();
            }
            self.more().await?;
        };
        let text = std::str::from_utf8(&self.received[..head])?.to_ascii_lowercase();
        let status: u16 = text.split_whitespace().nth(1).context("no status")?.parse()?;
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = match length {
            Some(length) => length.trim().parse()?,
            None if status == 204 => 0,
            None => bail!("an answer without a length: {text}"),
        };
        while self.received.len() < head + length {
            self.more().await?;
        }
        let body = self.received[head..head + length].to_vec();
        self.received.drain(..head + length);
        Ok((status, body))
    }

    async fn more(&mut self) -> Result<()> {
        ensure!(self.stream.read_buf(&mut self.received).await? > 0, "the server closed the connection");
        Ok(())
    }

    /// The body of an answer that must be a success.
    pub async fn want(&mut self, method: &str, path: &str, body: &str) -> Result<Value> {
        let (status, answer) = self.call(method, path, body).await?;
        ensure!((200..300).contains(&status), "{method} {path}: {status} {}", String::from_utf8_lossy(&answer));
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_slice(&answer)?)
    }
}

/// A field of an answer that must be a text.
pub fn text(value: &Value, pointer: &str) -> Result<String> {
    Ok(value.pointer(pointer).and_then(Value::as_str).with_context(|| format!("no {pointer} in {value}"))?.to_owned())
}
