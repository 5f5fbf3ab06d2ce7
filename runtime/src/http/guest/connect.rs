//! `WS /v1/vms/ID/connect`: a connection to a port in the guest, without a network to it. The two ways go by themselves:
//!
//! ```text
//!  socket --bytes, eof--> guest       a guest that reads slowly stops us from reading the socket
//!  socket <-bytes, eof-- guest        a client that reads slowly stops us from taking what the guest sends, and so its sender
//! ```
//! A slow client is not cut off, as it is elsewhere: who forwards a port waits for others. One that says nothing and takes nothing for
//! [`stream`]'s time of silence is dead; pings of its own keep it alive. While the guest takes nothing the client is not listened to: of one
//! that has gone then the next ping tells.

mod seats;

pub use seats::Seats;

use super::refuse;
use crate::http::{
    command::unprocessable,
    edge::{Edge, Serving},
    input::{Fields, Reference, Socket, bad_query, document},
    patience::Patience,
    problem::Answer,
    stream::{self, Incoming, Place, REFUSED, Receiver, SendError, Sender},
    vms::find,
};
use api::{
    guest::{VSOCK_PORT, VSOCK_PORT_MAX},
    v1,
};
use axum::extract::{
    State,
    ws::{Message, WebSocket, close_code},
};
use domain::VmId;
use host::guest::{Connection, ConnectionEvent, ConnectionSink, ConnectionSource, GuestFault, Port};
use seats::Seat;
use tokio::sync::Notify;
use utoipa_axum::{router::OpenApiRouter, routes};

pub fn routes() -> OpenApiRouter<Edge> {
    OpenApiRouter::new().routes(routes!(connect))
}

/// A connection to a port in the guest, `tcp` of its loopback or `vsock`: binary frames are bytes, text frames are a ConnectControl. A
/// WebSocket. At most 64 of a VM at a time.
#[utoipa::path(get, path = "/v1/vms/{id}/connect", tag = "guest",
    params(("id" = String, Path, description = "id or name"),
        ("tcp" = Option<u16>, Query, minimum = 1, description = "a TCP port of the guest's loopback; this or `vsock`"),
        ("vsock" = Option<u32>, Query, minimum = 1, description = "a port of the guest's vsock, where the driver has one; not the agent's own, 1023")),
    responses((status = 101, description = "the WebSocket", body = v1::ConnectControl),
        (status = 422, description = "the port is the agent's own", body = api::problem::Problem, content_type = "application/problem+json"),
        (status = 429, description = "as many connections to this VM's ports are open as may be", body = api::problem::Problem, content_type = "application/problem+json")))]
async fn connect(
    State(edge): State<Edge>,
    serving: Serving,
    Reference(id): Reference,
    mut fields: Fields,
    patience: Patience,
    Socket(upgrade): Socket,
) -> Answer {
    let port = port(&mut fields)?;
    fields.end(&["tcp", "vsock"])?;
    let place = stream::place(&edge)?;
    Ok(match open(&serving, &id, port).await {
        Ok(opened) => upgrade.on_upgrade(async move |socket| {
            patience.ask();
            carried(socket, serving, opened, place).await;
        }),
        Err(refusal) => refuse(upgrade, refusal),
    })
}

fn port(fields: &mut Fields) -> Answer<Port> {
    let tcp = fields.number("tcp", 1, u64::from(u16::MAX))?.and_then(|port| u16::try_from(port).ok());
    let vsock = fields.number("vsock", 1, VSOCK_PORT_MAX.into())?.and_then(|port| u32::try_from(port).ok());
    match (tcp, vsock) {
        (Some(port), None) => Ok(Port::Tcp(port)),
        (None, Some(VSOCK_PORT)) => {
            Err(unprocessable("port-reserved", "vsock", &format!("port {VSOCK_PORT} is the guest agent's")))
        }
        (None, Some(port)) => Ok(Port::Vsock(port)),
        (None, None) => Err(bad_query("tcp", "name a port: tcp=PORT or vsock=PORT")),
        (Some(_), Some(_)) => Err(bad_query("vsock", "name one port: tcp=PORT or vsock=PORT")),
    }
}

struct Opened {
    vm: VmId,
    connection: Connection,
    _seat: Seat,
}

async fn open(serving: &Serving, reference: &str, port: Port) -> Answer<Opened> {
    let vm = find(serving, reference)?.record.id;
    let seat = serving.seats.take(vm)?;
    let connection = match port {
        Port::Tcp(port) => serving.node.guest(vm).await?.connect(port).await?,
        Port::Vsock(port) => serving.node.vsock(vm, port).await?,
    };
    Ok(Opened { vm, connection, _seat: seat })
}

/// Why a connection is over.
enum End {
    /// Both sides have ended.
    Orderly,
    /// The client has gone.
    Gone,
    /// The client said what is none of the protocol's.
    Refused(String),
    Broken(GuestFault),
}

async fn carried(socket: WebSocket, serving: Serving, opened: Opened, place: Place) {
    let (mut sender, mut receiver) = stream::halves(socket);
    let Opened { vm, connection: Connection { input, output }, _seat } = opened;
    let taken = Notify::new();
    let end = tokio::select! {
        () = place.ending.cancelled() => return sender.going_away(&mut receiver).await,
        end = up(&mut receiver, input, &taken) => end,
        end = down(&mut sender, output, &taken) => end,
    };
    match end {
        End::Orderly => sender.close(&mut receiver, close_code::NORMAL, "the connection ended").await,
        End::Gone => {}
        End::Refused(why) => sender.close(&mut receiver, REFUSED, &why).await,
        End::Broken(fault) => {
            let why = reason(&serving, vm, &fault);
            let said = v1::ConnectControl { eof: None, error: Some(why.clone()) };
            let _ = sender.send(text_of(&said)).await;
            sender.close(&mut receiver, close_code::ERROR, &why).await;
        }
    }
}

/// With the VM's state where that says more: a guest that is stopped takes its connections along.
fn reason(serving: &Serving, vm: VmId, fault: &GuestFault) -> String {
    match serving.node.view().vm(vm) {
        None => "the VM was deleted".to_owned(),
        Some(row) if !matches!(row.record.state, domain::vm::State::Running(_)) => {
            format!("the VM is {}: {fault}", row.record.state.name())
        }
        Some(_) => fault.to_string(),
    }
}

fn text_of(said: &v1::ConnectControl) -> Message {
    Message::Text(serde_json::to_string(said).unwrap_or_default().into())
}

/// From the client to the guest. `taken`: the client took something, so it lives. Returns only with what the client did to end it all: when
/// the guest takes no more, the way down tells why.
async fn up(receiver: &mut Receiver, mut input: Box<dyn ConnectionSink>, taken: &Notify) -> End {
    let (mut ended, mut heard) = (false, true);
    loop {
        let incoming = tokio::select! {
            () = taken.notified() => {
                receiver.listening();
                continue;
            }
            incoming = receiver.next() => incoming,
        };
        match incoming {
            Incoming::Gone => return End::Gone,
            // The way down has pings of its own.
            Incoming::PingDue => {}
            Incoming::Binary(_) | Incoming::Text(_) if ended => return End::Refused("nothing may come after eof".to_owned()),
            Incoming::Binary(bytes) => {
                heard = heard && input.write_all(&bytes).await.is_ok();
                receiver.listening();
            }
            Incoming::Text(text) => match document::<v1::ConnectControl>(text.as_bytes()) {
                Ok(v1::ConnectControl { eof: Some(true), error: None }) => {
                    ended = true;
                    if heard {
                        let _ = input.close().await;
                        receiver.listening();
                    }
                }
                Ok(_) => return End::Refused("the client's only control frame is {\"eof\":true}".to_owned()),
                Err(refusal) => return End::Refused(refusal.problem().detail.clone()),
            },
        }
    }
}

/// From the guest to the client, with pings in between.
async fn down(sender: &mut Sender, mut output: Box<dyn ConnectionSource>, taken: &Notify) -> End {
    let mut pings = stream::pings();
    loop {
        let event = tokio::select! {
            event = output.next() => event,
            _ = pings.tick() => match sender.push(Message::Ping(bytes::Bytes::new())).await {
                Ok(()) => continue,
                Err(SendError::Gone | SendError::Slow) => return End::Gone,
            },
        };
        let message = match event {
            Ok(ConnectionEvent::Bytes(bytes)) => Message::Binary(bytes),
            Ok(ConnectionEvent::Eof) => text_of(&v1::ConnectControl { eof: Some(true), error: None }),
            Ok(ConnectionEvent::Closed) => return End::Orderly,
            Err(fault) => return End::Broken(fault),
        };
        if sender.push(message).await.is_err() {
            return End::Gone;
        }
        taken.notify_one();
    }
}
