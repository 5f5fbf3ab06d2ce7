//! The id of the request that the current task answers: taken from `x-request-id` when that is sane, else made. It goes into every
//! problem, every log line and back to the client.

use axum::http::{HeaderMap, HeaderName};

pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Enough for a UUID or a trace id; more would let clients fill our log.
const LONGEST: usize = 64;

tokio::task_local! {
    static CURRENT: String;
}

/// Runs `work` as the answer to the request `id`.
pub async fn scope<F: Future>(id: String, work: F) -> F::Output {
    CURRENT.scope(id, work).await
}

/// Empty outside a request.
pub fn current() -> String {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}

/// The client's own, if it may stand in a log; else a new one.
pub fn of(headers: &HeaderMap) -> String {
    let sane = |text: &&str| {
        (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let theirs = headers.get(HEADER).and_then(|value| value.to_str().ok()).filter(sane);
    theirs.map_or_else(|| format!("req_{:016x}", rand::random::<u64>()), str::to_owned)
}
