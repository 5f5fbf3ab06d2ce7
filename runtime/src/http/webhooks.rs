//! `/v1/webhooks`: receivers outside that are sent events, signed and retried.

use super::{
    accepted::{Done, Shown, command, run},
    command::unprocessable,
    convert,
    edge::{Edge, Serving},
    idempotency,
    input::{ListQuery, Reference, Submission, cursor},
    layer::Caller,
    problem::{Answer, Refusal},
    vms::{labels, name, project},
    with_etag,
};
use crate::deliver::{new_secret, parse_secret, show_secret};
use actors::{Accepted, NewWebhook, idempotency::Outcome, webhook::Outcome as Sent};
use api::v1;
use axum::{
    Json,
    http::{StatusCode, header},
};
use domain::{
    Name, WebhookId,
    event::Kind,
    webhook::{Change, Command, Filter, Webhook, WebhookSpec},
};
use host::secret::Secret;
use std::{sync::Arc, time::Instant};
use utoipa_axum::{router::OpenApiRouter, routes};

const STATES: [&str; 3] = ["active", "retrying", "disabled"];

pub fn routes() -> OpenApiRouter<Edge> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, delete))
        .routes(routes!(dead_letters))
        .routes(routes!(redeliver))
        .routes(routes!(test))
}

pub fn shown(serving: &Serving, record: &Webhook) -> v1::Webhook {
    convert::webhook(record, serving.node.journal().latest())
}

fn find(serving: &Serving, reference: &str) -> Answer<Arc<Webhook>> {
    let view = serving.node.view();
    let id = match reference.parse::<WebhookId>() {
        Ok(id) => Some(id),
        Err(_) => reference.parse::<Name>().ok().and_then(|name| view.find_webhook(&project(None).ok()?, &name)),
    };
    id.and_then(|id| view.webhook(id)).ok_or_else(|| Refusal::not_found("webhook", reference))
}

/// Lists webhooks, oldest first.
#[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks", params(super::openapi::ListParams), responses((status = 200, body = v1::List<v1::Webhook>)))]
async fn list(serving: Serving, query: ListQuery) -> Answer<Json<v1::List<v1::Webhook>>> {
    let Some(page) = query.page(&STATES, false)? else { return Ok(Json(v1::List { items: Vec::new(), next_cursor: None })) };
    let (rows, more) = serving.node.view().webhooks(&page);
    let next_cursor = rows.last().filter(|_| more).map(|row| cursor(row.id));
    Ok(Json(v1::List { items: rows.iter().map(|row| shown(&serving, row)).collect(), next_cursor }))
}

/// Makes a webhook. The answer holds the secret that its deliveries are signed with; no other answer does.
#[utoipa::path(post, path = "/v1/webhooks", tag = "webhooks", params(super::openapi::PostParams), request_body = v1::CreateWebhook,
    responses((status = 200, body = v1::Webhook, headers(("ETag")))))]
async fn create(serving: Serving, caller: Caller, submission: Submission) -> Answer {
    let outcome = idempotency::once(&serving, &submission, async {
        let wanted: v1::CreateWebhook = submission.json()?;
        let new = NewWebhook {
            name: name(&wanted.name)?,
            project: project(wanted.project.as_deref())?,
            labels: labels(wanted.labels)?,
            enabled: wanted.spec.enabled,
            spec: spec(wanted.spec)?,
            secret: wanted.secret.as_deref().map(secret).transpose()?.unwrap_or_else(new_secret),
            after: wanted.after,
        };
        let made = serving.node.create_webhook(new, submission.who(caller)).await?.resource;
        Ok(Outcome::Accepted { kind: Kind::Webhook, id: made.id.to_string(), operation: None })
    })
    .await?;
    let Outcome::Accepted { id, .. } = outcome else {
        return Err(Refusal::internal("what was recorded for this key is no webhook"));
    };
    // A repetition gets the secret, too: whoever has the key and the body is the one whose first answer was lost. It comes from its file,
    // for the record of the key is in the journal.
    let record = find(&serving, &id)?;
    let mut body = shown(&serving, &record);
    body.secret = Some(show_secret(&serving.node.webhook_secret(record.id).await?));
    let mut response = with_etag(StatusCode::OK, record.generation.0, &body);
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Reads a webhook, by id or name, and how far it is.
#[utoipa::path(get, path = "/v1/webhooks/{id}", tag = "webhooks", params(super::openapi::IdParam), responses((status = 200, body = v1::Webhook, headers(("ETag")))))]
async fn get(serving: Serving, Reference(id): Reference) -> Answer {
    let webhook = find(&serving, &id)?;
    // Never 304: progress does not move the generation.
    Ok(with_etag(StatusCode::OK, webhook.generation.0, &shown(&serving, &webhook)))
}

/// Changes a webhook. What is being retried is tried at once when the address, the secret or the times change.
#[utoipa::path(patch, path = "/v1/webhooks/{id}", tag = "webhooks", params(super::openapi::IdParam, super::openapi::ChangeParams), request_body = v1::PatchWebhook,
    responses((status = 200, body = v1::Webhook, headers(("ETag")))))]
async fn update(serving: Serving, caller: Caller, Reference(id): Reference, submission: Submission) -> Answer {
    let wanted: v1::PatchWebhook = submission.json()?;
    let spec = wanted.spec.unwrap_or_default();
    let new_secret = wanted.secret.as_deref().map(secret).transpose()?;
    let change = Change {
        name: wanted.name.as_deref().map(name).transpose()?,
        labels: wanted.labels.map(labels).transpose()?,
        url: spec.url,
        filter: spec.filter.map(filter).transpose()?,
        timeout_s: spec.timeout_s,
        retry_for_s: spec.retry_for_s,
        enabled: spec.enabled,
        // Its actor draws the number of one.
        secret: None,
    };
    order(serving, caller, &id, &submission, Command::Update(change), new_secret).await
}

/// Deletes a webhook, its dead letters and its secret. What is on its way may still arrive.
#[utoipa::path(delete, path = "/v1/webhooks/{id}", tag = "webhooks", params(super::openapi::IdParam, super::openapi::ChangeParams),
    responses((status = 200, body = v1::Webhook)))]
async fn delete(serving: Serving, caller: Caller, Reference(id): Reference, submission: Submission) -> Answer {
    submission.no_body()?;
    order(serving, caller, &id, &submission, Command::Delete, None).await
}

/// The deliveries that failed for good, oldest first, with their events; the newest 50 are kept.
#[utoipa::path(get, path = "/v1/webhooks/{id}/dead-letters", tag = "webhooks", params(super::openapi::IdParam),
    responses((status = 200, body = v1::List<v1::DeadLetter>)))]
async fn dead_letters(serving: Serving, Reference(id): Reference) -> Answer<Json<v1::List<v1::DeadLetter>>> {
    let webhook = find(&serving, &id)?;
    let letters = serving.node.dead_letters(&webhook).await?;
    Ok(Json(v1::List { items: letters.into_iter().map(convert::dead_letter).collect(), next_cursor: None }))
}

/// Sends dead letters again, each once, in their order; one that is taken is forgotten, one that is not stays.
#[utoipa::path(post, path = "/v1/webhooks/{id}/redeliver", tag = "webhooks", params(super::openapi::IdParam, super::openapi::PostParams),
    request_body = v1::Redeliver, responses((status = 200, body = v1::Webhook)))]
async fn redeliver(serving: Serving, caller: Caller, Reference(id): Reference, submission: Submission) -> Answer {
    let wanted: v1::Redeliver = submission.json_or_default()?;
    order(serving, caller, &id, &submission, Command::Redeliver { numbers: wanted.deliveries }, None).await
}

/// Sends the receiver a `test` event, once, and answers how it ended.
#[utoipa::path(post, path = "/v1/webhooks/{id}/test", tag = "webhooks", params(super::openapi::IdParam, super::openapi::PostParams),
    responses((status = 200, body = v1::WebhookTest)))]
async fn test(serving: Serving, Reference(id): Reference, submission: Submission) -> Answer {
    submission.no_body()?;
    run(&serving, &submission, async {
        let webhook = find(&serving, &id)?;
        let begun = Instant::now();
        let sent = serving.node.test_webhook(&webhook).await?;
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let told = |ok, status, code: Option<&str>, detail| v1::WebhookTest {
            ok,
            status,
            took_ms,
            code: code.map(ToOwned::to_owned),
            detail,
        };
        let body = match sent {
            Sent::Taken { status } => told(true, Some(status), None, None),
            Sent::Gone => told(false, Some(410), Some("receiver-gone"), Some("the receiver answered 410 Gone".to_owned())),
            Sent::Failed { code, detail, status, .. } => told(false, status, Some(code), Some(detail)),
        };
        Ok(serde_json::to_string(&body).unwrap_or_default())
    })
    .await
}

async fn order(
    serving: Serving,
    caller: Caller,
    reference: &str,
    submission: &Submission,
    wanted: Command,
    secret: Option<Secret>,
) -> Answer {
    let work = async {
        let id = find(&serving, reference)?.id;
        let Accepted { resource, operation } = serving.node.command_webhook(id, wanted, secret, submission.who(caller)).await?;
        Ok(Done {
            kind: Kind::Webhook,
            id: resource.id.to_string(),
            operation,
            shown: Shown::of(resource.generation.0, &shown(&serving, &resource)),
        })
    };
    command(&serving, submission, work).await
}

pub(super) fn spec(wanted: v1::WebhookSpec) -> Answer<WebhookSpec> {
    Ok(WebhookSpec {
        url: wanted.url,
        filter: filter(wanted.filter)?,
        timeout_s: wanted.timeout_s,
        retry_for_s: wanted.retry_for_s,
    })
}

fn filter(wanted: v1::WebhookFilter) -> Answer<Filter> {
    let kind = |kind: v1::EventKind| match kind {
        v1::EventKind::Vm => Ok(Kind::Vm),
        v1::EventKind::Host => Ok(Kind::Host),
        v1::EventKind::Image => Ok(Kind::Image),
        v1::EventKind::Operation => Ok(Kind::Operation),
        v1::EventKind::Webhook => Ok(Kind::Webhook),
        v1::EventKind::Stream | v1::EventKind::Unknown => {
            Err(unprocessable("invalid-spec", "spec.filter.kinds", "may hold vm, host, image, operation, webhook"))
        }
    };
    let mut kinds = Vec::new();
    for wanted in wanted.kinds {
        let kind = kind(wanted)?;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(Filter {
        kinds,
        types: wanted.types,
        ids: wanted.ids,
        project: wanted.project.as_deref().map(name_of_project).transpose()?,
    })
}

/// Any project may be waited for.
fn name_of_project(text: &str) -> Answer<Name> {
    text.parse().map_err(|error| unprocessable("invalid-spec", "spec.filter.project", &format!("{error}")))
}

fn secret(text: &str) -> Answer<Secret> {
    parse_secret(text).map_err(|wrong| unprocessable("invalid-secret", "secret", wrong))
}
