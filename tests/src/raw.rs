//! Requests as a stranger makes them: any method, any body, any header; for what the typed client would never send.

use crate::Server;
use anyhow::{Context, Result, ensure};
use api::problem::{MEDIA_TYPE, Problem};
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::Value;
use std::time::Duration;

/// Longer than any `?wait=` that the suites ask for.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// A request to be sent.
pub struct Raw {
    builder: reqwest::RequestBuilder,
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Raw {
    /// With the token, without a body.
    pub fn new(server: &Server, method: Method, path: &str) -> Result<Raw> {
        let raw = Raw::anonymous(server, method, path)?;
        Ok(Raw { builder: raw.builder.bearer_auth(server.token()?) })
    }

    pub fn anonymous(server: &Server, method: Method, path: &str) -> Result<Raw> {
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?;
        Ok(Raw { builder: http.request(method, format!("{}{path}", server.url())) })
    }

    pub fn json(self, body: &Value) -> Raw {
        self.text("application/json", body.to_string())
    }

    pub fn text(self, content_type: &str, body: impl Into<reqwest::Body>) -> Raw {
        Raw { builder: self.builder.header("content-type", content_type).body(body) }
    }

    pub fn header(self, name: &str, value: &str) -> Raw {
        Raw { builder: self.builder.header(name, value) }
    }

    pub async fn send(self) -> Result<Answer> {
        let response = self.builder.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { status, headers, body: response.bytes().await?.to_vec() })
    }

    /// The response whose body is a stream.
    pub async fn stream(self) -> Result<reqwest::Response> {
        Ok(self.builder.send().await?.error_for_status()?)
    }
}

impl Answer {
    pub fn value(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| String::from_utf8_lossy(&self.body).into_owned())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Holds it to what every refusal promises, and gives the problem.
    pub fn problem(&self, status: u16, code: &str) -> Result<Problem> {
        ensure!(self.status == status, "{} instead of {status} {code}: {}", self.status, self.text());
        let media = self.headers.get("content-type").and_then(|value| value.to_str().ok());
        ensure!(media == Some(MEDIA_TYPE), "the refusal {code} is {media:?}");
        let problem: Problem = serde_json::from_slice(&self.body).with_context(|| self.text())?;
        ensure!(problem.code == code, "the code is {} instead of {code}: {}", problem.code, self.text());
        ensure!(problem.status == status, "the document says {} with {status}", problem.status);
        ensure!(!problem.detail.is_empty(), "{code} without a detail");
        ensure!(!problem.hint.is_empty(), "{code} without a hint: {}", self.text());
        ensure!(!problem.request_id.is_empty(), "{code} without a request id");
        Ok(problem)
    }
}
