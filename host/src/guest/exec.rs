//! A process that runs in a guest, seen from the host: its input, its output with bounded memory, its end. Independent of who carries
//! it: the mux client and a simulated guest both implement [`ExecLink`] and feed an [`OutputSender`].
use super::GuestFault;
use api::guest::{ExitStatus, TtySize, credit_cost};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Between hand-backs of credit, so that small reads do not make a frame each.
const REFUND_STEP: u32 = api::guest::OUTPUT_WINDOW / 4;

/// What an exec's consumer asks of the one who carries it.
#[async_trait]
pub trait ExecLink: Send + Sync + 'static {
    /// Waits for room and takes at least one byte of `bytes`; gives how many. Cancel: none or those were taken.
    async fn write_stdin(&self, bytes: &[u8]) -> Result<usize, GuestFault>;
    async fn close_stdin(&self) -> Result<(), GuestFault>;
    /// The consumer took so much: as much more may be sent. Cancel: called again with the same amount.
    async fn refund(&self, credit: u32) -> Result<(), GuestFault>;
    async fn resize(&self, size: TtySize) -> Result<(), GuestFault>;
    async fn signal(&self, signal: i32) -> Result<(), GuestFault>;
    /// The consumer has gone: end the process. Must not block; called at most once.
    fn abandon(&self);
    /// Why nothing comes any more when the output ended without an exit.
    fn fault(&self) -> GuestFault;
}

/// One thing that the process did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecEvent {
    /// Standard output, or all output of a terminal.
    Stdout(Bytes),
    Stderr(Bytes),
    /// The last event; all output came before it.
    Exit(ExitStatus),
}

/// Where the carrier puts events. Unbounded as a queue; the bound is the credit (a window's worth of frames) that the carrier enforces.
pub type OutputSender = mpsc::UnboundedSender<ExecEvent>;

/// A process in the guest. Dropping it (or its output) ends the process.
pub struct ExecSession {
    pub stdin: ExecStdin,
    pub output: ExecOutput,
    pub control: ExecControl,
    pub pid: u32,
}

/// The process' standard input. Dropping it does not end the input; [`ExecStdin::close`] does.
pub struct ExecStdin {
    link: Arc<dyn ExecLink>,
}

/// Resizes and signals; clones are cheap.
#[derive(Clone)]
pub struct ExecControl {
    link: Arc<dyn ExecLink>,
}

/// The process' output and end.
pub struct ExecOutput {
    link: Arc<dyn ExecLink>,
    events: mpsc::UnboundedReceiver<ExecEvent>,
    owed: u32,
    ended: bool,
}

/// All that a process said, when that is little.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub status: ExitStatus,
    /// There was more than the limit; the rest was read and dropped.
    pub truncated: bool,
}

impl ExecSession {
    /// For carriers.
    pub fn new(link: Arc<dyn ExecLink>, events: mpsc::UnboundedReceiver<ExecEvent>, pid: u32) -> Self {
        Self {
            stdin: ExecStdin { link: Arc::clone(&link) },
            control: ExecControl { link: Arc::clone(&link) },
            output: ExecOutput { link, events, owed: 0, ended: false },
            pid,
        }
    }

    /// Reads to the end, keeping at most `limit` bytes of each output. Has no deadline: wrap it in one.
    pub async fn collect(mut self, limit: usize) -> Result<Collected, GuestFault> {
        let mut all = Collected { stdout: Vec::new(), stderr: Vec::new(), status: ExitStatus::Code(0), truncated: false };
        loop {
            let (kept, bytes) = match self.output.next().await? {
                ExecEvent::Stdout(bytes) => (&mut all.stdout, bytes),
                ExecEvent::Stderr(bytes) => (&mut all.stderr, bytes),
                ExecEvent::Exit(status) => {
                    all.status = status;
                    return Ok(all);
                }
            };
            let room = limit.saturating_sub(kept.len()).min(bytes.len());
            kept.extend_from_slice(&bytes[..room]);
            all.truncated |= room < bytes.len();
        }
    }
}

impl ExecStdin {
    /// Writes all, as fast as the process reads. Cancel: a part may have been written.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), GuestFault> {
        while !bytes.is_empty() {
            let taken = self.link.write_stdin(bytes).await?;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// The process reads end-of-file next. Nothing may be written afterwards.
    pub async fn close(self) -> Result<(), GuestFault> {
        self.link.close_stdin().await
    }
}

impl ExecControl {
    pub async fn resize(&self, size: TtySize) -> Result<(), GuestFault> {
        self.link.resize(size).await
    }

    /// To the whole process group.
    pub async fn signal(&self, signal: i32) -> Result<(), GuestFault> {
        self.link.signal(signal).await
    }
}

impl ExecOutput {
    /// The next event; after `Exit` always `Closed`. Cancel: nothing is lost.
    pub async fn next(&mut self) -> Result<ExecEvent, GuestFault> {
        if self.ended {
            return Err(GuestFault::Closed);
        }
        if self.owed >= REFUND_STEP {
            self.link.refund(self.owed).await?;
            self.owed = 0;
        }
        let Some(event) = self.events.recv().await else {
            self.ended = true;
            return Err(self.link.fault());
        };
        match &event {
            ExecEvent::Stdout(bytes) | ExecEvent::Stderr(bytes) => self.owed += credit_cost(bytes.len()),
            ExecEvent::Exit(_) => self.ended = true,
        }
        Ok(event)
    }
}

impl Drop for ExecOutput {
    fn drop(&mut self) {
        if !self.ended {
            self.link.abandon();
        }
    }
}

impl std::fmt::Debug for ExecSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecSession").field("pid", &self.pid).finish_non_exhaustive()
    }
}
