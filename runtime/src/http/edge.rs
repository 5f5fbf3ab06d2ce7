//! What every handler shares. [`Edge`] exists from the first connection on; [`Serving`] once the node has recovered.

use super::{
    events::Hub,
    guest::{Samplers, Seats},
    idempotency::{self, InFlight},
    layer::Counters,
    problem::{RETRY_AFTER_S, Refusal},
};
use crate::auth::AdminToken;
use actors::Node;
use api::v1::HostMetrics;
use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
    time::Instant,
};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// Requests at a time, streams not counted. A request holds some 100 KiB at most in flight besides its body: 1,024 stay below a gigabyte.
const REQUESTS_MAX: usize = 1024;
/// Live streams at a time: 500 event subscribers are the target; each costs a task and a socket's buffers.
const STREAMS_MAX: usize = 4096;

/// Looks at the machine, now. Blocks for a few milliseconds at most.
pub type Meter = Arc<dyn Fn() -> HostMetrics + Send + Sync>;

#[derive(Clone)]
pub struct Edge(Arc<Inner>);

pub struct Inner {
    serving: OnceLock<Serving>,
    pub token: AdminToken,
    pub counters: Counters,
    pub requests: Arc<Semaphore>,
    pub streams: Arc<Semaphore>,
    pub started: Instant,
    /// Ends all streams.
    pub ending: CancellationToken,
    /// Somebody asked to stop the guests and the server: `POST /v1/node/down`.
    down: watch::Sender<bool>,
}

impl Deref for Edge {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Edge {
    pub fn new(token: AdminToken) -> Edge {
        Edge(Arc::new(Inner {
            serving: OnceLock::new(),
            token,
            counters: Counters::default(),
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            started: Instant::now(),
            ending: CancellationToken::new(),
            down: watch::Sender::new(false),
        }))
    }

    /// The node has recovered: from now on requests are answered. A second call changes nothing. Must run on a tokio runtime.
    pub fn serve(&self, node: Node, meter: Meter) {
        let hub = Hub::start(node.journal().clone(), self.0.ending.clone());
        tokio::spawn(idempotency::purge(node.journal().clone(), self.0.ending.clone()));
        let _ = self.0.serving.set(Serving(Arc::new(Recovered {
            node,
            hub,
            meter,
            in_flight: InFlight::default(),
            samplers: Arc::default(),
            seats: Arc::default(),
        })));
    }

    pub fn serving(&self) -> Option<&Serving> {
        self.0.serving.get()
    }

    /// Ends every stream; to be called before the server stops, because a stream would hold it open.
    pub fn end_streams(&self) {
        self.0.ending.cancel();
    }

    pub fn ask_down(&self) {
        self.0.down.send_replace(true);
    }

    /// Resolves when somebody asked for `hearth down`.
    pub async fn down(&self) {
        // The sender lives as long as this edge.
        let _ = self.0.down.subscribe().wait_for(|asked| *asked).await;
    }
}

/// A node that serves. As an extractor it answers 503 until there is one.
#[derive(Clone)]
pub struct Serving(Arc<Recovered>);

pub struct Recovered {
    pub node: Node,
    pub hub: Hub,
    pub meter: Meter,
    pub in_flight: InFlight,
    pub samplers: Arc<Samplers>,
    pub seats: Arc<Seats>,
}

impl Deref for Serving {
    type Target = Recovered;
    fn deref(&self) -> &Recovered {
        &self.0
    }
}

impl FromRequestParts<Edge> for Serving {
    type Rejection = Refusal;

    async fn from_request_parts(_parts: &mut Parts, edge: &Edge) -> Result<Self, Refusal> {
        edge.serving().cloned().ok_or_else(|| {
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "starting", "the node is recovering its state")
                .hint("try again; GET /readyz answers 200 when it is done")
                .retry_after(RETRY_AFTER_S)
        })
    }
}
