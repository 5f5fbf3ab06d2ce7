//! What a client still sends when it is answered early: refused for its token, its path, or its length. Its body is read and thrown away
//! before the answer goes, within bounds. Without this the connection would be closed with bytes unread, which the kernel makes a reset of: the
//! client finds a broken pipe in place of the refusal that says what to do.

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{StatusCode, header},
    middleware::Next,
    response::Response,
};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::oneshot;

/// Whoever sends more than this has not meant our API; the connection is closed on them.
const MOST: u64 = 16 * 1024 * 1024;
/// A client that sends slowly is cut off, as one that sends too much.
const DEADLINE: Duration = Duration::from_secs(5);

pub async fn leftover(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let (keeper, kept) = oneshot::channel();
    // Such a client sends its body only when it is asked to, and reading is what asks.
    let asked = !parts.headers.contains_key(header::EXPECT);
    let body = Body::new(Watched { body, asked, keeper: Some(keeper) });
    let response = next.run(Request::from_parts(parts, body)).await;
    // Who was waited for already is not waited for again.
    if response.status() == StatusCode::REQUEST_TIMEOUT {
        return response;
    }
    // A body that somebody still holds is theirs to read.
    if let Ok(rest) = { kept }.try_recv() {
        let _ = tokio::time::timeout(DEADLINE, discard(rest)).await;
    }
    response
}

async fn discard(mut rest: Body) {
    let mut read = 0;
    while read < MOST
        && let Some(Ok(frame)) = rest.frame().await
    {
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
}

/// A body that comes back when it is dropped before its end.
struct Watched {
    body: Body,
    /// The client sends, or was told to.
    asked: bool,
    keeper: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.asked = true;
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.keeper = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.asked
            && !self.body.is_end_stream()
            && let Some(keeper) = self.keeper.take()
        {
            // Nobody waits when the answer is on its way already.
            let _ = keeper.send(std::mem::take(&mut self.body));
        }
    }
}
