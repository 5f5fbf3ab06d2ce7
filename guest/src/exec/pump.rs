//! Bytes between a process, or a port, and its stream, as far as credit reaches.
use super::spawn::{Input, Output};
use crate::session::Outbox;
use api::guest::{DATA_CHUNK, FRAME_COST, FrameKind, credit_cost};
use std::{cell::Cell, convert::Infallible, rc::Rc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};

/// A daemon that the process left behind holds the pipe open for ever; what it writes later than this after the exit is not the exec's.
const AFTER_EXIT: Duration = Duration::from_millis(300);

/// One output of a process.
pub struct Pump<'a> {
    pub id: u32,
    pub kind: FrameKind,
    pub outbox: &'a Outbox,
    pub credit: &'a Semaphore,
    pub exited: watch::Receiver<bool>,
}

impl Pump<'_> {
    pub async fn run(mut self, output: Output) {
        match output {
            Output::Stdout(stream) => self.carry(stream).await,
            Output::Stderr(stream) => self.carry(stream).await,
            Output::Terminal(stream) => self.carry(stream).await,
        }
        end(self.id, self.kind, self.outbox, self.credit).await;
    }

    async fn carry<R: AsyncRead + Unpin>(&mut self, mut stream: R) {
        let (id, kind, outbox, credit) = (self.id, self.kind, self.outbox, self.credit);
        carry(id, kind, outbox, credit, async |buffer: &mut [u8]| self.read(&mut stream, buffer).await).await;
    }

    /// `None` at the end.
    async fn read<R: AsyncRead + Unpin>(&mut self, stream: &mut R, buffer: &mut [u8]) -> Option<usize> {
        let got = if *self.exited.borrow_and_update() {
            timeout(AFTER_EXIT, stream.read(buffer)).await.ok()
        } else {
            tokio::select! {
                biased;
                got = stream.read(buffer) => Some(got),
                _ = self.exited.changed() => timeout(AFTER_EXIT, stream.read(buffer)).await.ok(),
            }
        };
        // A terminal whose other side has closed gives EIO; any error is the end.
        got?.ok().filter(|got| *got > 0)
    }
}

/// Sends what `read` gives, until it gives nothing.
pub async fn carry(
    id: u32,
    kind: FrameKind,
    outbox: &Outbox,
    credit: &Semaphore,
    mut read: impl AsyncFnMut(&mut [u8]) -> Option<usize>,
) {
    let mut buffer = Vec::new();
    loop {
        // Nothing is read that can't be sent: who writes waits, as with any full pipe.
        let Ok(least) = credit.acquire_many(credit_cost(1)).await else { return };
        let more = credit.available_permits().min(DATA_CHUNK - 1);
        let more = credit.try_acquire_many(more as u32).ok();
        let room = 1 + more.as_ref().map_or(0, |permit| permit.num_permits());
        buffer.resize(room, 0);
        let Some(got) = read(&mut buffer).await else { return };
        least.forget();
        if let Some(permit) = more {
            permit.forget();
        }
        credit.add_permits(room - got);
        outbox.data(kind, id, &buffer[..got]).await;
    }
}

/// Says that no more comes.
pub async fn end(id: u32, kind: FrameKind, outbox: &Outbox, credit: &Semaphore) {
    if credit.acquire_many(FRAME_COST).await.map(|permit| permit.forget()).is_ok() {
        outbox.data(kind, id, &[]).await;
    }
}

/// Writes what the host sends and gives the credit back; never ends by itself, so that an exec outlives its input.
pub async fn feed(
    id: u32,
    mut sink: Input,
    mut input: mpsc::UnboundedReceiver<Vec<u8>>,
    window: Rc<Cell<u32>>,
    outbox: &Outbox,
) -> Infallible {
    while sink.is_open() {
        let Some(bytes) = input.recv().await else { break };
        let written = match &mut sink {
            _ if bytes.is_empty() => sink.end().await,
            Input::Pipe(pipe) => pipe.write_all(&bytes).await,
            Input::Terminal(terminal) => terminal.write_all(&bytes).await,
            Input::None => break,
        };
        if written.is_err() || bytes.is_empty() {
            break;
        }
        let cost = credit_cost(bytes.len());
        window.set(window.get().saturating_add(cost));
        outbox.credit(id, cost).await;
    }
    // The pipe is closed here; the host's credit for it stays used up, so a host that goes on writing waits until the exit.
    drop(sink);
    std::future::pending().await
}

/// Ctrl-D: what ends the input of a program that reads from a terminal.
const END_OF_TRANSMISSION: u8 = 4;

impl Input {
    async fn end(&mut self) -> std::io::Result<()> {
        if let Self::Terminal(terminal) = self {
            return terminal.write_all(&[END_OF_TRANSMISSION]).await;
        }
        Ok(())
    }
}
