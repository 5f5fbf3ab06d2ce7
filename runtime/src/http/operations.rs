//! `/v1/operations`: what goes on, and how it went.

use super::{
    accepted::read,
    convert,
    edge::{Edge, Serving},
    idempotency,
    input::{Fields, ListQuery, Reference, Submission, cursor, wait},
    problem::{Answer, Refusal},
};
use actors::idempotency::Outcome;
use api::v1;
use axum::{
    Json,
    http::{HeaderMap, StatusCode},
};
use domain::{OperationId, operation::Operation};
use utoipa_axum::{router::OpenApiRouter, routes};

const STATES: [&str; 4] = ["running", "succeeded", "failed", "cancelled"];

pub fn routes() -> OpenApiRouter<Edge> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).routes(routes!(cancel))
}

pub fn shown(record: &Operation) -> v1::Operation {
    convert::operation(record)
}

fn id(reference: &str) -> Answer<OperationId> {
    reference.parse().map_err(|_| Refusal::not_found("operation", reference))
}

/// Lists operations, newest first. `name` is the target's; ended ones are kept for a while.
#[utoipa::path(get, path = "/v1/operations", tag = "operations", params(super::openapi::ListParams), responses((status = 200, body = v1::List<v1::Operation>)))]
async fn list(serving: Serving, query: ListQuery) -> Answer<Json<v1::List<v1::Operation>>> {
    let Some(page) = query.page(&STATES, true)? else { return Ok(Json(v1::List { items: Vec::new(), next_cursor: None })) };
    let (rows, more) = serving.node.view().operations(&page);
    let next_cursor = rows.last().filter(|_| more).map(|row| cursor(row.id));
    Ok(Json(v1::List { items: rows.iter().map(|row| shown(row)).collect(), next_cursor }))
}

/// Reads an operation; with `wait` when it has ended, or as it is when the time is up.
#[utoipa::path(get, path = "/v1/operations/{id}", tag = "operations",
    params(("id" = String, Path, description = "the operation's id"), ("wait" = Option<u32>, Query, maximum = 300, description = "seconds to wait for its end")),
    responses((status = 200, body = v1::Operation, headers(("ETag")))))]
async fn get(serving: Serving, Reference(reference): Reference, mut fields: Fields, headers: HeaderMap) -> Answer {
    let at_most = wait(&mut fields)?;
    fields.end(&["wait"])?;
    let found = serving.node.wait(id(&reference)?, at_most).await;
    let operation = found.ok_or_else(|| Refusal::not_found("operation", &reference))?;
    Ok(read(&headers, operation.generation.0, &shown(&operation)))
}

/// Asks an operation to end early. None of this version can.
#[utoipa::path(post, path = "/v1/operations/{id}/cancel", tag = "operations",
    params(("id" = String, Path, description = "the operation's id"), super::openapi::PostParams),
    responses((status = 200, body = v1::Operation)))]
async fn cancel(serving: Serving, Reference(reference): Reference, submission: Submission) -> Answer {
    submission.no_body()?;
    let work = async {
        let operation =
            serving.node.view().operation(id(&reference)?).ok_or_else(|| Refusal::not_found("operation", &reference))?;
        let (code, detail, hint) = if operation.status.is_final() {
            ("operation-ended", format!("operation {reference} has ended already"), "nothing needs to be done")
        } else {
            (
                "not-cancellable",
                format!("operation {reference} can't be cancelled"),
                "wait for its end, or stop its VM with force",
            )
        };
        Err::<Outcome, _>(Refusal::new(StatusCode::CONFLICT, code, detail).hint(hint))
    };
    match idempotency::once(&serving, &submission, work).await? {
        Outcome::Answered { status, body } => Ok(super::accepted::answered(status, body)),
        Outcome::Accepted { .. } | Outcome::Refused { .. } => {
            Err(Refusal::internal("a cancellation was recorded as something else"))
        }
    }
}
