//! What waits to be written: control before data, both bounded. A full queue makes its writer wait, never the other queue.
use api::guest::{AgentMessage, FrameKind, GuestError, frame};
use std::io;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};

/// Answers and credits: the host takes them without waiting, so this is slack for a busy moment.
const CONTROL_QUEUE: usize = 32;
/// Few, so that the streams take turns and little memory is held.
const DATA_QUEUE: usize = 2;

/// Puts frames in the queues of one session. When the session is over it takes and drops everything.
#[derive(Clone)]
pub struct Outbox {
    control: mpsc::Sender<Vec<u8>>,
    data: mpsc::Sender<Vec<u8>>,
}

pub struct Queues {
    control: mpsc::Receiver<Vec<u8>>,
    data: mpsc::Receiver<Vec<u8>>,
}

pub fn pair() -> (Outbox, Queues) {
    let (control, control_queue) = mpsc::channel(CONTROL_QUEUE);
    let (data, data_queue) = mpsc::channel(DATA_QUEUE);
    (Outbox { control, data }, Queues { control: control_queue, data: data_queue })
}

impl Outbox {
    pub async fn control(&self, id: u32, message: &AgentMessage) {
        let _ = self.control.send(encode(id, message)).await;
    }

    pub async fn failed(&self, id: u32, error: GuestError) {
        self.control(id, &AgentMessage::Failed(error)).await;
    }

    /// Drops the message when the host is slow: the next one of its kind is better.
    pub fn hint(&self, id: u32, message: &AgentMessage) {
        let _ = self.control.try_send(encode(id, message));
    }

    pub async fn credit(&self, id: u32, amount: u32) {
        let _ = self.control.send(wire(FrameKind::Credit, id, &amount.to_le_bytes())).await;
    }

    /// Bytes of a stream, in its order.
    pub async fn data(&self, kind: FrameKind, id: u32, bytes: &[u8]) {
        let _ = self.data.send(wire(kind, id, bytes)).await;
    }

    /// A message that must not overtake its stream's bytes.
    pub async fn after_data(&self, id: u32, message: &AgentMessage) {
        let _ = self.data.send(encode(id, message)).await;
    }
}

impl Queues {
    /// Writes until that fails. Cancel: half a frame may be out; the next session's first zero byte ends it.
    pub async fn write<W: AsyncWrite + Unpin>(mut self, writer: &mut W) -> io::Error {
        loop {
            let wire = tokio::select! {
                biased;
                Some(wire) = self.control.recv() => wire,
                Some(wire) = self.data.recv() => wire,
                else => return io::ErrorKind::BrokenPipe.into(),
            };
            if let Err(error) = writer.write_all(&wire).await {
                return error;
            }
        }
    }
}

fn encode(id: u32, message: &AgentMessage) -> Vec<u8> {
    wire(FrameKind::Control, id, &serde_json::to_vec(message).unwrap_or_default())
}

/// Nothing that we send is over the limit (chunks and lists are bounded); if it were, nothing is better than half of it.
fn wire(kind: FrameKind, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let _ = frame::encode(kind, id, payload, &mut wire);
    wire
}
