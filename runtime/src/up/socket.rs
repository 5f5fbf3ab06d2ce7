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
    use futures_util::stream;
    use std::convert::Infallible;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpSocket,
        time::timeout,
    };

    const MUCH: usize = 64 << 20;
    const CHUNK: &[u8] = &[7; 1 << 16];

    fn much() -> Body {
        Body::from_stream(stream::iter((0..MUCH / CHUNK.len()).map(|_| Ok::<_, Infallible>(Bytes::from_static(CHUNK)))))
    }

    /// How much arrives at a reader that takes nothing for so long.
    async fn got(path: &str, still: Duration) -> usize {
        let sockets = Sockets { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), untaken: Duration::from_secs(1) };
        let address = sockets.local_addr().unwrap();
        let patient = async |patience: Patience| {
            patience.ask();
            much()
        };
        let router = Router::new().route("/patient", get(patient)).route("/not", get(async || much()));
        let service = router.into_make_service_with_connect_info::<Patience>();
        let server = tokio::spawn(async move { axum::serve(sockets, service).await });
        let socket = TcpSocket::new_v4().unwrap();
        // A small window, so that it is full at once; but of more than a segment of the loopback, or the kernel opens it again by late probes alone.
        socket.set_recv_buffer_size(256 * 1024).unwrap();
        let mut client = socket.connect(address).await.unwrap();
        client.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        // The lapse is what is tried.
        tokio::time::sleep(still).await;
        let mut all = Vec::new();
        let _broken = timeout(Duration::from_secs(60), client.read_to_end(&mut all)).await.expect("it ends");
        server.abort();
        all.len()
    }

    #[tokio::test]
    async fn who_takes_nothing_is_cut_off_unless_a_handler_is_patient() {
        let still = Duration::from_secs(4);
        let (patient, not) = tokio::join!(got("/patient", still), got("/not", still));
        assert!(patient > MUCH, "all of it, and the head: {patient}");
        assert!(not < MUCH, "{not}");
    }
}
