//! Requests and answers: addresses, the token, retries, problems. Knows no resource.
//!
//! A GET, and a POST (which carries an idempotency key, made once per call), is sent again when the connection broke. PATCH and DELETE are
//! sent again only if they certainly never arrived.

use super::error::{ClientError, root_cause};
use super::limits::{ATTEMPTS, CONNECT_TIMEOUT, MAX_BODY_BYTES, MAX_WAIT_S, REQUEST_TIMEOUT, RETRY_PAUSE};
use super::wait::{Accepted, Options};
use crate::problem::Problem;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, IF_MATCH, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How many characters of an answer that is no problem document are quoted.
const QUOTE_CHARS: usize = 200;

/// A handle on one server. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<HeaderValue>,
}

/// One request before it is sent.
pub(super) struct Request<'a> {
    pub method: Method,
    pub url: Url,
    pub body: Option<serde_json::Value>,
    pub options: &'a Options,
    /// How long the answer may take.
    pub timeout: Duration,
}

impl Client {
    /// `base_url` such as `http://127.0.0.1:18080`; a path in it is kept as a prefix.
    pub fn new(base_url: &str, token: Option<&str>) -> Result<Client, ClientError> {
        let address = |detail: &str| ClientError::Address { url: base_url.to_owned(), detail: detail.to_owned() };
        let base = Url::parse(base_url).map_err(|error| address(&error.to_string()))?;
        match base.scheme() {
            "http" => {}
            "https" => return Err(address("this build speaks plain http; put a TLS tunnel or proxy in front")),
            _ => return Err(address("it must begin with http://")),
        }
        if base.host_str().is_none_or(str::is_empty) {
            return Err(address("it names no host"));
        }
        let token = token.map(bearer).transpose()?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("hearth/", env!("CARGO_PKG_VERSION")))
            // Proxies of the environment are for the internet; a token must not go through them by accident.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| address(&root_cause(&error)))?;
        Ok(Client { http, base, token })
    }

    pub fn base_url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The address of a path made of `segments`, each escaped; an empty one, `.` and `..` would name something else and are refused.
    pub(super) fn url(&self, segments: &[&str]) -> Result<Url, ClientError> {
        let mut url = self.base.clone();
        {
            let mut path = url
                .path_segments_mut()
                .map_err(|()| ClientError::Address { url: self.base.to_string(), detail: "it cannot have a path".to_owned() })?;
            path.pop_if_empty();
            for segment in segments {
                if matches!(*segment, "" | "." | "..") {
                    return Err(ClientError::Name { name: (*segment).to_owned() });
                }
                path.push(segment);
            }
        }
        url.set_query(None);
        Ok(url)
    }

    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        self.token.clone()
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, ClientError> {
        let response = self.send(Request::new(Method::GET, url, None, &Options::default())).await?;
        decode(response).await
    }

    /// A GET whose body is read by the caller, for as long as it takes.
    pub(super) async fn get_stream(&self, url: Url) -> Result<Response, ClientError> {
        let mut request = self.http.get(url.clone());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        // Only the head has a deadline here: the body of a stream ends when it ends.
        let response = tokio::time::timeout(REQUEST_TIMEOUT, request.send())
            .await
            .map_err(|_elapsed| ClientError::Timeout { url: shown(&url), after: REQUEST_TIMEOUT })?
            .map_err(|error| unsent(&url, REQUEST_TIMEOUT, error))?;
        if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
    }

    /// A change that may be answered by 202 and an operation.
    pub(super) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: Option<serde_json::Value>,
        options: &Options,
    ) -> Result<Accepted<T>, ClientError> {
        let response = self.send(Request::new(method, url, body, options)).await?;
        let operation = match response.status() {
            StatusCode::ACCEPTED => response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).and_then(last_segment),
            _ => None,
        };
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(Accepted { resource: None, operation });
        }
        Ok(Accepted { resource: Some(decode(response).await?), operation })
    }

    pub(super) async fn send(&self, request: Request<'_>) -> Result<Response, ClientError> {
        let key = (request.method == Method::POST)
            .then(|| request.options.idempotency_key.clone().unwrap_or_else(|| ulid::Ulid::new().to_string()));
        let mut pause = RETRY_PAUSE;
        for attempt in 1.. {
            match self.send_once(&request, key.as_deref()).await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => return Err(refused(response).await),
                Err(error) if attempt < ATTEMPTS && may_repeat(&request.method, &error) => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(error) => return Err(unsent(&request.url, request.timeout, error)),
            }
        }
        // The loop above has no other end.
        Err(ClientError::Timeout { url: shown(&request.url), after: request.timeout })
    }

    async fn send_once(&self, request: &Request<'_>, key: Option<&str>) -> Result<Response, reqwest::Error> {
        let mut url = request.url.clone();
        if let Some(wait_s) = request.options.wait_s {
            url.query_pairs_mut().append_pair("wait", &wait_s.min(MAX_WAIT_S).to_string());
        }
        let mut builder =
            self.http.request(request.method.clone(), url).timeout(request.timeout).header(ACCEPT, "application/json");
        if let Some(token) = &self.token {
            builder = builder.header(AUTHORIZATION, token);
        }
        if let Some(key) = key {
            builder = builder.header("idempotency-key", key);
        }
        if let Some(generation) = request.options.if_match {
            builder = builder.header(IF_MATCH, format!("\"{generation}\""));
        }
        if let Some(body) = &request.body {
            builder = builder.json(body);
        }
        builder.send().await
    }
}

impl<'a> Request<'a> {
    pub fn new(method: Method, url: Url, body: Option<serde_json::Value>, options: &'a Options) -> Request<'a> {
        let wait = options.wait_s.unwrap_or(0).min(MAX_WAIT_S);
        Request { method, url, body, options, timeout: REQUEST_TIMEOUT + Duration::from_secs(u64::from(wait)) }
    }
}

/// A request body; our own types always serialise.
pub(super) fn json<T: Serialize>(value: &T) -> Option<serde_json::Value> {
    Some(serde_json::to_value(value).expect("request types are maps with string keys"))
}

pub(super) async fn decode<T: DeserializeOwned>(response: Response) -> Result<T, ClientError> {
    let url = shown(response.url());
    let bytes = body(response).await?;
    serde_json::from_slice(&bytes).map_err(|error| ClientError::Protocol { url, detail: error.to_string() })
}

/// The error that an answer of 300 and above tells.
pub(super) async fn refused(response: Response) -> ClientError {
    let status = response.status();
    let url = shown(response.url());
    match body(response).await {
        Ok(bytes) => problem_of(&url, status.as_u16(), &bytes),
        Err(error) => error,
    }
}

pub(super) fn problem_of(url: &str, status: u16, body: &[u8]) -> ClientError {
    match serde_json::from_slice::<Problem>(body) {
        Ok(mut problem) => {
            problem.status = status;
            ClientError::Problem(Box::new(problem))
        }
        Err(_) => {
            let quote: String = String::from_utf8_lossy(body).trim().chars().take(QUOTE_CHARS).collect();
            let detail = if quote.is_empty() { format!("status {status}") } else { format!("status {status}: {quote}") };
            ClientError::Protocol { url: url.to_owned(), detail }
        }
    }
}

async fn body(mut response: Response) -> Result<Vec<u8>, ClientError> {
    let url = shown(response.url());
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > MAX_BODY_BYTES => {
                return Err(ClientError::Protocol { url, detail: format!("the answer is larger than {MAX_BODY_BYTES} bytes") });
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Ok(bytes),
            Err(error) => return Err(ClientError::Lost { url, reason: root_cause(&error) }),
        }
    }
}

fn bearer(token: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim())).map_err(|_invalid| ClientError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

fn may_repeat(method: &Method, error: &reqwest::Error) -> bool {
    if error.is_timeout() {
        return false;
    }
    error.is_connect() || (error.is_request() && (method == Method::GET || method == Method::POST))
}

fn unsent(url: &Url, after: Duration, error: reqwest::Error) -> ClientError {
    if error.is_timeout() && !error.is_connect() {
        return ClientError::Timeout { url: shown(url), after };
    }
    let detail = if error.is_timeout() { "no connection in time".to_owned() } else { root_cause(&error) };
    ClientError::Connect { url: origin(url), detail, source: Box::new(error) }
}

/// An address without its query, which may hold what nobody wants to read.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

/// Scheme, host and port: what somebody who cannot connect got wrong.
pub(super) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn last_segment(location: &str) -> Option<String> {
    location.rsplit('/').next().filter(|id| !id.is_empty()).map(str::to_owned)
}
