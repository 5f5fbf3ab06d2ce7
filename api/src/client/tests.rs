//! Addresses, paths, problems; and, against a bare listener, what happens when connections break.

use super::error::ClientError;
use super::http::{Client, problem_of};
use super::page::ListQuery;
use super::wait::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[test]
fn addresses_are_checked_at_once() {
    for bad in ["127.0.0.1:18080", "ftp://x", "", "https://example.test", "http://"] {
        assert!(matches!(Client::new(bad, None), Err(ClientError::Address { .. })), "{bad}");
    }
    assert_eq!(Client::new("http://127.0.0.1:1/", None).unwrap().base_url(), "http://127.0.0.1:1");
}

#[test]
fn names_cannot_leave_their_place_in_the_path() {
    let client = Client::new("http://h:1/prefix/", None).unwrap();
    assert_eq!(client.url(&["v1", "vms", "a/b?c#d"]).unwrap().as_str(), "http://h:1/prefix/v1/vms/a%2Fb%3Fc%23d");
    for bad in ["", ".", ".."] {
        assert!(matches!(client.url(&["v1", "vms", bad]), Err(ClientError::Name { .. })), "{bad:?}");
    }
}

#[test]
fn a_token_with_a_line_break_inside_is_refused() {
    assert!(matches!(Client::new("http://h:1", Some("a\nb")), Err(ClientError::Token)));
    assert!(Client::new("http://h:1", Some("a\n")).is_ok());
}

#[test]
fn an_answer_that_is_no_problem_is_quoted() {
    let error = problem_of("http://h:1/v1/vms", 502, b"<html>bad gateway</html>");
    assert_eq!(error.to_string(), "http://h:1/v1/vms answered something unexpected: status 502: <html>bad gateway</html>");
    let error = problem_of("http://h:1", 409, br#"{"title":"t","code":"name-taken","detail":"d","hint":"h"}"#);
    assert_eq!((error.code(), error.status(), error.hint().as_str()), (Some("name-taken"), Some(409), "h"));
}

#[test]
fn filters_become_a_query() {
    let mut url = reqwest::Url::parse("http://h:1/v1/vms").unwrap();
    let query = ListQuery { labels: vec!["a=b c".into(), "d=e".into()], state: Some("running".into()), ..ListQuery::default() };
    query.apply(&mut url);
    assert_eq!(url.query(), Some("label=a%3Db+c&label=d%3De&state=running"));
}

/// Reads one request without a body; answers its lines.
async fn request(stream: &mut TcpStream) -> Vec<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().lines().map(str::to_owned).collect()
}

async fn listener() -> (TcpListener, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()), Some("secret")).unwrap();
    (listener, client)
}

#[tokio::test]
async fn a_post_is_repeated_with_the_same_key() {
    let (listener, client) = listener().await;
    let server = tokio::spawn(async move {
        let mut keys = Vec::new();
        for attempt in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let lines = request(&mut stream).await;
            assert!(lines.contains(&"authorization: Bearer secret".to_owned()), "{lines:?}");
            keys.push(lines.into_iter().find(|line| line.starts_with("idempotency-key: ")).unwrap());
            if attempt == 1 {
                let answer = "HTTP/1.1 202 Accepted\r\nlocation: /v1/operations/op_1\r\ncontent-length: 2\r\n\r\n{}";
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
        keys
    });
    let accepted = client
        .change::<serde_json::Value>(reqwest::Method::POST, client.url(&["v1", "x"]).unwrap(), None, &Options::default())
        .await
        .unwrap();
    assert_eq!(accepted.operation.as_deref(), Some("op_1"));
    let keys = server.await.unwrap();
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test]
async fn a_delete_that_may_have_arrived_is_not_repeated() {
    let (listener, client) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        drop(stream);
        // Nobody comes again: the client has answered by then and this future is dropped.
        listener.accept().await.map(|_again| ())
    });
    let error = client.vms().delete("a", false, &Options::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
    assert!(!server.is_finished());
}

#[tokio::test]
async fn a_list_that_does_not_advance_ends() {
    let (listener, client) = listener().await;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            let body = r#"{"items":[],"next_cursor":"same"}"#;
            let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let error = client.vms().list(ListQuery::default()).collect(10).await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
}
