//! `/v1/backup`: the control plane as one file, while the server goes on.

use super::{
    edge::{Edge, Serving},
    idempotency::now_ms,
    layer::AsItComes,
    problem::{Answer, RETRY_AFTER_S, Refusal},
    stream,
};
use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::{io, time::Duration};
use storage::backup::Pieces;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa_axum::{router::OpenApiRouter, routes};

pub fn routes() -> OpenApiRouter<Edge> {
    OpenApiRouter::new().routes(routes!(backup))
}

/// Pieces of 256 kB that wait for a slow reader.
const AHEAD: usize = 4;
/// No event is pruned while a backup is made, so one that is not taken must end.
const WITHIN: Duration = Duration::from_secs(15 * 60);

/// All records and events as of one moment. `hearth backup` saves it, `hearth restore` reads it. Without its end it is not whole.
#[utoipa::path(get, path = "/v1/backup", tag = "node", responses((status = 200, body = String, content_type = "application/octet-stream")))]
async fn backup(State(edge): State<Edge>, serving: Serving) -> Answer {
    let place = stream::place(&edge)?;
    let journal = serving.node.journal().clone();
    let made = tokio::task::spawn_blocking(move || Pieces::of(&journal, env!("CARGO_PKG_VERSION"), now_ms())).await;
    let pieces = match made {
        Ok(Ok(pieces)) => pieces,
        Ok(Err(error)) => {
            return Err(
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "journal-failed", error.to_string()).retry_after(RETRY_AFTER_S)
            );
        }
        Err(_panicked) => return Err(Refusal::internal("the backup broke off")),
    };
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(AHEAD);
    let ends = tokio::time::Instant::now() + WITHIN;
    tokio::task::spawn_blocking(move || send(pieces, &sender, ends, &place));
    let mut response: Response = Body::from_stream(ReceiverStream::new(receiver)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response.extensions_mut().insert(AsItComes);
    Ok(response)
}

/// Until the end, or until nobody takes it. An error breaks the connection off: the reader sees that the end is missing.
fn send(pieces: Pieces, sender: &mpsc::Sender<io::Result<Bytes>>, ends: tokio::time::Instant, place: &stream::Place) {
    let runtime = tokio::runtime::Handle::current();
    for piece in pieces {
        let piece = piece.map(Bytes::from).map_err(io::Error::other);
        let broken = piece.is_err();
        let sent = runtime.block_on(async {
            tokio::select! {
                sent = sender.send(piece) => sent.is_ok(),
                () = tokio::time::sleep_until(ends) => false,
                () = place.ending.cancelled() => false,
            }
        });
        if !sent || broken {
            tracing::warn!("a backup was broken off");
            return;
        }
    }
}
