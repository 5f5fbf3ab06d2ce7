//! A connection from the host to a port of a guest's vsock, through Firecracker's socket: `CONNECT port\n`, then `OK hostport\n`, then the stream.
//! Nobody at that port, and a guest without a driver, look alike: Firecracker ends the connection without a word.

use std::{io, path::Path, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

/// `OK 4294967295\n`.
const LONGEST_ANSWER: usize = 14;

#[derive(Debug, thiserror::Error)]
pub enum VsockError {
    #[error("the socket of the guest's vsock can't be reached")]
    Unreachable(#[source] io::Error),
    #[error("nobody listens at port {port} of the guest's vsock")]
    NobodyListens { port: u32 },
    #[error("port {port} of the guest's vsock did not answer within {after_ms} ms")]
    Timeout { port: u32, after_ms: u64 },
    #[error("the answer to CONNECT is none: {answer:?}")]
    Garbled { answer: String },
}

/// Connects to `port` of the guest. Cancel: the guest may see a connection that ends at once.
pub async fn connect(socket: &Path, port: u32, deadline: Duration) -> Result<UnixStream, VsockError> {
    let after_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    tokio::time::timeout(deadline, handshake(socket, port)).await.unwrap_or(Err(VsockError::Timeout { port, after_ms }))
}

async fn handshake(socket: &Path, port: u32) -> Result<UnixStream, VsockError> {
    let mut stream = UnixStream::connect(socket).await.map_err(VsockError::Unreachable)?;
    // An end here is Firecracker's "no", whichever of the two calls sees it first.
    let nobody = |_| VsockError::NobodyListens { port };
    stream.write_all(format!("CONNECT {port}\n").as_bytes()).await.map_err(nobody)?;
    let mut answer = Vec::with_capacity(LONGEST_ANSWER);
    // By the byte: what follows the line is the guest's already, and belongs to whoever reads the stream.
    while answer.last() != Some(&b'\n') && answer.len() < LONGEST_ANSWER {
        answer.push(stream.read_u8().await.map_err(nobody)?);
    }
    if accepted(&answer) {
        Ok(stream)
    } else {
        Err(VsockError::Garbled { answer: String::from_utf8_lossy(&answer).into_owned() })
    }
}

fn accepted(answer: &[u8]) -> bool {
    let port = answer.strip_prefix(b"OK ").and_then(|rest| rest.strip_suffix(b"\n"));
    port.and_then(|port| std::str::from_utf8(port).ok()).is_some_and(|port| port.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    /// Firecracker as far as CONNECT goes: answers with `said`, then ends.
    async fn answered(said: &'static [u8]) -> Result<Vec<u8>, VsockError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v");
        let listener = UnixListener::bind(&path).unwrap();
        let other = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 11];
            stream.read_exact(&mut asked).await.unwrap();
            assert_eq!(&asked, b"CONNECT 52\n");
            stream.write_all(said).await.unwrap();
        };
        let ours = async {
            let mut stream = connect(&path, 52, Duration::from_secs(20)).await?;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            Ok(rest)
        };
        tokio::join!(other, ours).1
    }

    #[tokio::test]
    async fn what_follows_the_answer_is_the_guests() {
        assert_eq!(answered(b"OK 1073741824\n").await.unwrap(), b"");
        assert_eq!(answered(b"OK 1\nhello").await.unwrap(), b"hello");
    }

    #[tokio::test]
    async fn whatever_is_no_answer_is_told() {
        assert!(matches!(answered(b"").await, Err(VsockError::NobodyListens { port: 52 })));
        assert!(matches!(answered(b"OK 12").await, Err(VsockError::NobodyListens { .. })));
        assert!(matches!(answered(b"NO 1\n").await, Err(VsockError::Garbled { .. })));
        assert!(matches!(answered(b"OK 99999999999\n").await, Err(VsockError::Garbled { .. })));
        assert!(matches!(answered(b"OK \n").await, Err(VsockError::Garbled { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_firecracker_that_hangs_is_waited_for_until_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v");
        let _listener = UnixListener::bind(&path).unwrap();
        let late = connect(&path, 52, Duration::from_secs(5)).await;
        assert!(matches!(late, Err(VsockError::Timeout { port: 52, after_ms: 5_000 })));
        assert!(matches!(connect(&folder.path().join("no"), 1, Duration::from_secs(5)).await, Err(VsockError::Unreachable(_))));
    }
}
