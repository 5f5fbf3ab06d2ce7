//! What each end of a POST is called, against receivers that misbehave. Each speaks HTTP by hand over loopback.

use super::*;
use actors::webhook::Content;
use domain::{Timestamp, WebhookId};
use host::secret::Secret;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

fn post(url: String, timeout: Duration) -> Post {
    Post {
        url,
        secret: Secret::new(b"0123456789abcdef01234567".to_vec()),
        webhook: WebhookId::from_bits(1),
        number: 7,
        attempt: 3,
        at: Timestamp(1_700_000_000_123),
        timeout,
        content: Content::Resync { cursor: 9 },
    }
}

/// Reads one request whole: head and body.
async fn heard(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.expect("a request");
        assert!(count > 0, "a whole request");
        bytes.extend_from_slice(&chunk[..count]);
        let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..at]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let length: usize = length.parse().expect("a number");
        if bytes.len() >= at + 4 + length {
            return (head, bytes[at + 4..].to_vec());
        }
    }
}

/// A receiver that answers once as told, and gives what it heard.
async fn answering(answer: &'static [u8]) -> (Outcome, String, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hook?key=sesame", listener.local_addr().expect("an address"));
    let receiver = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let heard = heard(&mut stream).await;
        stream.write_all(answer).await.expect("written");
        heard
    });
    let outcome = Deliverer::new().post(post(url, Duration::from_secs(10))).await;
    let (head, body) = receiver.await.expect("a receiver");
    (outcome, head, body)
}

fn code(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Taken { .. } => "taken",
        Outcome::Gone => "gone",
        Outcome::Failed { code, detail, .. } => {
            assert!(!detail.contains("sesame") && !detail.contains("127.0.0.1"), "the address is told: {detail}");
            code
        }
    }
}

#[tokio::test]
async fn each_answer_has_its_name() {
    let cases: [(&'static [u8], &str); 11] = [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "taken"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "taken"),
        (b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok", "taken"),
        (b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", "gone"),
        (b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", "http-status"),
        (b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", "http-status"),
        (b"HTTP/1.1 302 Over there\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "redirect"),
        (b"HTTP/1.1 307 Over there\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "redirect"),
        // Closed in the middle of the answer.
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", "broken"),
        (b"HTTP/1.1 20", "broken"),
        (b"220 smtp.example.test ready\r\n", "broken"),
    ];
    for (answer, expected) in cases {
        let (outcome, ..) = answering(answer).await;
        assert_eq!(code(&outcome), expected, "{} {outcome:?}", String::from_utf8_lossy(answer));
    }
    let (outcome, ..) = answering(b"HTTP/1.1 503 Later\r\nretry-after: 17\r\ncontent-length: 0\r\n\r\n").await;
    assert!(matches!(outcome, Outcome::Failed { status: Some(503), retry_after_s: Some(17), .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_delivery_says_who_what_and_when_and_is_signed() {
    let (_, head, body) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let id = format!("{}_7", WebhookId::from_bits(1));
    let signed = signature(&Secret::new(b"0123456789abcdef01234567".to_vec()), &id, 1_700_000_000, &body);
    for line in [
        "post /hook?key=sesame http/1.1".to_owned(),
        "content-type: application/json".to_owned(),
        format!("webhook-id: {id}"),
        "webhook-timestamp: 1700000000".to_owned(),
        format!("webhook-signature: {}", signed.to_lowercase()),
        "hearth-attempt: 3".to_owned(),
    ] {
        assert!(head.lines().any(|found| found == line), "{line} is not in {head}");
    }
    let body: api::v1::Delivery = serde_json::from_slice(&body).expect("a delivery");
    assert_eq!((body.delivery, body.events.len(), body.events[0].event.as_str(), body.events[0].cursor), (7, 1, "resync", 9));
}

#[tokio::test]
async fn a_receiver_that_hangs_or_dribbles_costs_its_time_and_no_more() {
    for answer in [b"".as_slice(), b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let receiver = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            heard(&mut stream).await;
            stream.write_all(answer).await.expect("written");
            // Until the other side gives up.
            let _ = stream.read(&mut [0]).await;
        });
        let outcome = Deliverer::new().post(post(url, Duration::from_millis(200))).await;
        assert_eq!(code(&outcome), "timeout", "{outcome:?}");
        tokio::time::timeout(Duration::from_secs(10), receiver).await.expect("the connection was given up").expect("a receiver");
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let receiver = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        heard(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        let chunk = [b"1000\r\n".as_slice(), &[b'x'; 4096], b"\r\n"].concat();
        let mut written = 0usize;
        while stream.write_all(&chunk).await.is_ok() {
            written += chunk.len();
        }
        written
    });
    let outcome = Deliverer::new().post(post(url, Duration::from_secs(10))).await;
    assert_eq!(code(&outcome), "taken");
    let written = tokio::time::timeout(Duration::from_secs(10), receiver).await.expect("it was cut off").expect("a receiver");
    assert!(written < 64 * 1024 * 1024, "{written} bytes");
}

#[tokio::test]
async fn nobody_there_and_no_secure_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let plain = tokio::spawn(async move {
        // Speaks no TLS: whoever says hello gets this.
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let _ = stream.write_all(b"HTTP/1.1 400 Bad\r\n\r\n").await;
        drop(listener);
    });
    let outcome = Deliverer::new().post(post(format!("https://{address}/?key=sesame"), Duration::from_secs(10))).await;
    assert_eq!(code(&outcome), "tls", "{outcome:?}");
    plain.await.expect("a receiver");
    let outcome = Deliverer::new().post(post(format!("http://{address}/?key=sesame"), Duration::from_secs(10))).await;
    assert_eq!(code(&outcome), "connect", "{outcome:?}");
}
