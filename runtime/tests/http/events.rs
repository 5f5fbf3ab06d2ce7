//! The event stream: resumed without loss, filtered, cut off with a reason.

use crate::bench::{Bench, TOKEN};
use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

const SOON: Duration = Duration::from_secs(10);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(address: SocketAddr, path: &str) -> Result<Socket, Error> {
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    connect_async(request).await.map(|(socket, _)| socket)
}

async fn event(socket: &mut Socket) -> Value {
    loop {
        match timeout(SOON, socket.next()).await.unwrap().unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn journal_event(data: Vec<(String, domain::event::Datum)>) -> Vec<u8> {
    storage::envelope::encode(&domain::event::Event {
        time: domain::Timestamp(1),
        kind: domain::event::Kind::Vm,
        id: "vm_x".to_owned(),
        name: "x".to_owned(),
        project: "default".parse().unwrap(),
        generation: domain::Generation(1),
        event: "vm-updated".to_owned(),
        actor: "system".to_owned(),
        operation: None,
        data,
    })
    .unwrap()
}

async fn close(socket: &mut Socket) -> (u16, String) {
    loop {
        match timeout(Duration::from_secs(60), socket.next()).await.unwrap().unwrap().unwrap() {
            Message::Close(Some(frame)) => return (frame.code.into(), frame.reason.to_string()),
            Message::Close(None) => panic!("no reason"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_resumes_with_nothing_lost_and_nothing_twice() {
    let bench = Bench::with_images().await;
    let address = bench.listen().await;
    let latest = bench.node.journal().latest();
    let mut all = connect(address, "/v1/events?after=0").await.unwrap();
    for cursor in 1..=latest {
        assert_eq!(event(&mut all).await["cursor"], cursor);
    }
    let mut now = connect(address, "/v1/events").await.unwrap();
    bench.post("/v1/vms?wait=10", &bench.vm("a")).await;
    for (socket, cursor) in [(&mut all, latest + 1), (&mut now, latest + 1)] {
        let first = event(socket).await;
        assert_eq!((&first["cursor"], &first["kind"], &first["name"]), (&cursor.into(), &"vm".into(), &"a".into()));
    }
    let mut resumed = connect(address, &format!("/v1/events?after={}", latest + 1)).await.unwrap();
    assert_eq!(event(&mut resumed).await["cursor"], latest + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_narrowed_by_kind_and_id() {
    let bench = Bench::with_images().await;
    let address = bench.listen().await;
    let a = bench.post("/v1/vms?wait=10", &bench.vm("a")).await.body["id"].as_str().unwrap().to_owned();
    let b = bench.post("/v1/vms?wait=10", &bench.vm("b")).await.body["id"].as_str().unwrap().to_owned();
    let mut of_b = connect(address, &format!("/v1/events?after=0&id={b}")).await.unwrap();
    let mut hosts = connect(address, "/v1/events?after=0&kind=host&kind=image").await.unwrap();
    assert_eq!(event(&mut of_b).await["name"], "b");
    assert_eq!(event(&mut hosts).await["kind"], "host");
    assert_eq!(event(&mut hosts).await["kind"], "image");
    assert_ne!(a, b);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_is_no_longer_kept_is_told_to_list_again() {
    let bench = Bench::keeping(8).await;
    bench.images().await;
    for n in 0..400 {
        if bench.node.journal().oldest() > 3 {
            break;
        }
        bench.post("/v1/vms?wait=10", &bench.vm(&format!("vm-{n}"))).await;
    }
    let oldest = bench.node.journal().oldest();
    assert!(oldest > 3, "events were pruned");
    let address = bench.listen().await;
    let mut socket = connect(address, "/v1/events?after=1").await.unwrap();
    let first = event(&mut socket).await;
    assert_eq!((&first["type"], &first["kind"], &first["cursor"]), (&"resync".into(), &"stream".into(), &(oldest - 1).into()));
    assert_eq!(event(&mut socket).await["cursor"], oldest, "what is kept follows");
    let mut ahead = connect(address, "/v1/events?after=999999").await.unwrap();
    assert_eq!(event(&mut ahead).await["type"], "resync");
    let mut oldest_kept = connect(address, "/v1/events?after=0").await.unwrap();
    assert_eq!(event(&mut oldest_kept).await["cursor"], oldest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_does_not_read_is_cut_off_with_a_reason() {
    let bench = Bench::keeping(100_000).await;
    let address = bench.listen().await;
    let mut socket = connect(address, "/v1/events").await.unwrap();
    // The stream is live once it has given an event.
    bench.images().await;
    event(&mut socket).await;
    // More than the sockets' buffers and the ring hold: each of these events has 32 KiB.
    let big = journal_event(vec![("text".to_owned(), domain::event::Datum::Text("x".repeat(32 * 1024)))]);
    for _ in 0..100 {
        let batch = (0..10).fold(storage::Batch::default(), |batch, _| batch.event(big.clone()));
        bench.node.journal().commit(batch).await.unwrap();
    }
    // Nobody reads until the server has noticed.
    timeout(Duration::from_secs(30), async {
        while bench.edge.serving().unwrap().hub.dropped() == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("the subscriber is cut off");
    let (code, reason) = close(&mut socket).await;
    assert_eq!(code, 4408);
    assert!(reason.contains("after="), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_sent_events_honour_the_last_id_and_say_goodbye() {
    let bench = Bench::with_images().await;
    let address = bench.listen().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /v1/events?after=0 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAccept-Encoding: gzip\r\nLast-Event-ID: 2\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let until = async |text: &mut String, stream: &mut TcpStream, wanted: &str| {
        let mut chunk = [0; 4096];
        while !text.contains(wanted) {
            let length = timeout(SOON, stream.read(&mut chunk)).await.unwrap().unwrap();
            assert!(length > 0, "{wanted} did not come: {text}");
            text.push_str(std::str::from_utf8(&chunk[..length]).unwrap());
        }
    };
    until(&mut text, &mut stream, "id: 3\ndata: {\"cursor\":3,").await;
    assert!(text.contains("content-type: text/event-stream") && !text.contains("content-encoding"), "{text}");
    assert!(!text.contains("id: 2\n"), "{text}");
    bench.edge.end_streams();
    until(&mut text, &mut stream, "event: disconnect\ndata: {\"code\":\"stopping\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_by_a_subprotocol() {
    let bench = Bench::new().await;
    let address = bench.listen().await;
    let with = async |token: &str| {
        let mut request = format!("ws://{address}/v1/events").into_client_request().unwrap();
        let value = format!("hearth.v1, bearer.{}", URL_SAFE_NO_PAD.encode(token));
        request.headers_mut().insert("sec-websocket-protocol", value.parse().unwrap());
        connect_async(request).await
    };
    let (mut socket, response) = with(TOKEN).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "hearth.v1");
    bench.edge.end_streams();
    assert_eq!(close(&mut socket).await.0, 1001);
    assert!(matches!(with("wrong").await, Err(Error::Http(response)) if response.status() == 401));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_stream_says_why() {
    let bench = Bench::with_images().await;
    let address = bench.listen().await;
    bench.post("/v1/vms?wait=10", &bench.vm("a")).await;
    let refused = connect(address, "/v1/vms/a/shell").await;
    assert!(matches!(refused, Err(Error::Http(response)) if response.status() == 409), "the VM does not run");
    // A browser reads it in the close frame.
    let mut request = format!("ws://{address}/v1/vms/a/console").into_client_request().unwrap();
    let value = format!("hearth.v1, bearer.{}", URL_SAFE_NO_PAD.encode(TOKEN));
    request.headers_mut().insert("sec-websocket-protocol", value.parse().unwrap());
    let (mut socket, _) = connect_async(request).await.unwrap();
    assert_eq!(close(&mut socket).await, (4409, "the VM is not running".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_stream_while_somebody_looks() {
    let bench = Bench::with_images().await;
    let address = bench.listen().await;
    bench.post("/v1/vms?wait=10", &bench.vm("a")).await;
    bench.ask("POST", "/v1/vms/a/start?wait=10", &[], Body::empty()).await;
    let mut socket = connect(address, "/v1/vms/a/metrics").await.unwrap();
    let (first, second) = (event(&mut socket).await, event(&mut socket).await);
    assert_eq!(first["mem_total_bytes"], 128 * 1024 * 1024);
    assert!(second["time_ms"].as_u64() > first["time_ms"].as_u64(), "{first} {second}");
    assert_eq!(bench.get("/v1/vms/a/metrics").await.body["mem_total_bytes"], 128 * 1024 * 1024);
    let root = |sample: &Value| sample["drives"][0].clone();
    let (inside, outside) = (bench.get("/v1/vms/a/metrics").await.body, bench.get("/v1/vms/a/metrics/vmm").await.body);
    assert_eq!(root(&outside)["name"], "root", "{outside}");
    let written = |sample: &Value| root(sample)["written_bytes_total"].as_u64().unwrap();
    assert!(written(&inside["vmm"]) <= written(&outside));
    assert_eq!(inside["vmm"]["since_ms"], outside["since_ms"], "rates can be made of them");
    assert!(inside["vmm"]["since_ms"].as_u64() > Some(0) && outside["missing"] == json!([]), "{inside} {outside}");
    assert!(outside.get("balloon_bytes").is_none() && outside.get("safety").is_none(), "nobody knows: {outside}");
    // A guest that stands still tells nothing, and its VMM does.
    bench.ask("POST", "/v1/vms/a/pause?wait=10", &[], Body::empty()).await;
    assert_eq!(root(&bench.get("/v1/vms/a/metrics/vmm").await.body)["name"], "root");
    bench.ask("POST", "/v1/vms/a/resume?wait=10", &[], Body::empty()).await;
    bench.ask("POST", "/v1/vms/a/stop?wait=10", &[("content-type", "application/json")], "{\"force\":true}").await;
    assert_eq!(close(&mut socket).await.0, 1000, "the guest is gone");
    bench.get("/v1/vms/a/metrics/vmm").await.refuses(409, "vm-not-running", "");
    let mut host =
        connect(address, &format!("/v1/hosts/{}/metrics", bench.get("/v1/hosts").await.body["items"][0]["id"].as_str().unwrap()))
            .await
            .unwrap();
    event(&mut host).await;
    host.send(Message::Close(None)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_has_its_times_when_they_are_wanted() {
    let bench = Bench::with_images().await;
    bench.post("/v1/vms?wait=10", &bench.vm("a")).await;
    let log = async |query: &str| bench.get(&format!("/v1/vms/a/logs{query}")).await;
    let text = async |query: &str| log(query).await.body.as_str().unwrap_or_default().to_owned();
    assert!(text("").await.starts_with("this VM is simulated"));
    assert!(text("?timestamps=true").await.starts_with("- this VM is simulated"), "nobody saw when");
    for since in ["10m", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5%2B02:00"] {
        assert_eq!(log(&format!("?since={since}")).await.status, 200, "{since}");
        assert_eq!(text(&format!("?timestamps=1&since={since}")).await, "", "what nobody knows the time of is left out");
    }
    for wrong in ["", "m", "-5m", "10", "10w", "yesterday", "2026-01-01"] {
        log(&format!("?since={wrong}")).await.refuses(400, "bad-query", "since");
    }
    let mut stream = TcpStream::connect(bench.listen().await).await.unwrap();
    let head = format!("GET /v1/vms/a/logs?follow&timestamps HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).ends_with("\r\n\r\n- this VM is simulated: no guest prints here\r\n") {
        let read = timeout(SOON, stream.read_buf(&mut answer)).await;
        assert!(read.unwrap().unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
    }
}

/// Two hundred events a second for a hundred subscribers is the target; what is asserted is that each gets all of them in order. The
/// delays are printed, because on a busy machine they say more about the machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_subscribers_get_every_event_in_order() {
    const SUBSCRIBERS: usize = 100;
    const EVENTS: u64 = 200;
    let bench = Bench::new().await;
    let address = bench.listen().await;
    let first = bench.node.journal().latest() + 1;
    let begun = std::time::Instant::now();
    let mut readers = Vec::new();
    for _ in 0..SUBSCRIBERS {
        let mut socket = connect(address, &format!("/v1/events?after={}", first - 1)).await.unwrap();
        readers.push(tokio::spawn(async move {
            let mut delays = Vec::new();
            for cursor in first..first + EVENTS {
                let event = event(&mut socket).await;
                assert_eq!(event["cursor"], cursor);
                let sent_us = event["data"]["sent_us"].as_u64().unwrap();
                delays.push(begun.elapsed().as_micros() as u64 - sent_us);
            }
            delays
        }));
    }
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    for _ in 0..EVENTS {
        pace.tick().await;
        let now = begun.elapsed().as_micros() as u64;
        let event = journal_event(vec![("sent_us".to_owned(), domain::event::Datum::Number(now))]);
        bench.node.journal().commit(storage::Batch::default().event(event)).await.unwrap();
    }
    let mut delays: Vec<u64> = Vec::new();
    for reader in readers {
        delays.extend(timeout(SOON * 3, reader).await.unwrap().unwrap());
    }
    delays.sort_unstable();
    let at = |share: usize| delays[delays.len() * share / 1000] as f64 / 1000.0;
    eprintln!("{SUBSCRIBERS} subscribers, {EVENTS} events: p50 {} ms, p99 {} ms, p99.9 {} ms", at(500), at(990), at(999));
}
