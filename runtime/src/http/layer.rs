//! What happens around every handler: observation, the token, places, deadlines, headers.

mod count;
mod leftover;
mod token;

pub use count::Counters;
pub use leftover::leftover;
pub use token::{Caller, authenticate, token};

use super::{
    edge::Edge,
    problem::{RETRY_AFTER_S, Refusal},
    request_id,
};
use axum::{
    body::HttpBody,
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::{any::Any, time::Duration, time::Instant};
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

/// Longer than the longest wait that a client may ask for (300 s) with a body that comes slowly before it (30 s).
const DEADLINE: Duration = Duration::from_secs(345);
/// Below, the gain is less than the frame.
const COMPRESS_FROM: u64 = 1024;

/// Gives the request its id, and logs and counts how it ended. Never a token, a query or a body: paths only.
pub async fn observe(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let id = request_id::of(request.headers());
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = request_id::scope(id.clone(), next.run(request)).await;
    let took = started.elapsed();
    let status = response.status();
    let route = response.extensions().get::<Route>().map_or("other", |route| route.0.as_str()).to_owned();
    edge.counters.answered(&method, &route, status.as_u16(), took);
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    // While the server starts or stops, 503 is what it is to answer.
    if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
        tracing::warn!(request = %id, %method, path, status = status.as_u16(), ms, "answered");
    } else {
        tracing::debug!(request = %id, %method, path, status = status.as_u16(), ms, "answered");
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(request_id::HEADER, value);
    }
    response
}

/// The route's pattern, on its way out to the counters: paths would make a series for each VM.
#[derive(Clone)]
struct Route(String);

/// A handler's panic is one request's misfortune.
pub fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(request = %request_id::current(), panic = text.unwrap_or_default(), "a handler panicked");
    Refusal::internal("the server failed to answer this request").into_response()
}

/// A place among the requests that are answered at a time, or 503.
pub async fn place(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    match edge.requests.clone().try_acquire_owned() {
        Ok(_place) => next.run(request).await,
        Err(_full) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too-busy", "the server answers as many requests as it can")
            .hint("try again")
            .retry_after(RETRY_AFTER_S)
            .into_response(),
    }
}

/// Until the head of the answer; streams then go on for as long as they like.
pub async fn deadline(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| Route(path.as_str().to_owned()));
    let mut response = match tokio::time::timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => {
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", "no answer in time; what was asked may yet happen")
                .hint("read the resource to see; with the same Idempotency-Key repeating is safe")
                .retry_after(RETRY_AFTER_S)
                .into_response()
        }
    };
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}

/// No framing, no sniffing, no referrer, nothing from elsewhere. WebAssembly needs `wasm-unsafe-eval`; the console's terminal sets styles.
const POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self' ws: wss:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub async fn security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    // What the API says is for the one who asked, now.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Marks an answer that must leave as it comes: streams, where a compressor would hold back what is small.
#[derive(Clone)]
pub struct AsItComes;

#[derive(Clone)]
pub struct Compressible;

impl Predicate for Compressible {
    fn should_compress<B: HttpBody>(&self, response: &axum::http::Response<B>) -> bool {
        response.extensions().get::<AsItComes>().is_none()
            && SizeAbove::new(COMPRESS_FROM).should_compress(response)
            && NotForContentType::SSE.should_compress(response)
            && NotForContentType::IMAGES.should_compress(response)
    }
}
