//! A refusal on its way out: `application/problem+json` with the request's id. Owns the shape; which error becomes which refusal is said in
//! `command` (commands) and beside each extractor (input).

use super::request_id;
use api::problem::{FieldProblem, MEDIA_TYPE, Problem};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

/// Long enough for a group commit or an actor's restart, short enough that nobody notices.
pub const RETRY_AFTER_S: u32 = 1;

/// A refusal quotes what was wrong, and a body may be a megabyte: more than this of it helps nobody, and the journal keeps refusals.
const DETAIL_MAX: usize = 800;
const FIELD_MAX: usize = 200;

/// At most so many bytes, cut where a character ends.
fn short(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
    text
}

/// What the server answers instead of what was asked.
#[derive(Debug, Clone)]
pub struct Refusal {
    problem: Box<Problem>,
    retry_after_s: Option<u32>,
    /// The resource's generation, for who was refused because of another one.
    etag: Option<u64>,
}

pub type Answer<T = Response> = Result<T, Refusal>;

impl Refusal {
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Refusal {
        let problem = Problem {
            problem_type: "about:blank".to_owned(),
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or("error").to_owned(),
            code: code.to_owned(),
            detail: short(detail.into(), DETAIL_MAX),
            ..Problem::default()
        };
        Refusal { problem: Box::new(problem), retry_after_s: None, etag: None }
    }

    /// 400, naming the field (of the body, the query or the headers).
    pub fn field(code: &str, field: impl Into<String>, detail: impl Into<String>) -> Refusal {
        let (field, detail) = (field.into(), detail.into());
        Refusal::new(StatusCode::BAD_REQUEST, code, format!("{field}: {detail}")).with_field(field, detail)
    }

    pub fn not_found(kind: &str, reference: &str) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, &format!("{kind}-not-found"), format!("there is no {kind} {reference}"))
            .hint(format!("list them with `hearth {kind} ls` or GET /v1/{kind}s"))
    }

    pub fn internal(detail: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
            .hint("this is a bug in hearth: report it with the request's id and the server's log")
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Refusal {
        self.problem.hint = hint.into();
        self
    }

    pub fn with_field(mut self, field: impl Into<String>, detail: impl Into<String>) -> Refusal {
        self.problem
            .fields
            .push(FieldProblem { field: short(field.into(), FIELD_MAX), detail: short(detail.into(), DETAIL_MAX) });
        self
    }

    pub fn retry_after(mut self, seconds: u32) -> Refusal {
        self.retry_after_s = Some(seconds);
        self
    }

    pub fn etag(mut self, generation: u64) -> Refusal {
        self.etag = Some(generation);
        self
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// One that was told before, as it was then.
    pub fn again(problem: Problem) -> Refusal {
        Refusal { problem: Box::new(problem), retry_after_s: None, etag: None }
    }
}

/// What to do when nobody said anything better: every refusal has a hint.
fn usual_hint(status: StatusCode, problem: &Problem) -> &'static str {
    if !problem.fields.is_empty() {
        return "correct what fields names and send it again; /openapi.json describes every field";
    }
    if status.is_server_error() { "try again, then look at the server's log" } else { "/openapi.json describes this request" }
}

impl IntoResponse for Refusal {
    fn into_response(mut self) -> Response {
        self.problem.request_id = request_id::current();
        let status = self.status();
        if self.problem.hint.is_empty() {
            self.problem.hint = usual_hint(status, &self.problem).to_owned();
        }
        let body = serde_json::to_vec(&self.problem).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(generation) = self.etag {
            response.headers_mut().insert(header::ETAG, super::input::etag(generation));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"hearth\""));
        }
        response
    }
}
