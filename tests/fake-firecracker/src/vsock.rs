//! The host's end of a guest's vsock: `CONNECT port\n` is answered by `OK hostport\n`, and from then on by whatever listens at that port. Here that
//! is an echo at [`ECHO_PORT`]; at any other port nobody listens, and the connection ends without a word, as Firecracker's does.

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
};

/// The one port at which someone listens.
pub const ECHO_PORT: u32 = 7;
/// `CONNECT 4294967295\n`; what is longer is no request.
const LONGEST: u64 = 32;
/// The first port that the host's side is given.
const FIRST_HOST_PORT: u32 = 1 << 30;

/// Serves the socket until the process ends.
pub async fn serve(listener: UnixListener) -> std::io::Result<()> {
    let mut host_port = FIRST_HOST_PORT;
    loop {
        let (stream, _) = listener.accept().await?;
        // One after another is enough for a test, but a connection that stays open must not keep out the next.
        tokio::spawn(connection(stream, host_port));
        host_port += 1;
    }
}

async fn connection(stream: UnixStream, host_port: u32) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    let read = (&mut stream).take(LONGEST).read_line(&mut line).await;
    let port = line.strip_prefix("CONNECT ").and_then(|rest| rest.strip_suffix('\n')).and_then(|port| port.parse::<u32>().ok());
    if read.is_err() || port != Some(ECHO_PORT) {
        return;
    }
    let (mut reader, mut writer) = tokio::io::split(stream);
    if writer.write_all(format!("OK {host_port}\n").as_bytes()).await.is_ok() {
        // The other side's end is the end.
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    }
}
