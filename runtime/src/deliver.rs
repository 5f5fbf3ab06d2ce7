//! Deliveries of webhooks over HTTP: the body, the signature, one POST within its time, and what its end means. Retries are the actors'.
//!
//! Not followed: redirects, proxies of the environment, cookies. The receiver is whom the webhook names or nobody. What a receiver answers
//! is read up to a bound and thrown away; nothing of it and nothing of the URL gets into an error, for both may hold what is no one's business.

mod body;
mod sign;
mod tls;

pub use sign::{SECRET_PREFIX, new_secret, parse_secret, show_secret, signature};

use actors::webhook::{Deliver, Outcome, Post};
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT},
};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use std::{error::Error as _, time::Duration};

/// Idle connections are few and short: a receiver that goes away must not be found out by a delivery.
const IDLE_FOR: Duration = Duration::from_secs(20);
/// More than an honest answer has; the rest is not read.
const ANSWER_MAX: usize = 64 * 1024;

type Https = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The one client of all webhooks.
pub struct Deliverer {
    client: Https,
}

impl Deliverer {
    /// Trusts the certificates that the machine trusts.
    pub fn new() -> Deliverer {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(1)
            .build(tls::connector(tcp));
        Deliverer { client }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Outcome {
        let response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) => return unsent(&error),
        };
        let (status, retry_after_s) = (response.status(), retry_after(&response));
        // To its end, or the connection can't be used again; but what the status said is what counts.
        let rest = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let failed = |code, detail: String| Outcome::Failed { code, detail, status: Some(status.as_u16()), retry_after_s };
        match status {
            StatusCode::GONE => Outcome::Gone,
            status if status.is_success() => match rest {
                Ok(_) => Outcome::Taken { status: status.as_u16() },
                Err(error) if error.downcast_ref::<http_body_util::LengthLimitError>().is_some() => {
                    Outcome::Taken { status: status.as_u16() }
                }
                Err(_) => failed("broken", "the receiver's answer broke off".to_owned()),
            },
            status if status.is_redirection() => failed(
                "redirect",
                format!("the receiver answered {}: redirects are not followed, give its own address", status.as_u16()),
            ),
            status => failed("http-status", format!("the receiver answered {}", status.as_u16())),
        }
    }
}

impl Default for Deliverer {
    fn default() -> Self {
        Deliverer::new()
    }
}

#[async_trait]
impl Deliver for Deliverer {
    async fn post(&self, post: Post) -> Outcome {
        let timeout = post.timeout;
        let request = match request(&post) {
            Ok(request) => request,
            Err(detail) => return Outcome::Failed { code: "request", detail, status: None, retry_after_s: None },
        };
        match tokio::time::timeout(timeout, self.exchange(request)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                let detail = format!("the receiver did not answer within {} s", timeout.as_secs());
                Outcome::Failed { code: "timeout", detail, status: None, retry_after_s: None }
            }
        }
    }
}

fn request(post: &Post) -> Result<Request<Full<Bytes>>, String> {
    let body = body::of(post).map_err(|error| format!("the events can't be written as JSON: {error}"))?;
    let id = body::message_id(post);
    let at_s = post.at.0 / 1_000;
    Request::post(&post.url)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("hearth/", env!("CARGO_PKG_VERSION")))
        .header("webhook-id", &id)
        .header("webhook-timestamp", at_s)
        .header("webhook-signature", signature(&post.secret, &id, at_s, &body))
        .header("hearth-attempt", post.attempt)
        .body(Full::new(body))
        .map_err(|_| "the URL can't be asked".to_owned())
}

/// Seconds; a date is not worth a parser here.
fn retry_after(response: &Response<Incoming>) -> Option<u32> {
    response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

/// Which part failed, in words that name no address.
fn unsent(error: &Error) -> Outcome {
    let failed = |code, detail: String| Outcome::Failed { code, detail, status: None, retry_after_s: None };
    let mut cause = error.source();
    while let Some(found) = cause {
        if let Some(error) = found.downcast_ref::<rustls::Error>() {
            return failed("tls", tls::told(error));
        }
        if let Some(io) = found.downcast_ref::<std::io::Error>() {
            if let Some(error) = tls_in(io) {
                return failed("tls", tls::told(error));
            }
            if error.is_connect() {
                return failed("connect", format!("the receiver can't be reached: {}", io.kind()));
            }
            return failed("broken", format!("the connection broke: {}", io.kind()));
        }
        cause = found.source();
    }
    if error.is_connect() {
        failed("connect", "the receiver can't be reached".to_owned())
    } else {
        failed("broken", "the receiver's answer can't be understood or broke off".to_owned())
    }
}

/// They come wrapped, more than once.
fn tls_in(io: &std::io::Error) -> Option<&rustls::Error> {
    let inner = io.get_ref()?;
    inner.downcast_ref::<rustls::Error>().or_else(|| tls_in(inner.downcast_ref::<std::io::Error>()?))
}

#[cfg(test)]
mod tests;
