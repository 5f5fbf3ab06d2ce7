//! What each of the host's messages does. Decides who may; the doing is in the modules of the matter.
use super::{Outbox, streams::Streams};
use crate::{clock, machine::PowerOff, network, run::Rights, shutdown};
use api::guest::{
    AgentMessage, ErrorCode, Frame, FrameKind, GuestError, HostMessage, IDLE_METRICS_INTERVAL_MS, MIN_METRICS_INTERVAL_MS,
    ShutdownKind,
};
use std::time::Duration;
use tokio::sync::watch;

pub struct Requests {
    outbox: Outbox,
    rights: Rights,
    streams: Streams,
    pace: watch::Sender<Duration>,
}

impl Requests {
    pub fn new(outbox: Outbox, rights: Rights) -> Self {
        let pace = watch::Sender::new(Duration::from_millis(IDLE_METRICS_INTERVAL_MS.into()));
        Self { streams: Streams::new(outbox.clone()), outbox, rights, pace }
    }

    pub fn pace(&self) -> watch::Receiver<Duration> {
        self.pace.subscribe()
    }

    pub async fn data(&mut self, frame: Frame) {
        match frame.kind {
            FrameKind::Stdin => self.streams.stdin(frame.stream, frame.payload),
            FrameKind::Credit => self.streams.credit(frame.stream, frame.credit_amount()),
            // Output comes from here, and control was sorted out before.
            FrameKind::Stdout | FrameKind::Stderr | FrameKind::Control => {}
        }
    }

    pub async fn message(&mut self, id: u32, message: HostMessage) {
        let done = match message {
            HostMessage::Exec(request) => return self.exec(id, request).await,
            HostMessage::Connect { port } => self.connect(id, port).map(|()| None),
            HostMessage::Resize(size) => self.streams.resize(id, size).map(|()| None),
            HostMessage::Signal { signal } => self.streams.signal(id, signal).map(|()| None),
            HostMessage::Close => {
                self.streams.close(id);
                Ok(None)
            }
            HostMessage::Ping => Ok(Some(AgentMessage::Done)),
            HostMessage::SubscribeMetrics { interval_ms } => {
                let interval_ms = interval_ms.unwrap_or(IDLE_METRICS_INTERVAL_MS).max(MIN_METRICS_INTERVAL_MS);
                self.pace.send_replace(Duration::from_millis(interval_ms.into()));
                Ok(Some(AgentMessage::Done))
            }
            HostMessage::SetClock { epoch_ns } => self.on_the_machine(|_| clock::set(epoch_ns)),
            HostMessage::AddEntropy { bytes } => self.on_the_machine(|_| clock::add_entropy(&bytes)),
            HostMessage::ConfigureNetwork(config) => self.on_the_machine(|_| network::configure(&config)),
            HostMessage::Shutdown { kind, deadline_ms } => {
                self.on_the_machine(|power_off| begin_shutdown(kind, power_off, deadline_ms))
            }
            // `Hello` was sorted out before; the rest is of a later generation.
            _ => Err(GuestError::new(ErrorCode::Unsupported, "this agent does not know that message")),
        };
        match done {
            Ok(Some(answer)) => self.outbox.control(id, &answer).await,
            Ok(None) => {}
            Err(error) => self.outbox.failed(id, error).await,
        }
    }

    async fn exec(&mut self, id: u32, request: api::guest::ExecRequest) {
        #[cfg(any(test, fuzzing))]
        if self.rights == Rights::Nothing {
            return self.outbox.failed(id, nothing()).await;
        }
        match self.streams.open(id, &request) {
            // Before the first output can be queued: nothing else runs until this waits, and control goes first.
            Ok((started, go)) => {
                self.outbox.control(id, &started).await;
                let _ = go.send(());
            }
            Err(error) => self.outbox.failed(id, error).await,
        }
    }

    /// Answered when the port has.
    fn connect(&mut self, id: u32, port: u16) -> Result<(), GuestError> {
        #[cfg(any(test, fuzzing))]
        if self.rights == Rights::Nothing {
            return Err(nothing());
        }
        self.streams.connect(id, port)
    }

    fn on_the_machine(&self, act: impl FnOnce(PowerOff) -> Result<(), GuestError>) -> Result<Option<AgentMessage>, GuestError> {
        match self.rights {
            Rights::Machine(power_off) => act(power_off).map(|()| Some(AgentMessage::Done)),
            Rights::Processes => Err(GuestError::new(
                ErrorCode::PermissionDenied,
                "this agent was started by hand and has no right over the machine that it runs on",
            )),
            #[cfg(any(test, fuzzing))]
            Rights::Nothing => Err(nothing()),
        }
    }
}

#[cfg(any(test, fuzzing))]
fn nothing() -> GuestError {
    GuestError::new(ErrorCode::PermissionDenied, "this agent has the right to nothing")
}

/// Goes on after the session: the guest ends even if the host has gone.
fn begin_shutdown(kind: ShutdownKind, power_off: PowerOff, deadline_ms: u64) -> Result<(), GuestError> {
    if kind == ShutdownKind::Unknown {
        return Err(GuestError::new(ErrorCode::Unsupported, "this agent does not know that kind of shutdown"));
    }
    tokio::task::spawn_local(async move {
        // The answer goes out first.
        tokio::task::yield_now().await;
        shutdown::run(kind, power_off, Duration::from_millis(deadline_ms)).await;
    });
    Ok(())
}
