//! From an accepted command to its answer: the resource as it is now, the operation to follow, and, if the client wants to wait, its end.

use super::{
    command::operation_status,
    convert,
    edge::Serving,
    idempotency,
    input::{Submission, etag},
    layer::Caller,
    operations,
    problem::{Answer, Refusal},
    with_etag,
};
use crate::password::Password;
use actors::{Who, idempotency::Outcome};
use api::v1;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{OperationId, event::Kind, operation::Status};
use serde_json::Value;

/// cloud-init's word for the user that an image names in its own configuration: whom passwords and keys are for.
const DEFAULT_USER: &str = "default";

/// A resource in the words of the API.
pub struct Shown {
    pub generation: u64,
    /// JSON.
    body: String,
}

impl Shown {
    pub fn of<T: serde::Serialize>(generation: u64, body: &T) -> Shown {
        Shown { generation, body: serde_json::to_string(body).unwrap_or_default() }
    }

    fn with(self, credentials: &v1::Credentials) -> Shown {
        let Ok(mut body) = serde_json::from_str::<Value>(&self.body) else { return self };
        if let (Some(body), Ok(credentials)) = (body.as_object_mut(), serde_json::to_value(credentials)) {
            body.insert("credentials".to_owned(), credentials);
        }
        Shown { generation: self.generation, body: body.to_string() }
    }

    /// What was deleted, as the last that is known of it.
    fn deleted(self) -> Shown {
        let Ok(mut body) = serde_json::from_str::<Value>(&self.body) else { return self };
        if let Some(status) = body.get_mut("status").and_then(Value::as_object_mut) {
            status.insert("state".to_owned(), "deleting".into());
            status.insert("actions".to_owned(), Value::Array(Vec::new()));
            status.remove("operation");
        }
        Shown { generation: self.generation, body: body.to_string() }
    }
}

/// What a command that was accepted leaves to tell.
pub struct Done {
    pub kind: Kind,
    pub id: String,
    pub operation: Option<OperationId>,
    /// The resource as the command left it, for when it is gone by now.
    pub shown: Shown,
}

impl Submission {
    pub fn who(&self, caller: Caller) -> Who {
        Who { actor: caller.actor, if_match: self.if_match.clone(), idempotency: self.idempotency.clone() }
    }
}

/// Carries out a command, at most once for its key, and answers.
pub async fn command<F>(serving: &Serving, submission: &Submission, work: F) -> Answer
where
    F: Future<Output = Answer<Done>>,
{
    telling(serving, submission, None, work).await
}

/// As [`command`]. `made`: the password that `work` has the hash of; the answer tells it if `work` is what is answered, and not if that is the
/// record of an earlier request by the same key, whose password is not known any more.
pub async fn telling<F>(serving: &Serving, submission: &Submission, made: Option<&Password>, work: F) -> Answer
where
    F: Future<Output = Answer<Done>>,
{
    let mut last = None;
    let outcome = idempotency::once(serving, submission, async {
        let done = work.await?;
        let outcome = Outcome::Accepted { kind: done.kind, id: done.id.clone(), operation: done.operation };
        last = Some(done.shown);
        Ok(outcome)
    })
    .await?;
    match outcome {
        Outcome::Accepted { kind, id, operation } => {
            let credentials = made.map(|made| credentials(last.is_some().then_some(made)));
            answer(serving, submission, (kind, &id), operation, last, credentials).await
        }
        Outcome::Answered { status, body } => Ok(answered(status, body)),
        Outcome::Refused { status, .. } => {
            Err(Refusal::internal(format!("a recorded refusal of status {status} got past its reader")))
        }
    }
}

/// Does what has an answer of its own and leaves nothing behind, at most once for its key.
pub async fn run<F>(serving: &Serving, submission: &Submission, work: F) -> Answer
where
    F: Future<Output = Answer<String>>,
{
    let outcome =
        idempotency::once(serving, submission, async { Ok(Outcome::Answered { status: 200, body: work.await? }) }).await?;
    match outcome {
        Outcome::Answered { status, body } => Ok(answered(status, body)),
        Outcome::Accepted { .. } | Outcome::Refused { .. } => {
            Err(Refusal::internal("what was recorded for this key is another answer"))
        }
    }
}

/// JSON that was made already.
pub fn answered(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn credentials(told: Option<&Password>) -> v1::Credentials {
    let hint = "the first answer to this request told the password, and it is not kept: until the VM is started for the first time, \
                `hearth vm update NAME --new-password` makes another; in a guest that runs, `hearth vm shell NAME` and passwd do";
    v1::Credentials {
        user: DEFAULT_USER.to_owned(),
        password: told.map(Password::reveal),
        hint: told.is_none().then(|| hint.to_owned()),
    }
}

async fn answer(
    serving: &Serving,
    submission: &Submission,
    target: (Kind, &str),
    operation: Option<OperationId>,
    last: Option<Shown>,
    credentials: Option<v1::Credentials>,
) -> Answer {
    let (kind, id) = target;
    let status = match operation {
        None => StatusCode::OK,
        Some(operation) if submission.wait.is_zero() => at_once(serving, kind, operation),
        Some(operation) => waited(serving, submission, kind, operation).await?,
    };
    let shown = now(serving, kind, id).or(last.map(Shown::deleted)).ok_or_else(|| {
        // Only a repetition by its key knows no more than the id.
        Refusal::new(StatusCode::GONE, "gone-since", format!("this request was carried out, and {id} is gone since"))
            .hint("a key stands for one request for 24 hours: use a new Idempotency-Key to have it carried out again")
    })?;
    let shown = match &credentials {
        Some(credentials) => shown.with(credentials),
        None => shown,
    };
    let mut response = answered(status.as_u16(), shown.body);
    response.headers_mut().insert(header::ETAG, etag(shown.generation));
    if let Some(operation) = operation
        && let Ok(location) = HeaderValue::from_str(&format!("/v1/operations/{operation}"))
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// A cancellation may be done with its answer; everything else goes on behind it.
fn at_once(serving: &Serving, kind: Kind, id: OperationId) -> StatusCode {
    let ended = || serving.node.view().operation(id).is_none_or(|operation| operation.status.is_final());
    if kind == Kind::Operation && ended() { StatusCode::OK } else { StatusCode::ACCEPTED }
}

/// 200 when the operation succeeded, 202 when the time was up before, its error when it failed.
async fn waited(serving: &Serving, submission: &Submission, kind: Kind, id: OperationId) -> Answer<StatusCode> {
    // One that is forgotten has ended long ago.
    let Some(operation) = serving.node.wait(id, submission.wait).await else { return Ok(StatusCode::OK) };
    match &operation.status {
        Status::Running => Ok(StatusCode::ACCEPTED),
        Status::Succeeded => Ok(StatusCode::OK),
        Status::Failed(error) => Err(Refusal::new(operation_status(&error.code), &error.code, error.detail.clone())
            .hint(format!("{}{}see /v1/operations/{id}", error.hint, if error.hint.is_empty() { "" } else { "; " }))),
        // That is what was asked for.
        Status::Cancelled if kind == Kind::Operation => Ok(StatusCode::OK),
        Status::Cancelled => Err(Refusal::new(StatusCode::CONFLICT, "cancelled", format!("operation {id} was cancelled"))),
    }
}

/// The resource as the view has it.
fn now(serving: &Serving, kind: Kind, id: &str) -> Option<Shown> {
    let view = serving.node.view();
    match kind {
        Kind::Vm => {
            let vm = view.vm(id.parse().ok()?)?;
            Some(Shown::of(vm.record.generation.0, &convert::vm(&vm, view)))
        }
        Kind::Image => {
            let image = view.image(id.parse().ok()?)?;
            Some(Shown::of(image.generation.0, &super::images::shown(serving, &image)))
        }
        Kind::Host => {
            let host = view.host(id.parse().ok()?)?;
            Some(Shown::of(host.generation.0, &super::hosts::shown(serving, &host)))
        }
        Kind::Webhook => {
            let webhook = view.webhook(id.parse().ok()?)?;
            Some(Shown::of(webhook.generation.0, &super::webhooks::shown(serving, &webhook)))
        }
        Kind::Operation => {
            let operation = view.operation(id.parse().ok()?)?;
            Some(Shown::of(operation.generation.0, &operations::shown(serving, &operation)))
        }
    }
}

/// A GET's answer: 304 when the client has this generation.
pub fn read<T: serde::Serialize>(headers: &axum::http::HeaderMap, generation: u64, body: &T) -> Response {
    unchanged(headers, generation).unwrap_or_else(|| with_etag(StatusCode::OK, generation, body))
}

/// The 304 alone, for who must do work for the answer that is not needed then.
pub fn unchanged(headers: &axum::http::HeaderMap, generation: u64) -> Option<Response> {
    let same = super::input::not_modified(headers, generation);
    same.then(|| (StatusCode::NOT_MODIFIED, [(header::ETAG, etag(generation))]).into_response())
}
