//! One request and its answer on Firecracker's API socket, each on a connection of its own: a process that hangs, talks nonsense or goes away in
//! the middle costs one exchange, and the next begins clean. Firecracker handles one request at a time anyway.

use super::{ApiError, Invalid};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, StatusCode,
    client::conn::http1,
    header::{ACCEPT, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::net::UnixStream;

/// The longest answer is that of `/mmds` (51,200 bytes unless the process was told otherwise) or `/vm/config`; and a bound on what a broken
/// process may make us hold.
const MOST_ANSWER: usize = 1 << 20;

/// Where a process's API is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Socket(Arc<Path>);

/// One request.
pub(super) struct Call {
    /// For errors: what was asked for, as in the API document.
    pub name: &'static str,
    pub method: Method,
    pub path: String,
    pub deadline: Duration,
}

impl Socket {
    /// `path`: at most 107 bytes, as every socket's; go through `/proc/self/fd` for a longer one.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path.into())
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Says it and reads the answer, which is JSON. Cancel: it may have taken effect.
    pub(super) async fn ask<T: DeserializeOwned>(&self, call: &Call, body: Option<Bytes>) -> Result<T, ApiError> {
        let answer = self.within(call, body).await?;
        serde_json::from_slice(&answer).map_err(|error| ApiError::Garbled { call: call.name, detail: error.to_string() })
    }

    /// Says it; the answer has no content.
    pub(super) async fn tell(&self, call: &Call, body: Option<Bytes>) -> Result<(), ApiError> {
        self.within(call, body).await.map(drop)
    }

    async fn within(&self, call: &Call, body: Option<Bytes>) -> Result<Bytes, ApiError> {
        let after_ms = u64::try_from(call.deadline.as_millis()).unwrap_or(u64::MAX);
        tokio::time::timeout(call.deadline, self.exchange(call, body))
            .await
            .unwrap_or(Err(ApiError::Timeout { call: call.name, after_ms }))
    }

    async fn exchange(&self, call: &Call, body: Option<Bytes>) -> Result<Bytes, ApiError> {
        let stream = UnixStream::connect(&*self.0).await.map_err(ApiError::Unreachable)?;
        let broken = |error| broken(call.name, &error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let request =
            Request::builder().method(&call.method).uri(&call.path).header(HOST, "localhost").header(ACCEPT, "application/json");
        let request = match &body {
            Some(_) => request.header(CONTENT_TYPE, "application/json"),
            None => request,
        };
        let request = request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|error| ApiError::Garbled { call: call.name, detail: error.to_string() })?;
        let asked = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MOST_ANSWER).collect().await;
            let body = body.map_err(|error| too_long_or_broken(call.name, &*error))?.to_bytes();
            Ok::<_, ApiError>((status, body))
        };
        // The connection's end says less than what was read before it.
        let (status, body) = tokio::select! {
            biased;
            asked = asked => asked?,
            // A connection that ended well has answered: `asked` sees it at the next turn, which only happens when it was not ready yet.
            Err(error) = connection => return Err(broken(error)),
        };
        if status.is_success() {
            return Ok(body);
        }
        Err(refusal(call.name, status, &body))
    }
}

/// `{"fault_message": "…"}`; whatever else is shown as it is.
fn refusal(call: &'static str, status: StatusCode, body: &[u8]) -> ApiError {
    #[derive(serde::Deserialize)]
    struct Fault {
        fault_message: String,
    }
    match serde_json::from_slice::<Fault>(body) {
        Ok(fault) => ApiError::Refused { call, fault: fault.fault_message },
        Err(_) => ApiError::Garbled { call, detail: format!("{status} without a fault message") },
    }
}

fn broken(call: &'static str, error: &hyper::Error) -> ApiError {
    let ended = || {
        let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
        source.is_some_and(|source| {
            matches!(source.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof)
        })
    };
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() || ended() {
        ApiError::Closed { call }
    } else {
        ApiError::Garbled { call, detail: error.to_string() }
    }
}

fn too_long_or_broken(call: &'static str, error: &(dyn std::error::Error + Send + Sync + 'static)) -> ApiError {
    match error.downcast_ref::<hyper::Error>() {
        Some(error) => broken(call, error),
        None if error.is::<LengthLimitError>() => ApiError::Garbled { call, detail: format!("longer than {MOST_ANSWER} bytes") },
        None => ApiError::Garbled { call, detail: error.to_string() },
    }
}

/// A body of JSON; fails for a path that is no text.
pub(super) fn json(call: &'static str, body: &impl Serialize) -> Result<Bytes, Invalid> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|error| Invalid::NoText { call, detail: error.to_string() })
}
