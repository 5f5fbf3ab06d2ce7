//! A client that is answered before it has sent its whole body reads the answer all the same, and not a broken pipe.

use crate::bench::{Bench, TOKEN};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    time::timeout,
};

const SOON: Duration = Duration::from_secs(30);
/// Far more than the kernel takes from a client whose server does not read.
const LONG: usize = 4 * 1024 * 1024;

/// Sends all, then reads: the order in which simple clients do it. The connection is closed afterwards by the server or here.
async fn talk(address: SocketAddr, head: &str, body: &[u8]) -> std::io::Result<String> {
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer_size(128 * 1024)?;
    let mut stream = socket.connect(address).await?;
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    let (mut text, mut chunk) = (Vec::new(), [0; 4096]);
    while !text.ends_with(b"}") {
        let length = stream.read(&mut chunk).await?;
        if length == 0 {
            break;
        }
        text.extend_from_slice(&chunk[..length]);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn head(method: &str, path: &str, token: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_refusal_is_read_after_a_long_body() {
    let bench = Bench::new().await;
    let address = bench.listen().await;
    let json = format!("Content-Type: application/json\r\nContent-Length: {LONG}\r\n");
    let text = format!("Content-Type: text/plain\r\nContent-Length: {LONG}\r\n");
    let body = vec![b'x'; LONG];
    for (what, head, status) in [
        ("too large, as told", head("POST", "/v1/vms", TOKEN, &json), 413),
        ("without a right to", head("POST", "/v1/vms", "wrong", &json), 401),
        ("nowhere", head("POST", "/v1/nothing", TOKEN, &text), 404),
        ("not so", head("PUT", "/v1/vms", TOKEN, &text), 405),
    ] {
        let answer = timeout(SOON, talk(address, &head, &body)).await.expect(what);
        let answer = answer.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_turns_out_too_large_is_refused_and_the_refusal_read() {
    let bench = Bench::new().await;
    let address = bench.listen().await;
    let head = head("POST", "/v1/vms", TOKEN, "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n");
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 65_536], b"\r\n"].concat();
    let mut body = chunk.repeat(LONG / 65_536);
    body.extend_from_slice(b"0\r\n\r\n");
    let answer = timeout(SOON, talk(address, &head, &body)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

/// It waits to be asked, so the answer must come at once and without asking.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_first_is_answered_without_its_body() {
    let bench = Bench::new().await;
    let address = bench.listen().await;
    let more = format!("Content-Type: application/json\r\nContent-Length: {LONG}\r\nExpect: 100-continue\r\n");
    let answer = timeout(SOON, talk(address, &head("POST", "/v1/vms", TOKEN, &more), b"")).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}
