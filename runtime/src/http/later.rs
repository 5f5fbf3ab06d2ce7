//! The kinds that are promised and not in this version: they answer 404 and say so.

use super::{edge::Edge, problem::Refusal};
use axum::{Router, extract::Request, http::StatusCode, routing::any};

const KINDS: [&str; 10] =
    ["networks", "volumes", "snapshots", "templates", "containers", "functions", "users", "projects", "tokens", "audit"];

pub fn routes() -> Router<Edge> {
    KINDS.iter().fold(Router::new(), |router, kind| {
        router.route(&format!("/v1/{kind}"), any(absent)).route(&format!("/v1/{kind}/{{*rest}}"), any(absent))
    })
}

async fn absent(request: Request) -> Refusal {
    let kind = request.uri().path().split('/').nth(2).unwrap_or_default();
    Refusal::new(StatusCode::NOT_FOUND, "kind-not-in-this-version", format!("this version of hearth has no {kind}"))
        .hint("it has vms, images, hosts, operations and events")
}
