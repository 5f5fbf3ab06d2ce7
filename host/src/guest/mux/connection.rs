//! A connection to a port of the guest's loopback, over the mux: what its consumer asks, and what comes of it.
use super::super::{ConnectionEvent, ConnectionSink, ConnectionSource, ExecLink, GuestFault};
use super::link::Link;
use api::guest::{OUTPUT_WINDOW, credit_cost};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Between hand-backs of credit, so that small reads do not make a frame each.
const REFUND_STEP: u32 = OUTPUT_WINDOW / 4;

/// What the reader hands on. As a queue without a bound; the bound is the credit (a window's worth of frames) that the reader enforces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Arrived {
    Bytes(Bytes),
    Eof,
    /// The last; with what broke the connection, if something did.
    Over(Option<String>),
}

/// The way to the guest.
pub(super) struct Sink {
    pub(super) link: Arc<Link>,
}

#[async_trait]
impl ConnectionSink for Sink {
    async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), GuestFault> {
        while !bytes.is_empty() {
            let taken = self.link.write_stdin(bytes).await?;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<(), GuestFault> {
        self.link.close_stdin().await
    }
}

/// The way from the guest; dropped before the end, it has the agent drop the connection.
pub(super) struct Source {
    link: Arc<Link>,
    arrived: mpsc::UnboundedReceiver<Arrived>,
    owed: u32,
    over: bool,
}

impl Source {
    pub(super) fn new(link: Arc<Link>, arrived: mpsc::UnboundedReceiver<Arrived>) -> Self {
        Self { link, arrived, owed: 0, over: false }
    }
}

#[async_trait]
impl ConnectionSource for Source {
    async fn next(&mut self) -> Result<ConnectionEvent, GuestFault> {
        if self.over {
            return Err(GuestFault::Closed);
        }
        if self.owed >= REFUND_STEP {
            self.link.refund(self.owed).await?;
            self.owed = 0;
        }
        match self.arrived.recv().await {
            Some(Arrived::Bytes(bytes)) => {
                self.owed += credit_cost(bytes.len());
                Ok(ConnectionEvent::Bytes(bytes))
            }
            Some(Arrived::Eof) => Ok(ConnectionEvent::Eof),
            Some(Arrived::Over(reason)) => {
                self.over = true;
                reason.map_or(Ok(ConnectionEvent::Closed), |detail| Err(GuestFault::Reset { detail }))
            }
            None => {
                self.over = true;
                Err(self.link.fault())
            }
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if !self.over {
            self.link.abandon();
        }
    }
}
