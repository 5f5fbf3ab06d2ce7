//! Sockets of clients, as they are accepted: with sane options, and with a bound on how long what was sent may lie there untaken. A handler may
//! lift the bound ([`Patience`]).

use crate::http::Patience;
use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use nix::sys::socket::{setsockopt, sockopt};
use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

/// What was sent and is not taken by the peer's machine within this time ends the connection: cut cables, frozen readers.
const UNTAKEN: Duration = Duration::from_secs(60);

pub struct Sockets {
    listener: TcpListener,
    untaken: Duration,
}

impl Sockets {
    pub fn of(listener: TcpListener) -> Self {
        Self { listener, untaken: UNTAKEN }
    }
}

impl Listener for Sockets {
    type Io = Socket;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Socket, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        tune(&stream, self.untaken);
        (Socket { stream, patience: Patience::default(), is_patient: false }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Sockets>> for Patience {
    fn connect_info(incoming: IncomingStream<'_, Sockets>) -> Self {
        incoming.io().patience.clone()
    }
}

/// Small frames must leave at once; a failure costs only speed.
fn tune(stream: &TcpStream, untaken: Duration) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY can't be set");
    }
    let set = setsockopt(stream, sockopt::KeepAlive, &true).and_then(|()| limit(stream, untaken));
    if let Err(error) = set {
        tracing::debug!(%error, "the connection's limits can't be set");
    }
}

/// Zero: the kernel's own, which waits for a peer that takes nothing for as long as it answers.
fn limit(stream: &TcpStream, untaken: Duration) -> nix::Result<()> {
    setsockopt(stream, sockopt::TcpUserTimeout, &u32::try_from(untaken.as_millis()).unwrap_or(u32::MAX))
}

pub struct Socket {
    stream: TcpStream,
    patience: Patience,
    is_patient: bool,
}

impl Socket {
    /// The stream, with what was asked for it.
    fn stream(&mut self) -> Pin<&mut TcpStream> {
        if !self.is_patient && self.patience.is_asked() {
            self.is_patient = true;
            if let Err(error) = limit(&self.stream, Duration::ZERO) {
                tracing::debug!(%error, "the connection's limit can't be lifted");
            }
        }
        Pin::new(&mut self.stream)
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, body::Body, routing::get};
    use bytes::Bytes;
    use futures_util::{StreamExt, stream};
    use std::{convert::Infallible, sync::Arc, sync::Mutex};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpSocket,
        sync::oneshot,
        time::timeout,
    };

    const MUCH: usize = 64 << 20;
    const CHUNK: &[u8] = &[7; 1 << 16];

    /// A long body; `guard` goes with it, when all was sent or the connection is given up.
    fn much(guard: Option<oneshot::Sender<Infallible>>) -> Body {
        let chunks = stream::iter((0..MUCH / CHUNK.len()).map(|_| Ok::<_, Infallible>(Bytes::from_static(CHUNK))));
        Body::from_stream(chunks.inspect(move |_| {
            let _held = &guard;
        }))
    }

    /// A client that has asked, and takes nothing yet.
    async fn asked(address: SocketAddr, path: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        // A small window, so that it is full at once; but of more than a segment of the loopback, or the kernel opens it again by late probes alone.
        socket.set_recv_buffer_size(256 * 1024).unwrap();
        let mut client = socket.connect(address).await.unwrap();
        client.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        client.peek(&mut [0]).await.unwrap();
        client
    }

    /// How much there is to take now.
    async fn got(mut client: TcpStream) -> usize {
        let mut all = Vec::new();
        let _broken = timeout(Duration::from_secs(60), client.read_to_end(&mut all)).await.expect("it ends");
        all.len()
    }

    #[tokio::test]
    async fn who_takes_nothing_is_cut_off_unless_a_handler_is_patient() {
        let sockets = Sockets { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), untaken: Duration::from_secs(1) };
        let address = sockets.local_addr().unwrap();
        let (guard, mut cut) = oneshot::channel();
        let guard = Arc::new(Mutex::new(Some(guard)));
        let patient = async |patience: Patience| {
            patience.ask();
            much(None)
        };
        let not = async move || much(guard.lock().unwrap().take());
        let router = Router::new().route("/patient", get(patient)).route("/not", get(not));
        let service = router.into_make_service_with_connect_info::<Patience>();
        let server = tokio::spawn(async move { axum::serve(sockets, service).await });
        let patient = asked(address, "/patient").await;
        let not = asked(address, "/not").await;
        // The younger of the two is given up: so long the older was waited for as well.
        assert!(timeout(Duration::from_secs(60), &mut cut).await.expect("never cut off").is_err());
        let (patient, not) = (got(patient).await, got(not).await);
        server.abort();
        assert!(patient > MUCH, "all of it, and the head: {patient}");
        assert!(not < MUCH, "{not}");
    }
}
