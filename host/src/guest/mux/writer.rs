//! Writes what waits, control before data, and tells the agent of abandoned streams.
use super::super::GuestFault;
use super::state::{Shared, Wire, control_frame};
use api::guest::HostMessage;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};

/// Runs until the stream breaks. Cancel: half a frame may be written, so the stream is of no more use.
pub(super) async fn run<W: AsyncWrite + Unpin>(
    mut stream: W,
    shared: &Shared,
    mut control: mpsc::Receiver<Wire>,
    mut data: mpsc::Receiver<Wire>,
) -> GuestFault {
    loop {
        let wire = tokio::select! {
            biased;
            wire = control.recv() => wire,
            () = shared.abandon.notified() => Some(closes(shared)),
            wire = data.recv() => wire,
        };
        // The queues' senders live in `Shared`, so this is not reached before its end.
        let Some(wire) = wire else { return GuestFault::Closed };
        if let Err(error) = stream.write_all(&wire).await {
            return GuestFault::Broken { detail: error.to_string() };
        }
    }
}

fn closes(shared: &Shared) -> Wire {
    let mut wire = Vec::new();
    for id in shared.take_abandoned() {
        wire.extend(control_frame(id, &HostMessage::Close).unwrap_or_default());
    }
    wire
}
