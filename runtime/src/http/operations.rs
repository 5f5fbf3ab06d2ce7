//! `/v1/operations`: what goes on, and how it went.

use super::{
    accepted::{Done, Shown, command, read},
    convert,
    edge::{Edge, Serving},
    input::{Fields, ListQuery, Reference, Submission, cursor, wait},
    layer::Caller,
    problem::{Answer, Refusal},
};
use api::v1;
use axum::{Json, http::HeaderMap};
use domain::{OperationId, event::Kind, operation::Operation};
use utoipa_axum::{router::OpenApiRouter, routes};

const STATES: [&str; 4] = ["running", "succeeded", "failed", "cancelled"];

pub fn routes() -> OpenApiRouter<Edge> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).routes(routes!(cancel))
}

pub fn shown(serving: &Serving, record: &Operation) -> v1::Operation {
    convert::operation(record, serving.node.cancellable(record))
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
    Ok(Json(v1::List { items: rows.iter().map(|row| shown(&serving, row)).collect(), next_cursor }))
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
    Ok(read(&headers, operation.generation.0, &shown(&serving, &operation)))
}

/// Cancels an operation: what it did is undone, then it ends as `cancelled`. Refused where `cancellable` is false, for the reason given there.
#[utoipa::path(post, path = "/v1/operations/{id}/cancel", tag = "operations",
    params(("id" = String, Path, description = "the operation's id"), super::openapi::PostParams),
    responses((status = 202, body = v1::Operation, headers(("Location", description = "the operation itself"), ("ETag"))), (status = 200, body = v1::Operation)))]
async fn cancel(serving: Serving, caller: Caller, Reference(reference): Reference, submission: Submission) -> Answer {
    submission.no_body()?;
    let work = async {
        let accepted = serving.node.cancel(id(&reference)?, submission.who(caller)).await?;
        let operation = accepted.resource;
        Ok(Done {
            kind: Kind::Operation,
            id: operation.id.to_string(),
            operation: accepted.operation,
            shown: Shown::of(operation.generation.0, &shown(&serving, &operation)),
        })
    };
    command(&serving, &submission, work).await
}
