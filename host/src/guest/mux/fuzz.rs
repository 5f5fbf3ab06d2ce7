//! A session in which the agent says whatever the fuzzer wants: see `host::fuzz`. Drives the reader's decisions without a stream or a task.

#[path = "../../../../fuzz/shared/script.rs"]
pub mod script;

use super::super::{ExecEvent, GuestFault, GuestInfo};
use super::{connection::Arrived, hello, reader, state};
use api::guest::{AgentMessage, Decoder, Frame, MAX_REASON, OUTPUT_WINDOW, credit_cost};
use state::{CONTROL_QUEUE, DATA_QUEUE, Events, Shared, Stream};
use std::sync::Arc;
use tokio::sync::{
    Semaphore,
    mpsc::{self, UnboundedReceiver, error::TryRecvError},
    oneshot,
};

/// Execs with these ids are open, requests with these wait; a second exec's id waits as well, as it does until it has started.
const STREAMS: [u32; 3] = [1, 2, 3];
/// Connections; the second one's id waits for its answer as well.
const CONNECTIONS: [u32; 2] = [7, 8];
const REQUESTS: [u32; 5] = [3, 4, 5, 6, 8];

/// The first byte: 1, the rest goes on the wire as it is.
pub fn session(input: &[u8]) {
    let Some((how, rest)) = input.split_first() else { return };
    let wire = if how & 1 == 1 { rest.to_vec() } else { script::wire(rest) };
    let (control, _control) = mpsc::channel(CONTROL_QUEUE);
    let (data, _data) = mpsc::channel(DATA_QUEUE);
    let shared = Shared::new(GuestInfo::default(), control, data);
    let consumers: Vec<_> = STREAMS.iter().map(|id| (*id, open(&shared, *id))).collect();
    let connections: Vec<_> = CONNECTIONS.iter().map(|id| (*id, connect(&shared, *id))).collect();
    let waiting: Vec<_> = REQUESTS.iter().map(|id| shared.expect(*id)).collect();
    let mut fault = None;
    let (mut decoder, mut left) = (Decoder::new(), &wire[..]);
    // One at a time, as the reader takes them: what is held is what a session holds.
    while let Some(frame) = next_frame(&mut decoder, &mut left) {
        // While hello is not settled the same frames are only looked at.
        let _hello = hello::message(&frame).map(|message| matches!(message, AgentMessage::Hello(_)));
        if let Err(ended) = reader::take(&shared, frame) {
            fault = Some(ended);
            break;
        }
    }
    shared.end(fault.clone().unwrap_or(GuestFault::Closed));
    assert!(shared.ended());
    assert_eq!(shared.fault().to_string(), fault.unwrap_or(GuestFault::Closed).to_string(), "the first reason stays");
    consumers.into_iter().for_each(|(id, events)| consumed(id, events));
    connections.into_iter().for_each(|(id, arrived)| carried(id, arrived));
    for mut answer in waiting {
        assert!(answer.try_recv() != Err(oneshot::error::TryRecvError::Empty), "a request waits for ever");
    }
    let mut all = STREAMS.iter().chain(&CONNECTIONS);
    assert!(!all.any(|id| shared.with_stream(*id, |_| ()).is_some()), "a stream outlives its session");
}

fn open(shared: &Shared, id: u32) -> UnboundedReceiver<ExecEvent> {
    let (events, receiver) = mpsc::unbounded_channel();
    shared.open(id, Stream { events: Events::Exec(events), window: OUTPUT_WINDOW, stdin: Arc::new(Semaphore::new(0)) });
    receiver
}

fn connect(shared: &Shared, id: u32) -> UnboundedReceiver<Arrived> {
    let (to, receiver) = mpsc::unbounded_channel();
    let events = Events::Connection { to, eof: false };
    shared.open(id, Stream { events, window: OUTPUT_WINDOW, stdin: Arc::new(Semaphore::new(0)) });
    receiver
}

/// As of an exec: within the first window. The guest's end comes once at most, and no bytes after it; the connection's end is the last.
fn carried(id: u32, mut arrived: UnboundedReceiver<Arrived>) {
    let (mut held, mut eof, mut over) = (0, false, false);
    loop {
        assert!(!over || arrived.is_empty(), "connection {id} goes on after its end");
        match arrived.try_recv() {
            Ok(Arrived::Bytes(bytes)) => {
                assert!(!bytes.is_empty() && !eof, "bytes of connection {id} after the guest's end");
                held += credit_cost(bytes.len());
            }
            Ok(Arrived::Eof) => {
                assert!(!eof, "connection {id} ends twice");
                eof = true;
                held += credit_cost(0);
            }
            Ok(Arrived::Over(reason)) => {
                assert!(reason.is_none_or(|reason| reason.len() <= MAX_REASON));
                over = true;
            }
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => panic!("connection {id} has no end"),
        }
    }
    assert!(held <= OUTPUT_WINDOW, "{held} bytes wait for a consumer of connection {id}");
}

fn next_frame(decoder: &mut Decoder, wire: &mut &[u8]) -> Option<Frame> {
    while !wire.is_empty() {
        let (taken, frame) = decoder.push(wire);
        *wire = &wire[taken..];
        if frame.is_some() {
            return frame;
        }
    }
    None
}

/// Nothing was taken out, so all that is there must be within the first window; the exit is the last.
fn consumed(id: u32, mut events: UnboundedReceiver<ExecEvent>) {
    let (mut held, mut exited) = (0, false);
    loop {
        assert!(!exited || events.is_empty(), "stream {id} goes on after its exit");
        match events.try_recv() {
            Ok(ExecEvent::Stdout(bytes) | ExecEvent::Stderr(bytes)) => {
                assert!(!bytes.is_empty());
                held += credit_cost(bytes.len());
            }
            Ok(ExecEvent::Exit(_)) => exited = true,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => panic!("stream {id} has no end"),
        }
    }
    assert!(held <= OUTPUT_WINDOW, "{held} bytes wait for a consumer of stream {id}");
}
