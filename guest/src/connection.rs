//! TCP connections to ports of the guest's own loopback, which the host opens for its users: connecting, carrying bytes both ways by credit, and
//! telling how it ended. Each side's end is carried by itself, so that who has said all may still listen.
use crate::{exec::pump, session::Outbox};
use api::guest::{AgentMessage, CONNECT_WITHIN_MS, ErrorCode, FrameKind, GuestError, MAX_REASON, STDIN_WINDOW, credit_cost};
use std::{
    cell::Cell,
    io,
    net::{Ipv4Addr, Ipv6Addr},
    rc::Rc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp::WriteHalf},
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

/// All that a connection's task needs.
pub struct Job {
    pub id: u32,
    pub port: u16,
    pub outbox: Outbox,
    /// What the host still takes of what comes from the port.
    pub credit: Rc<Semaphore>,
    pub input: mpsc::UnboundedReceiver<Vec<u8>>,
    /// What the host may still send.
    pub input_window: Rc<Cell<u32>>,
    pub lost: oneshot::Receiver<()>,
}

/// Runs until both sides have ended, the connection breaks, or nobody on the host wants it any more.
pub async fn run(job: Job) {
    let Job { id, port, outbox, credit, input, input_window, lost } = job;
    let life = async {
        let stream = match open(port).await {
            Ok(stream) => stream,
            Err(error) => return outbox.failed(id, error).await,
        };
        outbox.control(id, &AgentMessage::Connected { credit: STDIN_WINDOW }).await;
        let carried = carry(id, stream, &credit, input, &input_window, &outbox).await;
        let reason = carried.err().map(|error| short(error.to_string()));
        outbox.after_data(id, &AgentMessage::Disconnected { reason }).await;
    };
    tokio::select! {
        () = life => {}
        _ = lost => {}
    }
}

/// IPv4 first; what listens on `::1` alone is found as well.
async fn open(port: u16) -> Result<TcpStream, GuestError> {
    if port == 0 {
        return Err(GuestError::new(ErrorCode::InvalidRequest, "there is no port 0"));
    }
    let opening = async {
        match connect(Ipv4Addr::LOCALHOST, port).await {
            Err(error) => connect(Ipv6Addr::LOCALHOST, port).await.map_err(|_| error),
            opened => opened,
        }
    };
    match timeout(Duration::from_millis(CONNECT_WITHIN_MS), opening).await {
        Ok(Ok(stream)) => {
            // Small pieces of a dialogue must not wait for one another; a kernel that can't is no reason to refuse.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Err(GuestError::new(ErrorCode::ConnectionRefused, format!("nobody listens at port {port} of the guest")))
        }
        Ok(Err(error)) => Err(GuestError::new(ErrorCode::Failed, format!("port {port} of the guest can't be reached: {error}"))),
        Err(_) => {
            let detail = format!("port {port} of the guest did not accept within {CONNECT_WITHIN_MS} ms");
            Err(GuestError::new(ErrorCode::Failed, detail))
        }
    }
}

async fn connect(address: impl Into<std::net::IpAddr>, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((address.into(), port)).await?;
    // The kernel may choose the very port as ours where nobody listens, and connects the socket with itself.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// Returns when both sides have ended, or with what broke the connection.
async fn carry(
    id: u32,
    mut stream: TcpStream,
    credit: &Semaphore,
    input: mpsc::UnboundedReceiver<Vec<u8>>,
    window: &Cell<u32>,
    outbox: &Outbox,
) -> io::Result<()> {
    let (mut reader, writer) = stream.split();
    let sending = async {
        let mut end = Ok(());
        let read = async |buffer: &mut [u8]| match reader.read(buffer).await {
            Ok(got) => Some(got).filter(|got| *got > 0),
            Err(error) => {
                end = Err(error);
                None
            }
        };
        pump::carry(id, FrameKind::Stdout, outbox, credit, read).await;
        if end.is_ok() {
            pump::end(id, FrameKind::Stdout, outbox, credit).await;
        }
        end
    };
    let unwritten = Cell::new(None);
    let taking = async {
        // Whoever takes no more may still have something to say: the reading side finds out.
        unwritten.set(take(id, writer, input, window, outbox).await.err());
        Ok(())
    };
    tokio::try_join!(sending, taking)?;
    unwritten.take().map_or(Ok(()), Err)
}

/// Writes what the host sends and gives the credit back, until the host's end.
async fn take(
    id: u32,
    mut writer: WriteHalf<'_>,
    mut input: mpsc::UnboundedReceiver<Vec<u8>>,
    window: &Cell<u32>,
    outbox: &Outbox,
) -> io::Result<()> {
    while let Some(bytes) = input.recv().await {
        if bytes.is_empty() {
            return writer.shutdown().await;
        }
        writer.write_all(&bytes).await?;
        let cost = credit_cost(bytes.len());
        window.set(window.get().saturating_add(cost));
        outbox.credit(id, cost).await;
    }
    Ok(())
}

fn short(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_REASON));
    text
}
