//! `/v1/hosts`: the machines. They register themselves; here they are looked at and cordoned.

use super::{
    accepted::{Done, Shown, command, read},
    convert,
    edge::{Edge, Serving},
    input::{ListQuery, Reference, Submission, cursor},
    layer::Caller,
    problem::{Answer, Refusal},
    vms::labels,
};
use api::v1;
use axum::{Json, http::HeaderMap};
use domain::{
    HostId, Name,
    event::Kind,
    host::{Command, Host},
};
use std::sync::Arc;
use utoipa_axum::{router::OpenApiRouter, routes};

const STATES: [&str; 3] = ["healthy", "degraded", "offline"];

pub fn routes() -> OpenApiRouter<Edge> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get, update)).routes(routes!(cordon)).routes(routes!(uncordon))
}

/// One node has one host: what runs here is held there.
pub fn shown(serving: &Serving, record: &Host) -> v1::Host {
    let (held, vms) =
        if record.id == serving.node.host() { (serving.node.held(), serving.node.view().vm_count() as u64) } else { ((0, 0), 0) };
    convert::host(record, held, vms)
}

pub fn find(serving: &Serving, reference: &str) -> Answer<Arc<Host>> {
    let view = serving.node.view();
    let id = match reference.parse::<HostId>() {
        Ok(id) => Some(id),
        Err(_) => reference.parse::<Name>().ok().and_then(|name| view.find_host(&name)),
    };
    id.and_then(|id| view.host(id)).ok_or_else(|| Refusal::not_found("host", reference))
}

/// Lists hosts.
#[utoipa::path(get, path = "/v1/hosts", tag = "hosts", params(super::openapi::ListParams), responses((status = 200, body = v1::List<v1::Host>)))]
async fn list(serving: Serving, query: ListQuery) -> Answer<Json<v1::List<v1::Host>>> {
    let Some(page) = query.page(&STATES, false)? else { return Ok(Json(v1::List { items: Vec::new(), next_cursor: None })) };
    let (rows, more) = serving.node.view().hosts(&page);
    let next_cursor = rows.last().filter(|_| more).map(|row| cursor(row.id));
    Ok(Json(v1::List { items: rows.iter().map(|row| shown(&serving, row)).collect(), next_cursor }))
}

/// Reads a host, by id or name.
#[utoipa::path(get, path = "/v1/hosts/{id}", tag = "hosts", params(super::openapi::IdParam), responses((status = 200, body = v1::Host, headers(("ETag")))))]
async fn get(serving: Serving, Reference(id): Reference, headers: HeaderMap) -> Answer {
    let host = find(&serving, &id)?;
    Ok(read(&headers, host.generation.0, &shown(&serving, &host)))
}

/// Changes a host's labels.
#[utoipa::path(patch, path = "/v1/hosts/{id}", tag = "hosts", params(super::openapi::IdParam, super::openapi::ChangeParams), request_body = v1::PatchHost,
    responses((status = 200, body = v1::Host, headers(("ETag")))))]
async fn update(serving: Serving, caller: Caller, Reference(id): Reference, submission: Submission) -> Answer {
    let wanted: v1::PatchHost = submission.json()?;
    let labels = wanted.labels.map(labels).transpose()?;
    order(serving, caller, &id, &submission, Command::Update { labels }).await
}

/// Places no new VMs there from now on.
#[utoipa::path(post, path = "/v1/hosts/{id}/cordon", tag = "hosts", params(super::openapi::IdParam, super::openapi::PostParams),
    responses((status = 200, body = v1::Host)))]
async fn cordon(serving: Serving, caller: Caller, Reference(id): Reference, submission: Submission) -> Answer {
    submission.no_body()?;
    order(serving, caller, &id, &submission, Command::Cordon).await
}

/// Places new VMs there again.
#[utoipa::path(post, path = "/v1/hosts/{id}/uncordon", tag = "hosts", params(super::openapi::IdParam, super::openapi::PostParams),
    responses((status = 200, body = v1::Host)))]
async fn uncordon(serving: Serving, caller: Caller, Reference(id): Reference, submission: Submission) -> Answer {
    submission.no_body()?;
    order(serving, caller, &id, &submission, Command::Uncordon).await
}

async fn order(serving: Serving, caller: Caller, reference: &str, submission: &Submission, wanted: Command) -> Answer {
    let work = async {
        let id = find(&serving, reference)?.id;
        let record = serving.node.command_host(id, wanted, submission.who(caller)).await?;
        let shown = Shown::of(record.generation.0, &shown(&serving, &record));
        Ok(Done { kind: Kind::Host, id: record.id.to_string(), operation: None, shown })
    };
    command(&serving, submission, work).await
}
