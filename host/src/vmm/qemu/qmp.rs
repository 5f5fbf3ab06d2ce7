//! QEMU's control socket. Owns one conversation: greeting, capabilities, one command after another, each with a deadline; and the reading
//! of the events that QEMU has logged. Does not stay connected: QEMU would keep the events that an idle client does not read.
//!
//! Everything that comes from QEMU is taken as possibly garbage: lines have a bound, and what is not an answer is passed over.

use super::super::VmmError;
use super::super::shared::layout;
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixStream, unix::OwnedReadHalf, unix::OwnedWriteHalf},
    time::Instant,
};

/// An answer takes milliseconds; a busy machine may hold QEMU's main loop for seconds.
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// The longest answer that is used, `query-blockstats` of a machine with all its drives, has some 20 KiB.
const MOST_LINE: u64 = 256 * 1024;

/// Set aside while commands run.
pub struct Qmp {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    next: u64,
}

impl Qmp {
    /// Connects and settles capabilities. The socket listens from before QEMU's start, so this waits for QEMU itself, not by retrying.
    /// `Gone` when nobody listens or the connection ends, `Short` when hearth can't connect to anybody.
    pub async fn open(folder: &Path, socket: &'static str, deadline: Instant) -> Result<Self, VmmError> {
        let gone = |error: std::io::Error| layout::short_or(&error, VmmError::Gone);
        let stream = layout::connect(folder, socket).map_err(gone)?;
        let (reader, writer) = UnixStream::from_std(stream).map_err(gone)?.into_split();
        let mut qmp = Self { reader: BufReader::new(reader), writer, next: 1 };
        qmp.until(deadline, "greeting", |line| line.get("QMP").map(|_| Ok(()))).await?;
        qmp.call("qmp_capabilities", Value::Null, deadline).await?;
        Ok(qmp)
    }

    /// Sends a command and gives what it returns. After a `Timeout` the conversation is to be dropped.
    pub async fn call(&mut self, command: &'static str, arguments: Value, deadline: Instant) -> Result<Value, VmmError> {
        let id = self.next;
        self.next += 1;
        let mut request = json!({ "execute": command, "id": id });
        if !arguments.is_null() {
            request["arguments"] = arguments;
        }
        // Far less than the socket takes at once; a QEMU that is gone is noticed here or at the answer.
        self.writer.write_all(format!("{request}\r\n").as_bytes()).await.map_err(|_| VmmError::Gone)?;
        self.until(deadline, command, |line| answer(line, id, command)).await
    }

    async fn until<T>(
        &mut self,
        deadline: Instant,
        call: &'static str,
        wanted: impl Fn(&Value) -> Option<Result<T, VmmError>>,
    ) -> Result<T, VmmError> {
        let from = Instant::now();
        let read = async {
            loop {
                let line = next_line(&mut self.reader).await?;
                if let Some(found) = wanted(&line) {
                    return found;
                }
            }
        };
        let after_ms = deadline.saturating_duration_since(from).as_millis() as u64;
        tokio::time::timeout_at(deadline, read).await.unwrap_or(Err(VmmError::Timeout { call, after_ms }))
    }
}

/// What the line says to the question of that number, if it is its answer.
pub(super) fn answer(line: &Value, id: u64, call: &'static str) -> Option<Result<Value, VmmError>> {
    if line.get("id")?.as_u64()? != id {
        return None;
    }
    if let Some(value) = line.get("return") {
        return Some(Ok(value.clone()));
    }
    let detail = line.get("error")?.get("desc").and_then(Value::as_str).unwrap_or("no description").to_owned();
    Some(Err(VmmError::Refused { call, detail }))
}

/// The next line that is JSON.
pub(super) async fn next_line(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Value, VmmError> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut *reader).take(MOST_LINE).read_until(b'\n', &mut line).await.map_err(|_| VmmError::Gone)?;
        if read == 0 {
            return Err(VmmError::Gone);
        }
        if read as u64 == MOST_LINE {
            return Err(VmmError::Refused { call: "qmp", detail: "a line is longer than any answer".into() });
        }
        if let Ok(value) = serde_json::from_slice(&line) {
            return Ok(value);
        }
    }
}

/// Why a QEMU ended, by its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    Shutdown,
    Reset,
    Panic,
    /// Told to, by a signal or over QMP.
    Told,
}

/// Reads the log of events; the last word counts, but a panic counts more than the reset that follows it.
pub fn farewell(log: &str) -> Option<Farewell> {
    let mut last = None;
    for line in log.lines() {
        let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
        let reason = value.pointer("/data/reason").and_then(Value::as_str);
        last = match (value.get("event").and_then(Value::as_str), reason) {
            (Some("GUEST_PANICKED"), _) | (Some("SHUTDOWN"), Some("guest-panic")) => Some(Farewell::Panic),
            (Some("SHUTDOWN"), _) if last == Some(Farewell::Panic) => last,
            (Some("SHUTDOWN"), Some("guest-shutdown")) => Some(Farewell::Shutdown),
            (Some("SHUTDOWN"), Some("guest-reset" | "subsystem-reset")) => Some(Farewell::Reset),
            (Some("SHUTDOWN"), Some(_)) => Some(Farewell::Told),
            _ => last,
        };
    }
    last
}

#[cfg(test)]
mod tests;
