//! A terminal of a guest as somebody uses it: type, and read until the answer is there.

use crate::{PATIENCE, within};
use anyhow::{Context, Result, bail};
use api::{
    client::{Client, Terminal, TerminalEvent, TerminalInput},
    v1::{Exit, Resize},
};
use bytes::Bytes;

pub struct Typist {
    terminal: Terminal,
    input: TerminalInput,
    /// All that was shown so far.
    pub shown: String,
    /// Up to here it was read.
    read: usize,
}

impl Typist {
    pub async fn shell(client: &Client, vm: &str, size: Option<Resize>) -> Result<Typist> {
        Ok(Typist::of(client.shell(vm, size).await.with_context(|| format!("a shell in {vm}"))?))
    }

    pub fn of(terminal: Terminal) -> Typist {
        Typist { input: terminal.input(), terminal, shown: String::new(), read: 0 }
    }

    pub async fn type_in(&self, text: &str) -> Result<()> {
        Ok(self.input.send(Bytes::copy_from_slice(text.as_bytes())).await?)
    }

    pub async fn resize(&self, cols: u16, rows: u16) -> Result<()> {
        Ok(self.input.resize(Resize { cols, rows }).await?)
    }

    /// Reads until the text is shown; what follows is found by the next call.
    pub async fn expect(&mut self, text: &str) -> Result<()> {
        let reading = async {
            loop {
                if let Some(at) = self.shown[self.read..].find(text) {
                    self.read += at + text.len();
                    return Ok(());
                }
                match self.terminal.next().await? {
                    Some(TerminalEvent::Output(bytes)) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                    Some(TerminalEvent::Exit(exit)) => bail!("the terminal's program ended with {exit:?}"),
                    None => bail!("the terminal ended"),
                }
            }
        };
        let outcome = within(&format!("{text:?} on the terminal"), PATIENCE, reading).await.and_then(|inner| inner);
        outcome.with_context(|| format!("shown: {:?}", self.shown))
    }

    /// Types a line whose output cannot be mistaken for its echo: `$((…))` is computed by the shell.
    pub async fn ask(&mut self, line: &str, answer: &str) -> Result<()> {
        self.type_in(&format!("{line}\n")).await?;
        self.expect(answer).await
    }

    /// Reads to the end; how the program ended.
    pub async fn exit(&mut self) -> Result<Exit> {
        let reading = async {
            loop {
                match self.terminal.next().await? {
                    Some(TerminalEvent::Output(bytes)) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                    Some(TerminalEvent::Exit(exit)) => return Ok(exit),
                    None => bail!("the terminal ended without an exit"),
                }
            }
        };
        within("the terminal's end", PATIENCE, reading).await?
    }
}
