//! `/healthz` and `/readyz`: for those who look after the process. Open to everybody, and say nothing else.

use super::{
    edge::{Edge, Serving},
    problem::Refusal,
};
use axum::{Router, extract::State, http::StatusCode, routing::get};

pub fn routes() -> Router<Edge> {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz))
}

async fn healthz() -> &'static str {
    "ok\n"
}

/// 503 while the state is being recovered, when the journal takes nothing any more, and while the server goes down.
async fn readyz(State(edge): State<Edge>, serving: Serving) -> Result<&'static str, Refusal> {
    if edge.ending.is_cancelled() {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the server is shutting down"));
    }
    if serving.node.journal().stats().poisoned {
        return Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "journal-failed",
            "the journal takes nothing since a write failed",
        )
        .hint("make room or repair the disk, then restart hearth"));
    }
    Ok("ready\n")
}
