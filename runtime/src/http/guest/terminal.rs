//! Programs over a WebSocket: streamed exec (tagged frames) and the shell (bare bytes on a terminal). The program ends with the socket.
//!
//! ```text
//!  socket --stdin--> bounded queue --> guest      a program that reads slowly stops us from reading the socket, not from writing to it
//!  socket <-stdout, stderr, exit-- guest          a client that reads slowly uses up the guest's credit; 10 s without taking anything end it
//! ```

use super::{exec, refuse};
use crate::http::{
    edge::{Edge, Serving},
    input::{Fields, Reference, Socket, document},
    problem::{Answer, Refusal},
    stream::{self, FELL_BEHIND, Incoming, Place, REFUSED, Receiver, SendError, Sender},
    vms::find,
};
use api::{guest, v1};
use axum::extract::{
    State,
    ws::{Message, WebSocket, close_code},
};
use bytes::{BufMut, Bytes, BytesMut};
use host::guest::{ExecEvent, ExecSession, ExecStdin, GuestFault, GuestSession};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;
use utoipa_axum::{router::OpenApiRouter, routes};

/// A client opens the socket to say something.
const FIRST_FRAME_WITHIN: Duration = Duration::from_secs(10);
/// Frames of input that wait for the guest.
const INPUT_QUEUE: usize = 16;
const COLS_DEFAULT: u64 = 80;
const ROWS_DEFAULT: u64 = 24;
/// Beyond it no terminal is; the field has 16 bits.
const SIZE_MAX: u64 = 10_000;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;

pub fn routes() -> OpenApiRouter<Edge> {
    OpenApiRouter::new().routes(routes!(shell))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Frames {
    /// The first byte names the stream.
    Tagged,
    Bare,
}

/// Runs a program with its streams: the first text frame is an ExecRequest, then see ExecControl. A WebSocket.
#[utoipa::path(get, path = "/v1/vms/{id}/exec", tag = "guest", params(("id" = String, Path, description = "id or name")),
    responses((status = 101, description = "the WebSocket", body = v1::ExecControl)))]
pub async fn exec_stream(
    State(edge): State<Edge>,
    serving: Serving,
    Reference(id): Reference,
    fields: Fields,
    Socket(upgrade): Socket,
) -> Answer {
    fields.end(&[])?;
    let place = stream::place(&edge)?;
    Ok(match session(&serving, &id).await {
        Ok(session) => upgrade.on_upgrade(async move |socket| streamed(socket, session, place).await),
        Err(refusal) => refuse(upgrade, refusal),
    })
}

/// A terminal in the guest: the login shell. Binary frames are bytes; text frames are a TerminalControl. A WebSocket.
#[utoipa::path(get, path = "/v1/vms/{id}/shell", tag = "guest",
    params(("id" = String, Path, description = "id or name"), ("cols" = Option<u16>, Query), ("rows" = Option<u16>, Query)),
    responses((status = 101, description = "the WebSocket", body = v1::TerminalControl)))]
async fn shell(
    State(edge): State<Edge>,
    serving: Serving,
    Reference(id): Reference,
    mut fields: Fields,
    Socket(upgrade): Socket,
) -> Answer {
    let cols = fields.number("cols", 1, SIZE_MAX)?.unwrap_or(COLS_DEFAULT);
    let rows = fields.number("rows", 1, SIZE_MAX)?.unwrap_or(ROWS_DEFAULT);
    fields.end(&["cols", "rows"])?;
    let size = guest::TtySize { cols: cols as u16, rows: rows as u16 };
    let place = stream::place(&edge)?;
    // Empty: the user's login shell.
    let request = guest::ExecRequest { tty: Some(size), stdin: guest::Stdin::Stream, ..guest::ExecRequest::default() };
    let begun = async { Ok::<_, Refusal>(session(&serving, &id).await?.exec(request).await?) };
    Ok(match begun.await {
        Ok(program) => upgrade.on_upgrade(async move |socket| {
            let (sender, receiver) = stream::halves(socket);
            attached(sender, receiver, program, Frames::Bare, place).await;
        }),
        Err(refusal) => refuse(upgrade, refusal),
    })
}

async fn session(serving: &Serving, reference: &str) -> Answer<Arc<dyn GuestSession>> {
    Ok(serving.node.guest(find(serving, reference)?.record.id).await?)
}

async fn streamed(socket: WebSocket, session: Arc<dyn GuestSession>, place: Place) {
    let (mut sender, mut receiver) = stream::halves(socket);
    let Ok(first) = tokio::time::timeout(FIRST_FRAME_WITHIN, receiver.next()).await else {
        return sender.close(&mut receiver, REFUSED, "the first frame, an exec request, did not come").await;
    };
    let text = match first {
        Incoming::Text(text) => text,
        Incoming::Gone => return,
        Incoming::Binary(_) | Incoming::PingDue => {
            return sender.close(&mut receiver, REFUSED, "the first frame must be text, an exec request").await;
        }
    };
    let begun = async {
        let wanted: v1::ExecRequest = document(text.as_bytes())?;
        if wanted.stdin.is_some() || wanted.timeout_s.is_some() {
            return Err(crate::http::command::unprocessable("invalid-request", "stdin, timeout_s", "are for the POST only"));
        }
        Ok(session.exec(exec::request(wanted, guest::Stdin::Stream)?).await?)
    };
    match begun.await {
        Ok(program) => attached(sender, receiver, program, Frames::Tagged, place).await,
        Err(refusal) => {
            let said = v1::ExecControl { error: Some(refusal.problem().detail.clone()), ..v1::ExecControl::default() };
            let _ = sender.send(text_of(&said)).await;
            sender.close(&mut receiver, close_code::NORMAL, &refusal.problem().code).await;
        }
    }
}

fn text_of<T: serde::Serialize>(said: &T) -> Message {
    Message::Text(serde_json::to_string(said).unwrap_or_default().into())
}

enum Input {
    Data(Bytes),
    Eof,
}

/// From here to the program's end or the client's.
async fn attached(mut sender: Sender, mut receiver: Receiver, program: ExecSession, frames: Frames, place: Place) {
    let ExecSession { stdin, mut output, control, .. } = program;
    let (queue, waiting) = mpsc::channel(INPUT_QUEUE);
    let mut feeding = std::pin::pin!(feed(stdin, waiting));
    let (mut fed, mut pending) = (false, None);
    loop {
        let sent = tokio::select! {
            () = place.ending.cancelled() => return sender.going_away(&mut receiver).await,
            () = &mut feeding, if !fed => {
                fed = true;
                Ok(())
            }
            event = output.next() => match event {
                Ok(ExecEvent::Stdout(bytes)) => sender.send(data(frames, STDOUT, bytes)).await,
                Ok(ExecEvent::Stderr(bytes)) => sender.send(data(frames, STDERR, bytes)).await,
                Ok(ExecEvent::Exit(status)) => return ended(sender, receiver, exec::exit(status)).await,
                Err(fault) => return broken(sender, receiver, frames, &fault).await,
            },
            // While input waits the socket is not read, and its silence is ours.
            room = queue.reserve(), if pending.is_some() => {
                if let (Ok(room), Some(input)) = (room, pending.take()) {
                    room.send(input);
                }
                receiver.listening();
                Ok(())
            }
            incoming = receiver.next(), if pending.is_none() => match incoming {
                Incoming::Gone => return,
                Incoming::PingDue => sender.ping().await,
                Incoming::Binary(bytes) => match input(frames, bytes) {
                    Some(bytes) => {
                        pending = Some(Input::Data(bytes));
                        Ok(())
                    }
                    None => return sender.close(&mut receiver, REFUSED, "only stream 0, standard input, comes from the client").await,
                },
                Incoming::Text(text) => match controlled(&control, frames, text.as_str()).await {
                    Ok(true) => {
                        pending = Some(Input::Eof);
                        Ok(())
                    }
                    Ok(false) => Ok(()),
                    Err(why) => return sender.close(&mut receiver, REFUSED, &why).await,
                },
            },
        };
        match sent {
            Ok(()) => {}
            Err(SendError::Gone) => return,
            Err(SendError::Slow) => return sender.close(&mut receiver, FELL_BEHIND, "the output was not taken").await,
        }
    }
}

/// Ends at end-of-file, or when the program takes no more; what comes later is dropped, as a pipe would.
async fn feed(mut stdin: ExecStdin, mut waiting: mpsc::Receiver<Input>) {
    while let Some(input) = waiting.recv().await {
        match input {
            Input::Data(bytes) => {
                if stdin.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Input::Eof => {
                let _ = stdin.close().await;
                return;
            }
        }
    }
}

fn data(frames: Frames, tag: u8, bytes: Bytes) -> Message {
    match frames {
        Frames::Bare => Message::Binary(bytes),
        Frames::Tagged => {
            let mut frame = BytesMut::with_capacity(bytes.len() + 1);
            frame.put_u8(tag);
            frame.extend_from_slice(&bytes);
            Message::Binary(frame.freeze())
        }
    }
}

fn input(frames: Frames, bytes: Bytes) -> Option<Bytes> {
    match frames {
        Frames::Bare => Some(bytes),
        Frames::Tagged => (bytes.first() == Some(&STDIN)).then(|| bytes.slice(1..)),
    }
}

/// Whether input ends. Errors: the frame is none of the protocol's.
async fn controlled(control: &host::guest::ExecControl, frames: Frames, text: &str) -> Result<bool, String> {
    let wanted = match frames {
        Frames::Tagged => document::<v1::ExecControl>(text.as_bytes()),
        Frames::Bare => document::<v1::TerminalControl>(text.as_bytes())
            .map(|control| v1::ExecControl { resize: control.resize, ..v1::ExecControl::default() }),
    }
    .map_err(|refusal| refusal.problem().detail.clone())?;
    // A resize or a signal that comes too late finds no program: nothing to say about that.
    if let Some(size) = wanted.resize {
        let _ = control.resize(guest::TtySize { cols: size.cols, rows: size.rows }).await;
    }
    if let Some(signal) = wanted.signal {
        if !(1..=64).contains(&signal) {
            return Err(format!("there is no signal {signal}"));
        }
        let _ = control.signal(signal).await;
    }
    Ok(wanted.eof == Some(true))
}

async fn ended(mut sender: Sender, mut receiver: Receiver, exit: v1::Exit) {
    let _ = sender.send(text_of(&v1::TerminalControl { exit: Some(exit), resize: None })).await;
    sender.close(&mut receiver, close_code::NORMAL, "the program ended").await;
}

async fn broken(mut sender: Sender, mut receiver: Receiver, frames: Frames, fault: &GuestFault) {
    if frames == Frames::Tagged {
        let said = v1::ExecControl { error: Some(fault.to_string()), ..v1::ExecControl::default() };
        let _ = sender.send(text_of(&said)).await;
    }
    sender.close(&mut receiver, close_code::ERROR, &fault.to_string()).await;
}
