//! Sessions with the host: one at a time, each begun by a hello with a nonce of its own. Owns framing, order of writing, and answering;
//! what a message does is elsewhere.
//!
//! A session ends when the host goes or says hello with another nonce. Its streams end with it, and what waited to be written is
//! dropped: the host passes over everything before the answer to its hello anyway, and half a frame is no frame to it.
mod outbox;
mod reports;
mod requests;
mod streams;

pub use outbox::Outbox;

use crate::{kmsg, run::Rights, shutdown::Init, transport::Transport};
use api::guest::{
    AgentHello, AgentMessage, Decoder, ErrorCode, Frame, FrameKind, GENERATION, GuestError, HostHello, HostMessage,
};
use requests::Requests;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// As much as the port gives at a time (drivers/char/virtio_console.c: pages of 4 KiB); more would only cost memory.
const READ_BUFFER: usize = 16 * 1024;

/// Returns only when there is no way to the host.
pub async fn serve(mut transport: impl Transport, rights: Rights) -> io::Error {
    let mut fresh = true;
    loop {
        let (reader, mut writer) = match transport.accept().await {
            Ok(halves) => halves,
            Err(error) => return error,
        };
        let mut incoming = Incoming { reader, decoder: Decoder::new(), buffer: vec![0; READ_BUFFER], from: 0, to: 0 };
        let connection = async {
            let mut hello = None;
            while let Next::Hello(next) = session(&mut incoming, &mut writer, hello.take(), &mut fresh, rights).await {
                hello = Some(next);
            }
        };
        tokio::select! {
            () = connection => {}
            () = transport.newer() => {}
        }
    }
}

/// Why a session ended.
enum Next {
    Hello(HostHello),
    Disconnected,
}

struct Incoming<R> {
    reader: R,
    decoder: Decoder,
    buffer: Vec<u8>,
    from: usize,
    to: usize,
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    /// `None` at the connection's end.
    async fn frame(&mut self) -> Option<Frame> {
        loop {
            while self.from < self.to {
                let (taken, frame) = self.decoder.push(&self.buffer[self.from..self.to]);
                self.from += taken;
                if frame.is_some() {
                    return frame;
                }
            }
            // A broken connection is a lost one.
            (self.from, self.to) = (0, self.reader.read(&mut self.buffer).await.unwrap_or(0));
            if self.to == 0 {
                return None;
            }
        }
    }
}

async fn session<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    incoming: &mut Incoming<R>,
    writer: &mut W,
    hello: Option<HostHello>,
    fresh: &mut bool,
    rights: Rights,
) -> Next {
    let (outbox, queues) = outbox::pair();
    // Once in a process' life: a host that still holds a session of our predecessor learns that it is over.
    if std::mem::take(fresh) {
        outbox.control(0, &AgentMessage::Restarted).await;
    }
    let mut requests = Requests::new(outbox.clone(), rights);
    if let Some(hello) = &hello {
        outbox.control(0, &answer(hello)).await;
    }
    let pace = requests.pace();
    let settled = hello.is_some();
    tokio::select! {
        next = listen(incoming, &mut requests, &outbox, hello) => next,
        error = queues.write(writer) => {
            kmsg::log(&format!("the host can't be written to: {error}"));
            Next::Disconnected
        }
        () = reports::run(&outbox, pace), if settled => Next::Disconnected,
    }
}

async fn listen<R: AsyncRead + Unpin>(
    incoming: &mut Incoming<R>,
    requests: &mut Requests,
    outbox: &Outbox,
    session: Option<HostHello>,
) -> Next {
    loop {
        let Some(frame) = incoming.frame().await else { return Next::Disconnected };
        if frame.kind != FrameKind::Control {
            requests.data(frame).await;
            continue;
        }
        let id = frame.stream;
        match (serde_json::from_slice(&frame.payload), &session) {
            (Ok(HostMessage::Hello(hello)), Some(settled)) if settled.nonce == hello.nonce => {
                outbox.control(0, &answer(&hello)).await;
            }
            (Ok(HostMessage::Hello(hello)), _) => return Next::Hello(hello),
            (Ok(_), None) => outbox.failed(id, GuestError::new(ErrorCode::NoSession, "say hello first")).await,
            (Ok(message), Some(_)) => requests.message(id, message).await,
            (Err(error), _) => outbox.failed(id, GuestError::new(ErrorCode::InvalidRequest, error.to_string())).await,
        }
    }
}

/// How a session went that is of no transport: see [`fuzz`].
#[cfg(any(test, fuzzing))]
pub struct Fuzzed {
    pub written: Vec<u8>,
    pub by_hello: bool,
}

/// Listens to these bytes with the right to nothing, in a session with this nonce if there is one.
#[cfg(any(test, fuzzing))]
pub fn fuzz(wire: &[u8], nonce: Option<u64>) -> Fuzzed {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers");
    runtime.block_on(async {
        let (outbox, queues) = outbox::pair();
        let mut incoming = Incoming { reader: wire, decoder: Decoder::new(), buffer: vec![0; READ_BUFFER], from: 0, to: 0 };
        let settled = nonce.map(|nonce| HostHello { generation: GENERATION, nonce, host_version: String::new() });
        let listening = async move {
            let mut requests = Requests::new(outbox.clone(), Rights::Nothing);
            listen(&mut incoming, &mut requests, &outbox, settled).await
        };
        let mut written = Vec::new();
        // The writer ends when the queues' senders have gone and all is written.
        let (next, _end) = tokio::join!(listening, queues.write(&mut written));
        Fuzzed { written, by_hello: matches!(next, Next::Hello(_)) }
    })
}

fn answer(hello: &HostHello) -> AgentMessage {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default().trim_end().to_owned();
    AgentMessage::Hello(AgentHello {
        generation: GENERATION.min(hello.generation),
        nonce: hello.nonce,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel_release: read("/proc/sys/kernel/osrelease"),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        hostname: read("/proc/sys/kernel/hostname"),
        init: Init::running().name().to_owned(),
    })
}
