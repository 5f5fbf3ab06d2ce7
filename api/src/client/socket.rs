//! One WebSocket to the server: opening it with the token, keeping it alive, noticing that it died. Knows no messages.
//!
//! Writing happens in a task of its own behind a bounded queue, so that a reader never waits for a writer: a guest that sends before it
//! reads cannot lock both sides. The task ends with its queue or its connection, and says goodbye if it still can.

use super::error::{ClientError, root_cause};
use super::http::{Client, origin, problem_of, shown};
use super::limits::{CLOSE_TIMEOUT, CONNECT_TIMEOUT, IDLE_TIMEOUT, MAX_MESSAGE_BYTES, PING_EVERY, REQUEST_TIMEOUT, SEND_QUEUE};
use crate::problem::Problem;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use reqwest::Url;
use reqwest::header::AUTHORIZATION;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// A close code of 4400 to 4599 is an HTTP status plus 4000: a refusal that came after the handshake.
const CLOSE_BASE: u16 = 4000;
/// 4408 is left out: it tells a reader that fell behind, who may connect again.
const REFUSALS: [std::ops::RangeInclusive<u16>; 2] = [4400..=4407, 4409..=4599];

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What the server sent.
#[derive(Debug)]
pub(super) enum Frame {
    Text(String),
    Binary(Bytes),
}

pub(super) struct Socket {
    frames: SplitStream<Stream>,
    sender: SocketSender,
    url: String,
}

/// The writing side; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct SocketSender {
    queue: mpsc::Sender<Message>,
    url: String,
}

impl Socket {
    pub async fn open(client: &Client, url: Url) -> Result<Socket, ClientError> {
        let name = shown(&url);
        let mut ws = url.clone();
        // Only fails for schemes that cannot be a base, and the client checked that it is http.
        let _ = ws.set_scheme("ws");
        let mut request = ws
            .as_str()
            .into_client_request()
            .map_err(|error| ClientError::Address { url: name.clone(), detail: error.to_string() })?;
        if let Some(token) = client.authorization() {
            request.headers_mut().insert(AUTHORIZATION, token);
        }
        let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE_BYTES)).max_frame_size(Some(MAX_MESSAGE_BYTES));
        let opening = connect_async_with_config(request, Some(config), true);
        let deadline = CONNECT_TIMEOUT + REQUEST_TIMEOUT;
        let (stream, _response) = tokio::time::timeout(deadline, opening)
            .await
            .map_err(|_elapsed| ClientError::Timeout { url: name.clone(), after: deadline })?
            .map_err(|error| unopened(&url, error))?;
        let (sink, frames) = stream.split();
        let (queue, queued) = mpsc::channel(SEND_QUEUE);
        tokio::spawn(write(sink, queued));
        Ok(Socket { frames, sender: SocketSender { queue, url: name.clone() }, url: name })
    }

    pub fn sender(&self) -> SocketSender {
        self.sender.clone()
    }

    /// The next frame, or `None` after an orderly end. Cancel: nothing is lost.
    pub async fn next(&mut self) -> Result<Option<Frame>, ClientError> {
        loop {
            let message = match tokio::time::timeout(IDLE_TIMEOUT, self.frames.next()).await {
                Err(_elapsed) => return Err(self.lost("the server does not answer any more")),
                Ok(None) => return Err(self.lost("it was closed without a goodbye")),
                Ok(Some(Err(Error::ConnectionClosed | Error::AlreadyClosed))) => return Ok(None),
                Ok(Some(Err(error))) => return Err(self.lost(&root_cause(&error))),
                Ok(Some(Ok(message))) => message,
            };
            match message {
                Message::Text(text) => return Ok(Some(Frame::Text(text.as_str().to_owned()))),
                Message::Binary(bytes) => return Ok(Some(Frame::Binary(bytes))),
                Message::Close(None) => return Ok(None),
                Message::Close(Some(close)) if close.code == CloseCode::Normal => return Ok(None),
                Message::Close(Some(close)) if REFUSALS.iter().any(|codes| codes.contains(&u16::from(close.code))) => {
                    return Err(self.refused(u16::from(close.code) - CLOSE_BASE, close.reason.as_str()));
                }
                Message::Close(Some(close)) if close.reason.is_empty() => {
                    return Err(self.lost(&format!("closed with {}", close.code)));
                }
                Message::Close(Some(close)) => return Err(self.lost(close.reason.as_str())),
                // Answered by the library; here they only prove that the other side lives.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// A frame that this kind of stream does not have.
    pub fn unexpected(&self, detail: String) -> ClientError {
        ClientError::Protocol { url: self.url.clone(), detail }
    }

    fn refused(&self, status: u16, detail: &str) -> ClientError {
        let problem = Problem {
            problem_type: "about:blank".to_owned(),
            status,
            title: "refused".to_owned(),
            code: "refused".to_owned(),
            detail: detail.to_owned(),
            ..Problem::default()
        };
        ClientError::Problem(Box::new(problem))
    }

    /// A stream that ended before it was done.
    pub fn lost(&self, reason: &str) -> ClientError {
        ClientError::Lost { url: self.url.clone(), reason: reason.to_owned() }
    }
}

impl SocketSender {
    /// Waits while the queue is full. Errors: the connection is gone.
    pub async fn send(&self, frame: Frame) -> Result<(), ClientError> {
        let message = match frame {
            Frame::Text(text) => Message::Text(text.into()),
            Frame::Binary(bytes) => Message::Binary(bytes),
        };
        self.queue
            .send(message)
            .await
            .map_err(|_closed| ClientError::Lost { url: self.url.clone(), reason: "it is closed".to_owned() })
    }
}

async fn write(mut sink: SplitSink<Stream, Message>, mut queued: mpsc::Receiver<Message>) {
    let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING_EVERY, PING_EVERY);
    loop {
        let message = tokio::select! {
            next = queued.recv() => match next {
                Some(message) => message,
                None => break,
            },
            _ = ping.tick() => Message::Ping(Bytes::new()),
        };
        if sink.send(message).await.is_err() {
            // The reader meets the same end and reports it.
            return;
        }
    }
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, sink.close()).await;
}

fn unopened(url: &Url, error: Error) -> ClientError {
    match error {
        Error::Http(response) => {
            problem_of(&shown(url), response.status().as_u16(), response.body().as_deref().unwrap_or_default())
        }
        Error::Io(_) => ClientError::Connect { url: origin(url), detail: root_cause(&error), source: Box::new(error) },
        error => ClientError::Protocol { url: shown(url), detail: error.to_string() },
    }
}
