//! Settling a session: says hello until it is answered, and passes over everything before the answer, which is of an earlier session.
use super::super::{GuestFault, GuestInfo};
use super::state::control_frame;
use api::guest::{AgentHello, AgentMessage, Decoder, Frame, FrameKind, GENERATION, HostHello, HostMessage};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A hello may be lost with the port that was not open yet; the agent takes repeats of a nonce as one.
const REPEAT: Duration = Duration::from_secs(1);
/// As much as the kernel gives at a time from a unix socket without a second call.
pub(super) const READ_BUFFER: usize = 32 * 1024;

/// Bytes that were read, and how far they are used.
pub(super) struct Incoming<R> {
    stream: R,
    decoder: Decoder,
    buffer: Vec<u8>,
    from: usize,
    to: usize,
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    pub(super) fn new(stream: R) -> Self {
        Self { stream, decoder: Decoder::new(), buffer: vec![0; READ_BUFFER], from: 0, to: 0 }
    }

    /// The next frame. Cancel: nothing is lost.
    pub(super) async fn frame(&mut self) -> Result<Frame, GuestFault> {
        loop {
            while self.from < self.to {
                let (taken, frame) = self.decoder.push(&self.buffer[self.from..self.to]);
                self.from += taken;
                if let Some(frame) = frame {
                    return Ok(frame);
                }
            }
            let got = self.stream.read(&mut self.buffer).await;
            (self.from, self.to) = (0, got.map_err(|error| GuestFault::Broken { detail: error.to_string() })?);
            if self.to == 0 {
                return Err(GuestFault::Closed);
            }
        }
    }
}

/// Returns when the agent has answered this very hello.
pub(super) async fn settle<R, W>(incoming: &mut Incoming<R>, writer: &mut W) -> Result<GuestInfo, GuestFault>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let nonce = rand::random();
    let hello = HostHello { generation: GENERATION, nonce, host_version: env!("CARGO_PKG_VERSION").to_owned() };
    let wire = control_frame(0, &HostMessage::Hello(hello))?;
    let mut repeat = tokio::time::interval(REPEAT);
    loop {
        tokio::select! {
            _ = repeat.tick() => say(writer, &wire).await?,
            frame = incoming.frame() => match message(&frame?) {
                Some(AgentMessage::Hello(hello)) if hello.nonce == nonce => return info(hello),
                // It came up after our last hello went by: say it again now instead of at the next tick.
                Some(AgentMessage::Restarted) => repeat.reset_immediately(),
                _ => {}
            },
        }
    }
}

async fn say<W: AsyncWrite + Unpin>(writer: &mut W, wire: &[u8]) -> Result<(), GuestFault> {
    writer.write_all(wire).await.map_err(|error| GuestFault::Broken { detail: error.to_string() })
}

pub(super) fn message(frame: &Frame) -> Option<AgentMessage> {
    if frame.kind != FrameKind::Control {
        return None;
    }
    serde_json::from_slice(&frame.payload).ok()
}

fn info(hello: AgentHello) -> Result<GuestInfo, GuestFault> {
    if hello.generation == 0 || hello.generation > GENERATION {
        return Err(GuestFault::Protocol { detail: "a generation that was not offered" });
    }
    Ok(GuestInfo {
        agent_version: hello.agent_version,
        generation: hello.generation,
        kernel_release: hello.kernel_release,
        boot_id: hello.boot_id,
        hostname: hello.hostname,
        init: hello.init,
    })
}
