//! What a stream's consumer asks, over the mux.
use super::super::{ExecLink, GuestFault};
use super::client::Handle;
use super::state::{control_frame, data_frame};
use api::guest::{DATA_CHUNK, FRAME_COST, Frame, FrameKind, HostMessage, TtySize, credit_cost};
use async_trait::async_trait;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// A stream: an exec's, or a connection's, whose input and output are carried alike.
pub(super) struct Link {
    pub(super) handle: Arc<Handle>,
    pub(super) id: u32,
    /// Credit for stdin; closed with the stream.
    pub(super) stdin: Arc<Semaphore>,
}

impl Link {
    async fn control(&self, wire: Vec<u8>) -> Result<(), GuestFault> {
        let shared = &self.handle.shared;
        if shared.ended() {
            return Err(shared.fault());
        }
        tokio::select! {
            sent = shared.control.send(wire) => sent.map_err(|_| shared.fault()),
            fault = shared.closed() => Err(fault),
        }
    }

    async fn data(&self, bytes: &[u8]) -> Result<(), GuestFault> {
        let shared = &self.handle.shared;
        let wire = data_frame(FrameKind::Stdin, self.id, bytes)?;
        tokio::select! {
            sent = shared.data.send(wire) => sent.map_err(|_| shared.fault()),
            fault = shared.closed() => Err(fault),
        }
    }
}

#[async_trait]
impl ExecLink for Link {
    async fn write_stdin(&self, bytes: &[u8]) -> Result<usize, GuestFault> {
        // Room for one byte at least, then for as much as there is without waiting.
        let least = self.stdin.acquire_many(credit_cost(1)).await.map_err(|_| self.fault())?;
        let most = bytes.len().min(DATA_CHUNK);
        let more = self.stdin.available_permits().min(most - 1);
        // Another writer may have been quicker; then one byte it is.
        let more = self.stdin.try_acquire_many(more as u32).ok();
        let len = 1 + more.as_ref().map_or(0, |permit| permit.num_permits());
        self.data(&bytes[..len]).await?;
        least.forget();
        if let Some(permit) = more {
            permit.forget();
        }
        Ok(len)
    }

    async fn close_stdin(&self) -> Result<(), GuestFault> {
        // The end counts as a frame as well.
        let permit = self.stdin.acquire_many(FRAME_COST).await.map_err(|_| self.fault())?;
        self.data(&[]).await?;
        permit.forget();
        Ok(())
    }

    async fn refund(&self, credit: u32) -> Result<(), GuestFault> {
        let shared = &self.handle.shared;
        let wire = data_frame(FrameKind::Credit, self.id, &Frame::credit(self.id, credit).payload)?;
        // Reserved first: from here to the end nothing waits, so that a dropped call has either done both or nothing.
        let place = tokio::select! {
            place = shared.control.reserve() => place.map_err(|_| shared.fault())?,
            // What came before the end is still to be read.
            _ = shared.closed() => return Ok(()),
        };
        if shared.with_stream(self.id, |stream| stream.window = stream.window.saturating_add(credit)).is_some() {
            place.send(wire);
        }
        Ok(())
    }

    async fn resize(&self, size: TtySize) -> Result<(), GuestFault> {
        self.control(control_frame(self.id, &HostMessage::Resize(size))?).await
    }

    async fn signal(&self, signal: i32) -> Result<(), GuestFault> {
        self.control(control_frame(self.id, &HostMessage::Signal { signal })?).await
    }

    fn abandon(&self) {
        self.handle.shared.abandon(self.id);
    }

    fn fault(&self) -> GuestFault {
        self.handle.shared.fault()
    }
}
