//! `/v1/node`: the server itself.

use super::{
    edge::{Edge, Serving},
    input::Submission,
    problem::Answer,
};
use api::v1;
use axum::{Json, extract::State, http::StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

pub fn routes() -> OpenApiRouter<Edge> {
    OpenApiRouter::new().routes(routes!(tree)).routes(routes!(down))
}

/// The live actors.
#[utoipa::path(get, path = "/v1/node/tree", tag = "node", responses((status = 200, body = v1::NodeTree)))]
async fn tree(serving: Serving) -> Json<v1::NodeTree> {
    let actors = serving.node.tree().await;
    let view = |actor: actors::ActorInfo| v1::ActorView {
        name: actor.name,
        parent: actor.parent,
        state: actor.state.to_owned(),
        restarts: actor.restarts,
        last_error: actor.last_error,
    };
    Json(v1::NodeTree { actors: actors.into_iter().map(view).collect() })
}

/// Stops every guest, then the server: `hearth down`. Answers at once; the connection breaks when it is done.
#[utoipa::path(post, path = "/v1/node/down", tag = "node", params(super::openapi::PostParams), responses((status = 202)))]
async fn down(State(edge): State<Edge>, _serving: Serving, submission: Submission) -> Answer<StatusCode> {
    submission.no_body()?;
    // Idempotent by itself: whoever asks again finds it going down.
    edge.ask_down();
    Ok(StatusCode::ACCEPTED)
}
