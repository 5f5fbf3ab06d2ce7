//! `WS /v1/vms/ID/console`: the serial console. What was printed comes first; what is typed goes to the guest where the driver can, and ends
//! the stream with the reason where it can't.

use super::refuse;
use crate::http::{
    edge::{Edge, Serving},
    input::{Fields, Reference, Socket},
    problem::Answer,
    stream::{self, FELL_BEHIND, Incoming, Place, SendError},
    vms::find,
};
use api::v1;
use axum::extract::{
    State,
    ws::{Message, WebSocket, close_code},
};
use bytes::Bytes;
use domain::host::{Capability, Lacking};
use host::vmm::Console;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use utoipa_axum::{router::OpenApiRouter, routes};

/// A few screens.
const HISTORY_DEFAULT: u64 = 64 * 1024;
const HISTORY_MAX: u64 = 16 * 1024 * 1024;
const CHUNK: usize = 16 * 1024;
/// A serial line takes input at once, or nobody reads it.
const TYPED_WITHIN: Duration = Duration::from_secs(5);

pub fn routes() -> OpenApiRouter<Edge> {
    OpenApiRouter::new().routes(routes!(console))
}

/// The serial console: binary frames are bytes. A WebSocket. What is typed where the driver takes no input ends it with 1008.
#[utoipa::path(get, path = "/v1/vms/{id}/console", tag = "guest",
    params(("id" = String, Path, description = "id or name"), ("bytes" = Option<u64>, Query, description = "how much of what was printed comes first")),
    responses((status = 101, description = "the WebSocket", body = v1::TerminalControl)))]
async fn console(
    State(edge): State<Edge>,
    serving: Serving,
    Reference(id): Reference,
    mut fields: Fields,
    Socket(upgrade): Socket,
) -> Answer {
    let history = fields.number("bytes", 0, HISTORY_MAX)?.unwrap_or(HISTORY_DEFAULT);
    fields.end(&["bytes"])?;
    let place = stream::place(&edge)?;
    let vm = match find(&serving, &id) {
        Ok(vm) => vm.record,
        Err(refusal) => return Ok(refuse(upgrade, refusal)),
    };
    let input = serving.node.view().offer(vm.host).map_or(Ok(()), |offer| offer.has(Capability::ConsoleInput));
    Ok(match serving.node.console(vm.id, history).await {
        Ok(console) => upgrade.on_upgrade(async move |socket| attached(socket, console, place, input).await),
        Err(error) => refuse(upgrade, error.into()),
    })
}

/// `input`: whether the driver takes any. Who types where none is taken is told so by the end of the stream, not left to wonder.
async fn attached(socket: WebSocket, console: Box<dyn Console>, place: Place, input: Result<(), Lacking>) {
    let (mut sender, mut receiver) = stream::halves(socket);
    let (mut printed, mut typed) = tokio::io::split(console);
    let mut chunk = vec![0; CHUNK];
    loop {
        let sent = tokio::select! {
            () = place.ending.cancelled() => return sender.going_away(&mut receiver).await,
            read = printed.read(&mut chunk) => match read {
                Ok(0) => return sender.close(&mut receiver, close_code::NORMAL, "the machine ended").await,
                Ok(length) => sender.send(Message::Binary(Bytes::copy_from_slice(&chunk[..length]))).await,
                Err(error) => return sender.close(&mut receiver, close_code::ERROR, &format!("the console can't be read: {error}")).await,
            },
            incoming = receiver.next() => match incoming {
                Incoming::Gone => return,
                Incoming::PingDue => sender.ping().await,
                // A serial line has no size.
                Incoming::Text(_) => Ok(()),
                Incoming::Binary(bytes) => {
                    if let Err(lacking) = input {
                        return sender.close(&mut receiver, close_code::POLICY, &lacking.to_string()).await;
                    }
                    // A guest that reads none: its loss.
                    let _ = tokio::time::timeout(TYPED_WITHIN, async {
                        typed.write_all(&bytes).await?;
                        typed.flush().await
                    })
                    .await;
                    Ok(())
                }
            },
        };
        match sent {
            Ok(()) => {}
            Err(SendError::Gone) => return,
            Err(SendError::Slow) => return sender.close(&mut receiver, FELL_BEHIND, "the output was not taken").await,
        }
    }
}
