//! The API's socket: one request after another, each answered by the machine or by a fault.

use crate::{
    document::Document,
    fault::{Fault, Kind},
    machine::{Answer, Machine},
    vsock,
};
use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, fs::File, io::Write, path::Path, sync::Arc};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
    sync::Mutex,
};

/// What Firecracker ends with after a snapshot that it could not load.
const FATAL: i32 = 1;

struct State {
    document: Document,
    machine: Mutex<Machine>,
    fault: Option<Fault>,
    /// Beside the socket: the operations that were asked for, as the document calls them.
    requests: Mutex<File>,
}

/// Until the process ends.
pub async fn serve(socket: &Path, machine: Machine, document: Document, fault: Option<Fault>) -> Result<()> {
    let listener = UnixListener::bind(socket).with_context(|| format!("{}", socket.display()))?;
    let requests = Mutex::new(File::create(socket.with_extension("requests"))?);
    let state = Arc::new(State { document, machine: Mutex::new(machine), fault, requests });
    // For who started it: connecting succeeds from here on.
    writeln!(std::io::stdout(), "listening")?;
    loop {
        let (stream, _) = listener.accept().await?;
        // Firecracker too takes up to ten connections and one request of them at a time.
        tokio::spawn(connection(stream, Arc::clone(&state)));
    }
}

async fn connection(stream: UnixStream, state: Arc<State>) {
    // hyper has the stream while it serves; a fault writes past it, on a second handle.
    let Ok(raw) = stream.into_std() else { return };
    let (Ok(raw), Ok(stream)) = (raw.try_clone(), UnixStream::from_std(raw)) else { return };
    let raw = Arc::new(raw);
    let service = service_fn(move |request| answer(request, Arc::clone(&state), Arc::clone(&raw)));
    // A client that goes away is none of the process's business.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<State>,
    raw: Arc<std::os::unix::net::UnixStream>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let fault = state.fault.as_ref().filter(|fault| fault.request == format!("{method} {path}")).map(|fault| fault.kind);
    if let Some(operation) = state.document.operation(&method, &path) {
        let _ = writeln!(state.requests.lock().await, "{method} {}", operation.template);
    }
    let mut machine = state.machine.lock().await;
    if let Some(kind) = fault
        && !matches!(kind, Kind::Swallow | Kind::Flood)
    {
        return Ok(instead(kind, &raw).await);
    }
    let answer = machine.request(&state.document, &method, &path, &body);
    if let Some(path) = &answer.vsock {
        // Bound before the answer: who hears "started" may connect.
        let Ok(listener) = UnixListener::bind(path) else {
            // As the real one, which ends when it can't build the machine that it has begun.
            std::process::exit(FATAL);
        };
        tokio::spawn(vsock::serve(listener));
    }
    if answer.fatal {
        // Not even the answer is sure to arrive, as with the real one.
        std::process::exit(FATAL);
    }
    if fault == Some(Kind::Swallow) {
        close(&raw);
    }
    if fault == Some(Kind::Flood) {
        std::thread::spawn(flood);
    }
    Ok(response(answer))
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let body = answer.body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = answer.status.try_into().unwrap_or_default();
    response
}

fn close(raw: &std::os::unix::net::UnixStream) {
    let _ = raw.shutdown(std::net::Shutdown::Both);
}

/// The bad days. Those that write do so past hyper, whose own answer then finds the connection closed.
async fn instead(kind: Kind, raw: &std::os::unix::net::UnixStream) -> Response<Full<Bytes>> {
    let said = |text: &str| {
        let mut raw = raw;
        let _ = raw.write_all(text.as_bytes());
    };
    match kind {
        Kind::Hang => std::future::pending().await,
        Kind::Garbage => said("\0\x01\x02 this is no HTTP\r\n\r\n"),
        Kind::NoJson => return Response::new(Full::new("<html>".into())),
        Kind::Endless => endless(raw).await,
        Kind::Cut => said("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\":"),
        Kind::Exit => std::process::exit(FATAL),
        Kind::Internal => {
            let mut response = Response::new(Full::new("<h1>Internal</h1>".into()));
            *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
            return response;
        }
        Kind::Refuse => return refused("Internal Vmm error: No such device"),
        Kind::Full => return refused("Create snapshot error: Cannot dump memory: No space left on device (os error 28)"),
        Kind::Close | Kind::Swallow | Kind::Flood => {}
    }
    close(raw);
    Response::new(Full::default())
}

fn refused(fault: &str) -> Response<Full<Bytes>> {
    response(Answer { status: 400, body: Some(serde_json::json!({ "fault_message": fault })), fatal: false, vsock: None })
}

/// Lines of 64 bytes, and at the end one that says so.
fn flood() {
    let mut out = std::io::stdout().lock();
    let line = format!("{}\n", "x".repeat(63)).repeat(1024);
    let mut written = Ok(());
    for _part in 0..1024 {
        written = written.and_then(|()| out.write_all(line.as_bytes()));
    }
    let _ = written.and_then(|()| out.write_all(b"the end of it\n")).and_then(|()| out.flush());
}

/// Until the other side has had enough.
async fn endless(raw: &std::os::unix::net::UnixStream) {
    let Ok(stream) = raw.try_clone().and_then(UnixStream::from_std) else { return };
    let mut stream = stream;
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut sent = stream.write_all(head).await;
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    while sent.is_ok() {
        sent = stream.write_all(chunk.as_bytes()).await;
    }
}
