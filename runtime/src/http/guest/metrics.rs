//! Metrics of VMs and hosts: one sample, or one a second while somebody looks, over a WebSocket or as server-sent events.

use super::refuse;
use crate::http::{
    accepted::answered,
    edge::{Edge, Serving},
    hosts,
    input::{Fields, Live, Reference},
    problem::{Answer, Refusal},
    stream::{self, FELL_BEHIND, Incoming, Place, SendError, live_body},
    vms,
};
use api::v1;
use axum::{
    body::Body,
    extract::{
        State,
        ws::{Message, WebSocket, close_code},
    },
    response::Response,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream as streams};
use std::{convert::Infallible, time::Duration};
use tokio::{sync::watch, time::Interval};
use utoipa_axum::{router::OpenApiRouter, routes};

const EVERY: Duration = Duration::from_secs(1);

pub fn routes() -> OpenApiRouter<Edge> {
    OpenApiRouter::new().routes(routes!(vm)).routes(routes!(host))
}

/// The newest sample of a VM; as a WebSocket or as server-sent events one a second.
#[utoipa::path(get, path = "/v1/vms/{id}/metrics", tag = "guest", params(("id" = String, Path, description = "id or name")),
    responses((status = 200, content((v1::VmMetrics = "application/json"), (v1::VmMetrics = "text/event-stream"))), (status = 101, description = "the WebSocket")))]
async fn vm(State(edge): State<Edge>, serving: Serving, Reference(id): Reference, fields: Fields, live: Live) -> Answer {
    fields.end(&[])?;
    let begun = async {
        let vm = vms::find(&serving, &id)?.record.id;
        serving.samplers.look(&serving.node, vm).await
    };
    match begun.await {
        Ok(samples) => answer(&edge, live, Samples::Vm { samples, begun: false }).await,
        Err(refusal) => refused(live, refusal),
    }
}

/// The newest sample of a host; as a WebSocket or as server-sent events one a second.
#[utoipa::path(get, path = "/v1/hosts/{id}/metrics", tag = "hosts", params(("id" = String, Path, description = "id or name")),
    responses((status = 200, content((v1::HostMetrics = "application/json"), (v1::HostMetrics = "text/event-stream"))), (status = 101, description = "the WebSocket")))]
async fn host(State(edge): State<Edge>, serving: Serving, Reference(id): Reference, fields: Fields, live: Live) -> Answer {
    fields.end(&[])?;
    if let Err(refusal) = hosts::find(&serving, &id) {
        return refused(live, refusal);
    }
    answer(&edge, live, Samples::Host { serving, ticks: tokio::time::interval(EVERY) }).await
}

fn refused(live: Live, refusal: Refusal) -> Answer {
    match live {
        Live::Socket(upgrade) => Ok(refuse(*upgrade, refusal)),
        Live::ServerSentEvents | Live::Once => Err(refusal),
    }
}

/// Where samples come from.
enum Samples {
    Vm { samples: watch::Receiver<Option<v1::VmMetrics>>, begun: bool },
    Host { serving: Serving, ticks: Interval },
}

impl Samples {
    /// The next one as JSON, the first at once; `None` when there will be none. Cancel: at most one is skipped.
    async fn next(&mut self) -> Option<String> {
        match self {
            Samples::Vm { samples, begun } => {
                if *begun {
                    samples.changed().await.ok()?;
                }
                *begun = true;
                let sample = samples.borrow_and_update().clone()?;
                serde_json::to_string(&sample).ok()
            }
            Samples::Host { serving, ticks } => {
                ticks.tick().await;
                let meter = serving.meter.clone();
                let sample = tokio::task::spawn_blocking(move || meter()).await.ok()?;
                serde_json::to_string(&sample).ok()
            }
        }
    }
}

async fn answer(edge: &Edge, live: Live, mut samples: Samples) -> Answer {
    match live {
        Live::Once => {
            let sample = samples.next().await.ok_or_else(|| Refusal::internal("there is no sample"))?;
            Ok(answered(200, sample))
        }
        Live::Socket(upgrade) => {
            let place = stream::place(edge)?;
            Ok(upgrade.on_upgrade(async move |socket| web_socket(socket, samples, place).await))
        }
        Live::ServerSentEvents => Ok(server_sent(samples, stream::place(edge)?)),
    }
}

async fn web_socket(socket: WebSocket, mut samples: Samples, place: Place) {
    let (mut sender, mut receiver) = stream::halves(socket);
    loop {
        let sent = tokio::select! {
            () = place.ending.cancelled() => return sender.going_away(&mut receiver).await,
            incoming = receiver.next() => match incoming {
                Incoming::Text(_) | Incoming::Binary(_) => Ok(()),
                Incoming::PingDue => sender.ping().await,
                Incoming::Gone => return,
            },
            sample = samples.next() => match sample {
                Some(sample) => sender.send(Message::Text(sample.into())).await,
                None => return sender.close(&mut receiver, close_code::NORMAL, "there are no samples any more").await,
            },
        };
        match sent {
            Ok(()) => {}
            Err(SendError::Gone) => return,
            Err(SendError::Slow) => return sender.close(&mut receiver, FELL_BEHIND, "the samples were not taken").await,
        }
    }
}

fn server_sent(samples: Samples, place: Place) -> Response {
    let hello = streams::iter([Ok::<_, Infallible>(Bytes::from_static(stream::SSE_HELLO.as_bytes()))]);
    let rest = streams::unfold(Some((samples, place)), |state| async move {
        let (mut samples, place) = state?;
        tokio::select! {
            () = place.ending.cancelled() => Some((Ok(stream::sse_disconnect("stopping", "the server is shutting down")), None)),
            sample = samples.next() => Some(match sample {
                Some(sample) => (Ok(Bytes::from(format!("data: {sample}\n\n"))), Some((samples, place))),
                None => (Ok(stream::sse_disconnect("ended", "there are no samples any more")), None),
            }),
            () = tokio::time::sleep(stream::SSE_KEEP_ALIVE) => Some((Ok(Bytes::from_static(b": still here\n\n")), Some((samples, place)))),
        }
    });
    live_body("text/event-stream", Body::from_stream(hello.chain(rest)))
}
