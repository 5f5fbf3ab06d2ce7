//! What the handles, the reader and the writer of a session share.
use super::super::{ExecEvent, GuestFault, GuestInfo, OutputSender};
use super::connection::Arrived;
use api::guest::{
    AgentMessage, ExitStatus, FrameKind, HostMessage, InterfaceAddresses, MAX_PAYLOAD, MetricsSample, credit_cost, frame,
};
use bytes::Bytes;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};

/// Control frames that wait to be written. Requests wait for room beyond it.
pub(super) const CONTROL_QUEUE: usize = 64;
/// Data frames that wait: few, so that the streams take turns.
pub(super) const DATA_QUEUE: usize = 4;

/// Encoded frames.
pub(super) type Wire = Vec<u8>;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) info: GuestInfo,
    pub(super) control: mpsc::Sender<Wire>,
    pub(super) data: mpsc::Sender<Wire>,
    next_id: AtomicU32,
    pending: Mutex<HashMap<u32, oneshot::Sender<AgentMessage>>>,
    streams: Mutex<HashMap<u32, Stream>>,
    /// Streams whose consumer has gone; the writer says so. Not more than there are streams.
    abandoned: Mutex<Vec<u32>>,
    pub(super) abandon: Notify,
    pub(super) metrics: watch::Sender<Option<MetricsSample>>,
    pub(super) addresses: watch::Sender<Vec<InterfaceAddresses>>,
    /// Set once, when the session is over.
    end: watch::Sender<Option<GuestFault>>,
}

/// A running exec, or a connection.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) events: Events,
    /// What the agent may still send us; it is cut off when it sends more.
    pub(super) window: u32,
    /// What we may still send to its stdin.
    pub(super) stdin: Arc<Semaphore>,
}

/// Who hears what comes on a stream. One that has gone is noticed by its drop.
#[derive(Debug)]
pub(super) enum Events {
    Exec(OutputSender),
    /// `eof`: the guest's side has ended.
    Connection {
        to: mpsc::UnboundedSender<Arrived>,
        eof: bool,
    },
}

/// The agent's last word on a stream.
#[derive(Debug)]
pub(super) enum Last {
    Exit(ExitStatus),
    Over(Option<String>),
}

impl Stream {
    /// What came on it. Errors: more than its credit, or what its kind does not have.
    pub(super) fn take(&mut self, kind: FrameKind, payload: Vec<u8>) -> Result<(), GuestFault> {
        let empty = payload.is_empty();
        let cost = credit_cost(payload.len());
        let spend = || {
            self.window = self.window.checked_sub(cost).ok_or(GuestFault::Protocol { detail: "output beyond its credit" })?;
            Ok(Bytes::from(payload))
        };
        match &mut self.events {
            // No bytes is one output's end; the exit says that all have ended.
            Events::Exec(_) if empty => {}
            Events::Exec(to) => {
                let bytes = spend()?;
                let _ = to.send(if kind == FrameKind::Stderr { ExecEvent::Stderr(bytes) } else { ExecEvent::Stdout(bytes) });
            }
            Events::Connection { eof: true, .. } => return Err(GuestFault::Protocol { detail: "output after its end" }),
            Events::Connection { .. } if kind == FrameKind::Stderr => {
                return Err(GuestFault::Protocol { detail: "a connection's errors" });
            }
            Events::Connection { to, eof } => {
                let bytes = spend()?;
                *eof = empty;
                let _ = to.send(if empty { Arrived::Eof } else { Arrived::Bytes(bytes) });
            }
        }
        Ok(())
    }

    /// The last word, if it is one of this kind of stream; else the consumer sees an end without one.
    fn end(&self, last: Last) {
        match (&self.events, last) {
            (Events::Exec(to), Last::Exit(status)) => drop(to.send(ExecEvent::Exit(status))),
            (Events::Connection { to, .. }, Last::Over(reason)) => drop(to.send(Arrived::Over(reason))),
            (Events::Exec(_), Last::Over(_)) | (Events::Connection { .. }, Last::Exit(_)) => {}
        }
    }
}

impl Shared {
    pub(super) fn new(info: GuestInfo, control: mpsc::Sender<Wire>, data: mpsc::Sender<Wire>) -> Self {
        Self {
            info,
            control,
            data,
            // 0 is for what nobody asked.
            next_id: AtomicU32::new(1),
            pending: Mutex::default(),
            streams: Mutex::default(),
            abandoned: Mutex::default(),
            abandon: Notify::new(),
            metrics: watch::Sender::new(None),
            addresses: watch::Sender::new(Vec::new()),
            end: watch::Sender::new(None),
        }
    }

    pub(super) fn new_id(&self) -> u32 {
        // Four thousand million requests in one session: at a thousand a second that is 49 days, and the oldest are long answered.
        self.next_id.fetch_add(1, Ordering::Relaxed).max(1)
    }

    pub(super) fn expect(&self, id: u32) -> oneshot::Receiver<AgentMessage> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.pending).insert(id, sender);
        receiver
    }

    pub(super) fn forget(&self, id: u32) {
        lock(&self.pending).remove(&id);
    }

    /// False when nobody waits for it (any more).
    pub(super) fn answer(&self, id: u32, message: AgentMessage) -> bool {
        lock(&self.pending).remove(&id).is_some_and(|waiting| waiting.send(message).is_ok())
    }

    pub(super) fn open(&self, id: u32, stream: Stream) {
        lock(&self.streams).insert(id, stream);
    }

    pub(super) fn with_stream<T>(&self, id: u32, act: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        lock(&self.streams).get_mut(&id).map(act)
    }

    /// Ends a stream. Its consumer sees what came, then the last word if there is one, then the end.
    pub(super) fn close(&self, id: u32, last: Option<Last>) {
        let stream = lock(&self.streams).remove(&id);
        if let (Some(stream), Some(last)) = (&stream, last) {
            stream.end(last);
        }
        if let Some(stream) = stream {
            stream.stdin.close();
        }
    }

    /// Drops a stream whose consumer has gone and has the agent told.
    pub(super) fn abandon(&self, id: u32) {
        if self.with_stream(id, |_| ()).is_some() {
            self.close(id, None);
            lock(&self.abandoned).push(id);
            self.abandon.notify_one();
        }
    }

    pub(super) fn take_abandoned(&self) -> Vec<u32> {
        std::mem::take(&mut *lock(&self.abandoned))
    }

    /// Ends the session; the first reason stays.
    pub(super) fn end(&self, fault: GuestFault) {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            if first {
                *end = Some(fault);
            }
            first
        });
        lock(&self.pending).clear();
        for (_, stream) in lock(&self.streams).drain() {
            stream.stdin.close();
        }
    }

    pub(super) fn fault(&self) -> GuestFault {
        self.end.borrow().clone().unwrap_or(GuestFault::Closed)
    }

    pub(super) fn ended(&self) -> bool {
        self.end.borrow().is_some()
    }

    pub(super) async fn closed(&self) -> GuestFault {
        let mut end = self.end.subscribe();
        match end.wait_for(Option::is_some).await {
            Ok(fault) => fault.clone().unwrap_or(GuestFault::Closed),
            Err(_) => GuestFault::Closed,
        }
    }
}

/// A poisoned lock means that a thread panicked between two map operations; the maps are whole at every such point.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Encodes a control message.
pub(super) fn control_frame(id: u32, message: &HostMessage) -> Result<Wire, GuestFault> {
    let json = serde_json::to_vec(message).map_err(|_| GuestFault::Protocol { detail: "a message that is no JSON" })?;
    data_frame(FrameKind::Control, id, &json)
}

/// Encodes a frame of bytes.
pub(super) fn data_frame(kind: FrameKind, id: u32, payload: &[u8]) -> Result<Wire, GuestFault> {
    let mut wire = Vec::new();
    frame::encode(kind, id, payload, &mut wire).map_err(|_| GuestFault::TooLarge { len: payload.len(), most: MAX_PAYLOAD })?;
    Ok(wire)
}
