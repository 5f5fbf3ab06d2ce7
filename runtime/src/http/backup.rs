//! `/v1/backup`: the control plane as one file, while the server goes on.

use super::{
    edge::{Edge, Serving},
    idempotency::now_ms,
    input::Fields,
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
use domain::webhook::Webhook;
use std::{io, time::Duration};
use storage::{ReadError, backup::Pieces, envelope, schema};
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

/// A webhook's secret that is replaced while a backup begins is looked for again; nobody replaces them all the time.
const TRIES: usize = 3;

/// All records and events as of one moment, and the secrets of webhooks unless `secrets=false`. `hearth backup` saves it, `hearth restore`
/// reads it. Without its end it is not whole.
#[utoipa::path(get, path = "/v1/backup", tag = "node",
    params(("secrets" = Option<String>, Query, pattern = "^(|true|false|1|0)$", description = "with the secrets of webhooks, or without; with them when absent")),
    responses((status = 200, body = String, content_type = "application/octet-stream")))]
async fn backup(State(edge): State<Edge>, serving: Serving, mut fields: Fields) -> Answer {
    let secrets = fields.flag_or("secrets", true)?;
    fields.end(&["secrets"])?;
    let place = stream::place(&edge)?;
    let pieces = if secrets { sealed(&serving).await? } else { begun(&serving).await? };
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(AHEAD);
    let ends = tokio::time::Instant::now() + WITHIN;
    tokio::task::spawn_blocking(move || send(pieces, &sender, ends, &place));
    let mut response: Response = Body::from_stream(ReceiverStream::new(receiver)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response.extensions_mut().insert(AsItComes);
    Ok(response)
}

async fn begun(serving: &Serving) -> Answer<Pieces> {
    let journal = serving.node.journal().clone();
    let made = tokio::task::spawn_blocking(move || Pieces::of(&journal, env!("CARGO_PKG_VERSION"), now_ms())).await;
    let failed = |error: ReadError| {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "journal-failed", error.to_string()).retry_after(RETRY_AFTER_S)
    };
    made.map_err(|_panicked| Refusal::internal("the backup broke off"))?.map_err(failed)
}

/// With the secrets that its records name. One that is not there is left out: whoever restores is told.
async fn sealed(serving: &Serving) -> Answer<Pieces> {
    let mut tries = 0;
    loop {
        tries += 1;
        let pieces = begun(serving).await?;
        // One that can't be read is set aside at a restore, too.
        let records: Vec<Webhook> =
            pieces.records_of(schema::WEBHOOKS).filter_map(|bytes| envelope::decode(bytes).ok()).collect();
        let (mut found, mut replaced) = (Vec::new(), false);
        for record in &records {
            match serving.node.secret_of(record).await? {
                Some(secret) => found.push((record.secret_name(), secret.reveal().to_vec())),
                None => replaced |= serving.node.view().webhook(record.id).is_none_or(|now| now.secret != record.secret),
            }
        }
        if !replaced || tries == TRIES {
            return Ok(pieces.with_secrets(found));
        }
    }
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
