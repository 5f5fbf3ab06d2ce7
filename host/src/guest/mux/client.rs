//! The handle of a session: connects, asks and waits for answers.
use super::super::{Connection, ExecSession, GuestFault, GuestInfo, GuestSession, Port, REQUEST_TIMEOUT};
use super::connection::{Sink, Source};
use super::hello::{Incoming, settle};
use super::link::Link;
use super::state::{CONTROL_QUEUE, DATA_QUEUE, Events, Shared, Stream, control_frame};
use super::{reader, writer};
use api::guest::{
    AgentMessage, ErrorCode, ExecRequest, GuestError, HostMessage, InterfaceAddresses, MetricsSample, NetworkConfig,
    OUTPUT_WINDOW, ShutdownKind,
};
use async_trait::async_trait;
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc, watch};

/// A settled session with a guest's agent. Clones are cheap; the session ends when the last clone and the last exec are dropped.
#[derive(Debug, Clone)]
pub struct Guest {
    handle: Arc<Handle>,
}

/// Ends the session when nobody holds it any more.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.end(GuestFault::Closed);
    }
}

/// Takes back what a request left waiting when it is dropped, answered or not.
struct Waiting<'a> {
    shared: &'a Shared,
    id: u32,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.forget(self.id);
    }
}

impl Guest {
    /// Settles hello within `deadline`. Errors: `NoHello` when the time is over, `Closed` or `Broken` with the stream. Cancel: the
    /// stream is dropped; the agent takes the next connection.
    pub async fn connect<S>(stream: S, deadline: Duration) -> Result<Self, GuestFault>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (read, mut write) = tokio::io::split(stream);
        let mut incoming = Incoming::new(read);
        let after_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let info = tokio::time::timeout(deadline, settle(&mut incoming, &mut write))
            .await
            .map_err(|_| GuestFault::NoHello { after_ms })??;
        let (control, control_queue) = mpsc::channel(CONTROL_QUEUE);
        let (data, data_queue) = mpsc::channel(DATA_QUEUE);
        let shared = Arc::new(Shared::new(info, control, data));
        let state = Arc::clone(&shared);
        // Ends with the stream or with the last handle, whichever is first; the stream's halves are dropped with it.
        tokio::spawn(async move {
            let fault = tokio::select! {
                fault = reader::run(incoming, &state) => fault,
                fault = writer::run(write, &state, control_queue, data_queue) => fault,
                fault = state.closed() => fault,
            };
            state.end(fault);
        });
        Ok(Self { handle: Arc::new(Handle { shared }) })
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// Asks and waits for the answer.
    async fn ask(&self, id: u32, message: &HostMessage) -> Result<AgentMessage, GuestFault> {
        let shared = self.shared();
        let (request, settled) = (message.name(), shared.info.generation);
        if message.born() > settled {
            return Err(GuestFault::TooOld { request, settled });
        }
        let wire = control_frame(id, message)?;
        let answer = shared.expect(id);
        let _waiting = Waiting { shared, id };
        // After `expect`: an end that comes later clears the waiting.
        if shared.ended() {
            return Err(shared.fault());
        }
        let asking = async {
            shared.control.send(wire).await.map_err(|_| shared.fault())?;
            answer.await.map_err(|_| shared.fault())
        };
        let after_ms = REQUEST_TIMEOUT.as_millis() as u64;
        let answered = tokio::select! {
            answered = tokio::time::timeout(REQUEST_TIMEOUT, asking) => answered,
            fault = shared.closed() => return Err(fault),
        };
        match answered.map_err(|_| GuestFault::Timeout { request, after_ms })?? {
            AgentMessage::Failed(error) => Err(GuestFault::Refused(error)),
            message => Ok(message),
        }
    }

    /// Asks for something that is answered by `Done`.
    async fn order(&self, message: HostMessage) -> Result<(), GuestFault> {
        match self.ask(self.shared().new_id(), &message).await? {
            AgentMessage::Done => Ok(()),
            _ => Err(GuestFault::Protocol { detail: "another answer than done" }),
        }
    }
}

#[async_trait]
impl GuestSession for Guest {
    fn info(&self) -> GuestInfo {
        self.shared().info.clone()
    }

    async fn ping(&self) -> Result<Duration, GuestFault> {
        let sent = Instant::now();
        self.order(HostMessage::Ping).await?;
        Ok(sent.elapsed())
    }

    async fn exec(&self, request: ExecRequest) -> Result<ExecSession, GuestFault> {
        let id = self.shared().new_id();
        let (events, receiver) = mpsc::unbounded_channel();
        let stdin = Arc::new(Semaphore::new(0));
        self.shared().open(id, Stream { events: Events::Exec(events), window: OUTPUT_WINDOW, stdin: Arc::clone(&stdin) });
        let link = Arc::new(Link { handle: Arc::clone(&self.handle), id, stdin });
        // Made before the question: if this call is dropped or fails, its drop closes the stream, and the agent ends what it started.
        let session = ExecSession::new(link, receiver, 0);
        match self.ask(id, &HostMessage::Exec(request)).await {
            Ok(AgentMessage::Started { pid, .. }) => Ok(ExecSession { pid, ..session }),
            Ok(_) => Err(GuestFault::Protocol { detail: "another answer than started" }),
            Err(fault) => {
                if matches!(fault, GuestFault::Refused(_)) {
                    self.shared().close(id, None);
                }
                Err(fault)
            }
        }
    }

    async fn connect(&self, port: u16) -> Result<Connection, GuestFault> {
        let id = self.shared().new_id();
        let (to, arrived) = mpsc::unbounded_channel();
        let stdin = Arc::new(Semaphore::new(0));
        let events = Events::Connection { to, eof: false };
        self.shared().open(id, Stream { events, window: OUTPUT_WINDOW, stdin: Arc::clone(&stdin) });
        let link = Arc::new(Link { handle: Arc::clone(&self.handle), id, stdin });
        // Made before the question, as an exec's session is.
        let source = Source::new(Arc::clone(&link), arrived);
        match self.ask(id, &HostMessage::Connect { port }).await {
            Ok(AgentMessage::Connected { .. }) => Ok(Connection { input: Box::new(Sink { link }), output: Box::new(source) }),
            Ok(_) => Err(GuestFault::Protocol { detail: "another answer than connected" }),
            Err(GuestFault::Refused(error)) => {
                self.shared().close(id, None);
                Err(match error.code {
                    ErrorCode::ConnectionRefused => GuestFault::NobodyListens { port: Port::Tcp(port) },
                    _ => GuestFault::Refused(error),
                })
            }
            Err(fault) => Err(fault),
        }
    }

    fn metrics(&self) -> watch::Receiver<Option<MetricsSample>> {
        self.shared().metrics.subscribe()
    }

    async fn metrics_interval(&self, interval: Option<Duration>) -> Result<(), GuestFault> {
        let interval_ms = interval.map(|interval| u32::try_from(interval.as_millis()).unwrap_or(u32::MAX));
        self.order(HostMessage::SubscribeMetrics { interval_ms }).await
    }

    fn addresses(&self) -> watch::Receiver<Vec<InterfaceAddresses>> {
        self.shared().addresses.subscribe()
    }

    async fn set_clock(&self, now: SystemTime) -> Result<(), GuestFault> {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| invalid("a clock before 1970"))?;
        let epoch_ns = u64::try_from(since.as_nanos()).map_err(|_| invalid("a clock after 2554"))?;
        self.order(HostMessage::SetClock { epoch_ns }).await
    }

    async fn add_entropy(&self, bytes: &[u8]) -> Result<(), GuestFault> {
        self.order(HostMessage::AddEntropy { bytes: bytes.to_vec() }).await
    }

    async fn configure_network(&self, config: NetworkConfig) -> Result<(), GuestFault> {
        self.order(HostMessage::ConfigureNetwork(config)).await
    }

    async fn shutdown(&self, kind: ShutdownKind, deadline: Duration) -> Result<(), GuestFault> {
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        self.order(HostMessage::Shutdown { kind, deadline_ms }).await
    }

    async fn closed(&self) -> GuestFault {
        self.shared().closed().await
    }
}

fn invalid(detail: &str) -> GuestFault {
    GuestFault::Refused(GuestError::new(ErrorCode::InvalidRequest, detail))
}
