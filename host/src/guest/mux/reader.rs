//! Takes each frame to who waits for it. Never waits itself: what a guest may send is bounded by credit and by one answer a request.
use super::super::GuestFault;
use super::hello::Incoming;
use super::state::{Last, Shared};
use api::guest::{AgentMessage, ErrorCode, Frame, FrameKind, MAX_REASON};
use tokio::io::AsyncRead;
use tokio::sync::Semaphore;

/// Runs until the stream ends or the agent does what ends a session.
pub(super) async fn run<R: AsyncRead + Unpin>(mut incoming: Incoming<R>, shared: &Shared) -> GuestFault {
    loop {
        let taken = match incoming.frame().await {
            Ok(frame) => take(shared, frame),
            Err(fault) => Err(fault),
        };
        if let Err(fault) = taken {
            return fault;
        }
    }
}

/// What one frame does.
pub(super) fn take(shared: &Shared, frame: Frame) -> Result<(), GuestFault> {
    match frame.kind {
        FrameKind::Control => control(shared, frame.stream, &frame.payload),
        FrameKind::Stdout | FrameKind::Stderr => output(shared, frame),
        FrameKind::Credit => credit(shared, &frame),
        FrameKind::Stdin => Err(GuestFault::Protocol { detail: "input for the host" }),
    }
}

fn control(shared: &Shared, id: u32, payload: &[u8]) -> Result<(), GuestFault> {
    let message = serde_json::from_slice(payload).map_err(|_| GuestFault::Protocol { detail: "a message that is no JSON" })?;
    match message {
        AgentMessage::Restarted => return Err(GuestFault::AgentRestarted),
        AgentMessage::Failed(error) if error.code == ErrorCode::NoSession => return Err(GuestFault::AgentRestarted),
        AgentMessage::Metrics(sample) => drop(shared.metrics.send_replace(Some(*sample))),
        AgentMessage::Addresses { interfaces } => drop(shared.addresses.send_replace(interfaces)),
        AgentMessage::Exited { status } => shared.close(id, Some(Last::Exit(status))),
        AgentMessage::Disconnected { reason } => shared.close(id, Some(Last::Over(reason.map(short)))),
        AgentMessage::Started { stdin_credit: credit, .. } | AgentMessage::Connected { credit } => {
            // Before the answer goes out, so that the caller finds its stdin open.
            shared.with_stream(id, |stream| add_permits(&stream.stdin, credit));
            answered(shared, id, message);
        }
        AgentMessage::Done | AgentMessage::Failed(_) => answered(shared, id, message),
        // A repeated hello was answered twice; a later generation's words are not for us.
        AgentMessage::Hello(_) | AgentMessage::Unknown => {}
        _ => {}
    }
    Ok(())
}

fn answered(shared: &Shared, id: u32, message: AgentMessage) {
    if !shared.answer(id, message) {
        tracing::debug!(id, "an answer of the guest's agent that nobody waits for");
    }
}

/// Of a stream that was closed meanwhile: nobody wants it.
fn output(shared: &Shared, frame: Frame) -> Result<(), GuestFault> {
    shared.with_stream(frame.stream, |stream| stream.take(frame.kind, frame.payload)).unwrap_or(Ok(()))
}

/// A guest's own words, which people are shown.
fn short(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(MAX_REASON));
    reason
}

fn credit(shared: &Shared, frame: &Frame) -> Result<(), GuestFault> {
    let amount = frame.credit_amount().ok_or(GuestFault::Protocol { detail: "credit that is no number" })?;
    shared.with_stream(frame.stream, |stream| add_permits(&stream.stdin, amount));
    Ok(())
}

/// A semaphore panics beyond its maximum, and a guest must not bring us there.
fn add_permits(semaphore: &Semaphore, amount: u32) {
    let room = Semaphore::MAX_PERMITS.saturating_sub(semaphore.available_permits());
    semaphore.add_permits(room.min(amount as usize));
}
