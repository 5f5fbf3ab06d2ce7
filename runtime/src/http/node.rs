//! `/v1/node`: the server itself.

use super::{
    accepted::answered,
    edge::{Edge, Serving},
    idempotency,
    input::{Fields, Reference, Submission, bad_query},
    problem::{Answer, Refusal},
};
use actors::{ActorInfo, KindInfo, TreeQuery, idempotency::Outcome};
use api::v1;
use axum::{Json, extract::State, http::StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

const KINDS: [&str; 5] = ["vms", "images", "hosts", "operations", "webhooks"];
const LIMIT_DEFAULT: u64 = 100;
const LIMIT_MAX: u64 = 1000;

pub fn routes() -> OpenApiRouter<Edge> {
    OpenApiRouter::new().routes(routes!(tree)).routes(routes!(restart)).routes(routes!(down))
}

/// The live actors: the root, the supervisors, and of the others those that somebody should look at (stuck, failed, set aside, behind with
/// their mailbox), or all; with all of them in numbers.
#[utoipa::path(get, path = "/v1/node/tree", tag = "node",
    params(
        ("all" = Option<String>, Query, pattern = "^(|true|false|1|0)$", description = "every actor, not only the unusual ones"),
        ("kind" = Option<String>, Query, description = "only of this kind: vms, images, hosts, operations, webhooks"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "actors in a page, the root and the supervisors not counted; 100 when absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = v1::NodeTree)))]
async fn tree(serving: Serving, mut fields: Fields) -> Answer<Json<v1::NodeTree>> {
    let query = TreeQuery {
        all: fields.flag("all")?,
        kind: fields.one("kind")?,
        limit: usize::try_from(fields.number("limit", 1, LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT)).unwrap_or(usize::MAX),
        after: fields.one("cursor")?,
    };
    fields.end(&["all", "kind", "limit", "cursor"])?;
    if query.kind.as_deref().is_some_and(|kind| !KINDS.contains(&kind)) {
        return Err(bad_query("kind", &format!("must be one of: {}", KINDS.join(", "))));
    }
    let tree = serving.node.tree(&query);
    Ok(Json(v1::NodeTree {
        kinds: tree.kinds.into_iter().map(kind).collect(),
        actors: tree.actors.into_iter().map(actor).collect(),
        next_cursor: tree.next,
    }))
}

/// Starts an actor again: one that was set aside, waits for its turn, or lives. Its guest goes on. It has its whole budget of restarts.
#[utoipa::path(post, path = "/v1/node/actors/{id}/restart", tag = "node",
    params(("id" = String, Path, description = "the actor's name, as the tree has it"), super::openapi::PostParams),
    responses((status = 202, body = v1::ActorView)))]
async fn restart(serving: Serving, Reference(name): Reference, submission: Submission) -> Answer {
    submission.no_body()?;
    let work = async {
        let restarted = actor(serving.node.restart_actor(&name).await?);
        let body = serde_json::to_string(&restarted).map_err(|_| Refusal::internal("the actor is no JSON"))?;
        Ok(Outcome::Answered { status: StatusCode::ACCEPTED.as_u16(), body })
    };
    match idempotency::once(&serving, &submission, work).await? {
        Outcome::Answered { status, body } => Ok(answered(status, body)),
        Outcome::Accepted { .. } | Outcome::Refused { .. } => Err(Refusal::internal("a restart was recorded as something else")),
    }
}

fn actor(actor: ActorInfo) -> v1::ActorView {
    let doing = |doing: actors::Doing| v1::Doing {
        what: doing.what.to_owned(),
        for_ms: u64::try_from(doing.lasts.as_millis()).unwrap_or(u64::MAX),
    };
    v1::ActorView {
        name: actor.name,
        parent: actor.parent,
        state: actor.state.to_owned(),
        restarts: actor.restarts,
        last_error: actor.last_error,
        mailbox: actor.mailbox,
        message: actor.message.map(doing),
        waits_for: actor.waits_for.map(doing),
        effect: actor.effect.map(doing),
    }
}

fn kind(kind: KindInfo) -> v1::ActorKind {
    v1::ActorKind {
        kind: kind.kind.to_owned(),
        actors: kind.actors,
        stalled: kind.stalled,
        overdue: kind.overdue,
        restarting: kind.restarting,
        quarantined: kind.quarantined,
        restarts: kind.restarts,
        mailbox: kind.mailbox,
    }
}

/// Stops every guest, then the server: `hearth down`. Answers at once; the connection breaks when it is done.
#[utoipa::path(post, path = "/v1/node/down", tag = "node", params(super::openapi::PostParams), responses((status = 202)))]
async fn down(State(edge): State<Edge>, _serving: Serving, submission: Submission) -> Answer<StatusCode> {
    submission.no_body()?;
    // Idempotent by itself: whoever asks again finds it going down.
    edge.ask_down();
    Ok(StatusCode::ACCEPTED)
}
