//! Bodies: collected within bounds of size and time, decoded strictly. Serde's message names the field; the path is kept beside it.

use super::strict::Strict;
use crate::http::{problem::Answer, problem::Refusal};
use actors::{IfMatch, idempotency::Idempotency};
use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, Method, StatusCode, header},
};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// The largest request of ours is an image's or a VM's description with 64 labels: 20 KiB. Standard input of an exec may take the rest.
pub const BODY_MAX: usize = 1024 * 1024;
/// A body of [`BODY_MAX`] over the slowest link that anybody administers from; a client that stalls must not hold a place.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// A key is a key of the journal, which takes 256 bytes.
const KEY_MAX: usize = 255;

/// A request that changes something: its body, still as bytes, and what its headers and query say about how to answer.
pub struct Submission {
    pub bytes: Bytes,
    pub idempotency: Option<Idempotency>,
    pub if_match: Option<IfMatch>,
    /// How long the client wants to wait for the operation's end.
    pub wait: Duration,
    query: Vec<(String, String)>,
}

impl<S: Send + Sync> FromRequest<S> for Submission {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let if_match = super::if_match(&parts.headers)?;
        let mut fields = super::Fields::parse(parts.uri.query().unwrap_or_default());
        let wait = super::wait(&mut fields)?;
        let key = if parts.method == Method::POST { key(&parts.headers)? } else { None };
        let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > BODY_MAX) {
            return Err(too_large());
        }
        let bytes = match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, BODY_MAX)).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) if is_too_large(&error) => return Err(too_large()),
            Ok(Err(_)) => return Err(Refusal::new(StatusCode::BAD_REQUEST, "bad-body", "the body broke off")),
            Err(_elapsed) => {
                return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", "the body did not come in time"));
            }
        };
        if !bytes.is_empty() {
            json_type(&parts.headers)?;
        }
        let idempotency = key.map(|key| {
            let fingerprint = fingerprint(&parts.method, parts.uri.path(), &bytes);
            Idempotency { key, fingerprint }
        });
        Ok(Submission { bytes, idempotency, if_match, wait, query: fields.rest() })
    }
}

impl Submission {
    /// The body as a document, and no query but `wait`.
    pub fn json<T: DeserializeOwned>(&self) -> Answer<T> {
        self.no_query()?;
        document(&self.bytes)
    }

    /// As [`Submission::json`]; no body at all is the default.
    pub fn json_or_default<T: DeserializeOwned + Default>(&self) -> Answer<T> {
        self.no_query()?;
        if self.bytes.is_empty() { Ok(T::default()) } else { document(&self.bytes) }
    }

    /// For actions that take no body; `{}` is let pass.
    pub fn no_body(&self) -> Answer<()> {
        self.no_query()?;
        if self.bytes.is_empty() { Ok(()) } else { document::<NoFields>(&self.bytes).map(|NoFields {}| ()) }
    }

    /// What is created has no ETag yet, so that no condition on one can hold.
    pub fn creates(&self) -> Answer<()> {
        if self.if_match.is_none() {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::PRECONDITION_FAILED, "stale", "what is to be created has no ETag")
            .hint("leave If-Match out; an Idempotency-Key makes repeating safe"))
    }

    /// The one flag that a DELETE may have.
    pub fn flag(&self, name: &str) -> Answer<bool> {
        let mut value = false;
        for (key, text) in &self.query {
            if key != name {
                return Err(super::query::unknown(key, &[name, "wait"]));
            }
            value = super::query::flag(name, text)?;
        }
        Ok(value)
    }

    fn no_query(&self) -> Answer<()> {
        self.query.first().map_or(Ok(()), |(key, _)| Err(super::query::unknown(key, &["wait"])))
    }
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoFields {}

/// Of method, path and body; how long the client waits is no part of what it asks.
fn fingerprint(method: &Method, path: &str, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [method.as_str().as_bytes(), path.as_bytes()] {
        hash.update(part);
        hash.update([0]);
    }
    hash.update(body);
    hash.finalize().into()
}

/// Decodes strictly; a wrong field is named by its path.
pub fn document<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    if bytes.is_empty() {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "body-missing", "this request needs a JSON body"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(Strict(&mut reader)).map_err(|error| {
        let path = error.path().to_string();
        refused(path, error.inner())
    })?;
    reader.end().map_err(|error| refused(".".to_owned(), &error))?;
    Ok(value)
}

fn refused(path: String, error: &serde_json::Error) -> Refusal {
    // A key without a name has a path without one.
    let path = if path.is_empty() { ".".to_owned() } else { path };
    let text = error.to_string();
    // Its position is no help in a body that a program wrote, but it is where a syntax error is.
    if !error.is_data() {
        return Refusal::new(StatusCode::BAD_REQUEST, "bad-json", format!("the body is no JSON: {text}"));
    }
    let message = text.split(" at line ").next().unwrap_or(&text).to_owned();
    let quoted = || message.split('`').nth(1).unwrap_or_default().to_owned();
    let inside = |field: String| match path.as_str() {
        "." if field.is_empty() => "body".to_owned(),
        "." => field,
        path if path == field || path.ends_with(&format!(".{field}")) => path.to_owned(),
        path => format!("{path}.{field}"),
    };
    if message.starts_with("unknown field") {
        return Refusal::field("unknown-field", inside(quoted()), message);
    }
    if message.starts_with("duplicate field") {
        return Refusal::field("duplicate-field", inside(quoted()), message);
    }
    if message.starts_with("missing field") {
        return Refusal::field("missing-field", inside(quoted()), message);
    }
    let field = if path == "." { "body".to_owned() } else { path };
    Refusal::field("wrong-type", field, message)
}

pub(super) fn key(headers: &HeaderMap) -> Answer<Option<String>> {
    let mut all = headers.get_all("idempotency-key").iter();
    let Some(value) = all.next() else { return Ok(None) };
    let bad = |detail: &str| Err(Refusal::field("bad-idempotency-key", "Idempotency-Key", detail));
    if all.next().is_some() {
        return bad("must be given once");
    }
    match value.to_str() {
        Ok(key) if (1..=KEY_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(Some(key.to_owned()))
        }
        _ => bad("must be 1 to 255 visible ASCII characters"),
    }
}

pub(super) fn json_type(headers: &HeaderMap) -> Answer<()> {
    let told = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?").to_ascii_lowercase());
    let essence = told.as_deref().map(|told| told.split(';').next().unwrap_or_default().trim());
    match essence {
        Some("application/json" | "application/merge-patch+json") => Ok(()),
        Some(other) => Err(unsupported(&format!("the body is {other}"))),
        None => Err(unsupported("the body has no Content-Type")),
    }
}

fn unsupported(detail: &str) -> Refusal {
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", detail).hint("send JSON with Content-Type: application/json")
}

fn too_large() -> Refusal {
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", format!("a body has at most {BODY_MAX} bytes"))
        .hint("for more input to a program in a guest use the WebSocket of exec")
}

/// axum hides the kind of its body errors behind sources.
fn is_too_large(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        cause = error.source();
    }
    false
}
