//! The HTTP edge: REST, events, the guest's streams, the web console. Owns the router and the order of its layers; maps `api` to `domain`
//! and back. Decides nothing about VMs: every change is a command to the node, every read is its view.
//!
//! ```text
//!  rest of the body -> request id -> log, count -> panic to 500 -> place or 503 -> headers, compression -> token -> deadline -> handler
//! ```
//! The edge serves before the node has recovered: `/healthz` answers 200 and everything else 503 until [`Edge::serve`] is called.

mod accepted;
mod backup;
mod command;
mod console;
mod convert;
pub(crate) mod delivered;
mod drives;
mod edge;
mod events;
mod guest;
mod hosts;
mod idempotency;
mod images;
pub(crate) mod input;
mod later;
mod layer;
mod metrics;
mod networks;
mod node;
pub mod openapi;
mod operations;
mod patience;
mod probes;
mod problem;
mod request_id;
mod stream;
mod vms;
mod webhooks;

pub use edge::{Edge, Meter, Serving};
pub use patience::Patience;

use axum::{
    Router,
    extract::Request,
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
};
use problem::Refusal;
use tower_http::{catch_panic::CatchPanicLayer, compression::CompressionLayer};

/// The one project that there is so far.
pub const PROJECT: &str = "default";

/// The whole edge as one service.
pub fn router(edge: &Edge) -> Router {
    let (protected, _document) = openapi::routes().split_for_parts();
    let protected = protected
        .route("/openapi.json", axum::routing::get(openapi::document))
        .merge(later::routes())
        .method_not_allowed_fallback(method_not_allowed)
        .route_layer(middleware::from_fn(layer::deadline))
        .route_layer(middleware::from_fn_with_state(edge.clone(), layer::token));
    let open =
        Router::new().merge(probes::routes()).merge(console::swagger_routes()).method_not_allowed_fallback(method_not_allowed);
    protected
        .merge(open)
        .fallback(unknown)
        .with_state(edge.clone())
        .layer(CompressionLayer::new().compress_when(layer::Compressible))
        .layer(middleware::from_fn(layer::security_headers))
        .layer(middleware::from_fn_with_state(edge.clone(), layer::place))
        .layer(CatchPanicLayer::custom(layer::panicked))
        .layer(middleware::from_fn_with_state(edge.clone(), layer::observe))
        .layer(middleware::from_fn(layer::leftover))
}

/// Paths of the API that are none; everything else is the console's.
async fn unknown(axum::extract::State(edge): axum::extract::State<Edge>, request: Request) -> Response {
    let path = request.uri().path();
    if path == "/v1" || path.starts_with("/v1/") {
        // Whoever has no token does not learn which paths there are.
        if let Err(refusal) = layer::authenticate(&edge, request.headers()) {
            return refusal.into_response();
        }
        return Refusal::new(StatusCode::NOT_FOUND, "unknown-path", format!("there is no {path}"))
            .hint("the paths are in /openapi.json")
            .into_response();
    }
    console::page(request.method(), path, request.headers())
}

async fn method_not_allowed(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", format!("{path} has no {method}"))
        .hint("the header Allow says which methods it has")
        .into_response()
}

/// JSON with the resource's ETag.
fn with_etag<T: serde::Serialize>(status: StatusCode, generation: u64, body: &T) -> Response {
    (status, [(header::ETAG, input::etag(generation))], axum::Json(body)).into_response()
}
