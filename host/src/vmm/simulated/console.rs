//! A serial console with one line on it. Takes what is typed and drops it.

use super::super::lines::LinesWanted;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const TEXT: &[u8] = b"this VM is simulated: no guest prints here\r\n";

/// The last `bytes` of it.
pub fn tail(bytes: u64) -> &'static [u8] {
    let kept = usize::try_from(bytes).unwrap_or(usize::MAX).min(TEXT.len());
    &TEXT[TEXT.len() - kept..]
}

/// Nobody printed it, so nobody saw when.
pub fn lines(wanted: &LinesWanted) -> &'static [u8] {
    const UNTIMED: &[u8] = b"- this VM is simulated: no guest prints here\r\n";
    match (wanted.since_ms, wanted.with_times, wanted.bytes) {
        (Some(_), _, _) | (_, _, 0) => b"",
        (None, true, _) => UNTIMED,
        (None, false, bytes) => tail(bytes),
    }
}

pub struct SimulatedConsole {
    rest: &'static [u8],
}

impl SimulatedConsole {
    pub fn new(history_bytes: u64) -> Self {
        Self::showing(tail(history_bytes))
    }

    pub fn showing(text: &'static [u8]) -> Self {
        Self { rest: text }
    }
}

impl AsyncRead for SimulatedConsole {
    fn poll_read(mut self: Pin<&mut Self>, _context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            // Nothing follows, and nobody is to be woken for it; the end would mean that the VM is gone.
            return Poll::Pending;
        }
        let (now, later) = self.rest.split_at(self.rest.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.rest = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SimulatedConsole {
    fn poll_write(self: Pin<&mut Self>, _context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
