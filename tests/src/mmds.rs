//! A guest's metadata service as a program in the guest asks it: HTTP by the guest's own nc, for no other program there knows PUT. One connection for
//! all requests; who is done drops it.

use crate::{Guest, PATIENCE, Server, within};
use anyhow::{Context, Result, bail, ensure};
use api::{
    client::{ExecEvent, ExecInput, ExecStream},
    v1::ExecRequest,
};
use serde_json::Value;

const ADDRESS: &str = "169.254.169.254";

pub struct Mmds {
    nc: ExecStream,
    input: ExecInput,
    /// Of an answer that is not whole yet.
    read: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Mmds {
    pub async fn open(server: &Server, guest: &Guest) -> Result<Mmds> {
        let request = ExecRequest { command: ["nc", ADDRESS, "80"].map(str::to_owned).to_vec(), ..ExecRequest::default() };
        let nc = server.client().exec_stream(&guest.id, &request).await.with_context(|| format!("nc in {}", guest.name))?;
        Ok(Mmds { input: nc.input(), nc, read: Vec::new() })
    }

    /// Of a session, which lasts as long as the tests.
    pub async fn token(&mut self) -> Result<String> {
        let answer = self.ask("PUT", "/latest/api/token", &[("X-metadata-token-ttl-seconds", "3600")]).await?;
        ensure!(answer.status == 200 && !answer.body.is_empty(), "{answer:?}");
        Ok(answer.body)
    }

    /// All that the guest may read.
    pub async fn all(&mut self, token: &str) -> Result<Value> {
        let answer = self.ask("GET", "/", &[("X-metadata-token", token), ("Accept", "application/json")]).await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(serde_json::from_str(&answer.body)?)
    }

    pub async fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        self.input.send(format!("{method} {path} HTTP/1.1\r\n{headers}\r\n").as_bytes()).await?;
        let reading = async {
            loop {
                if let Some((length, answer)) = whole(&self.read)? {
                    self.read.drain(..length);
                    return Ok(answer);
                }
                match self.nc.next().await?.context("the stream of nc ended")? {
                    ExecEvent::Stdout(bytes) => self.read.extend_from_slice(&bytes),
                    ExecEvent::Stderr(bytes) => bail!("nc said {}", String::from_utf8_lossy(&bytes)),
                    ExecEvent::Exit(exit) => bail!("nc ended with {exit:?}"),
                    ExecEvent::Error(error) => bail!("nc did not run: {error}"),
                }
            }
        };
        let answered = within(&format!("{method} {path}"), PATIENCE, reading).await.and_then(|inner| inner);
        answered.with_context(|| format!("{method} {path} of the metadata service"))
    }
}

/// The answer that the bytes begin with, and how many it is of.
fn whole(bytes: &[u8]) -> Result<Option<(usize, Answer)>> {
    let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..head])?;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).with_context(|| format!("no status: {text:?}"))?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    let end = head + 4 + length.transpose()?.unwrap_or(0);
    let Some(body) = bytes.get(head + 4..end) else { return Ok(None) };
    Ok(Some((end, Answer { status, body: std::str::from_utf8(body)?.to_owned() })))
}
