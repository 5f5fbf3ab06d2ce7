//! One stream, two ways to read it: every case of resuming, narrowing and refusing, over WebSocket and over server-sent events alike.

use crate::bench::{Bench, TOKEN};
use axum::{body::Body, http::StatusCode};
use domain::event::{Datum, Event, Kind};
use futures_util::StreamExt;
use serde_json::Value;
use std::{net::SocketAddr, time::Duration};
use storage::{Batch, envelope};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

/// Whether an event is one of those that were asked for.
type Wanted = Box<dyn Fn(&Value) -> bool>;

const SOON: Duration = Duration::from_secs(30);
const BOTH: [Way; 2] = [Way::Socket, Way::ServerSent];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Socket,
    ServerSent,
}

/// One subscriber, by either way.
enum Reader {
    Socket(Box<WebSocketStream<TcpStream>>),
    ServerSent { stream: TcpStream, bytes: Vec<u8> },
}

/// What came: an event, or the end with its reason.
#[derive(Debug, PartialEq)]
enum Came {
    Event(Value),
    End { code: String, reason: String },
}

/// A refusal: its status and problem.
async fn connect(address: SocketAddr, way: Way, query: &str, last: Option<u64>) -> Result<Reader, (u16, Value)> {
    let socket = TcpSocket::new_v4().unwrap();
    // A small window, so that a reader that stops is noticed after little.
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    match way {
        Way::Socket => {
            let mut request = format!("ws://{address}/v1/events{query}").into_client_request().unwrap();
            request.headers_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
            match client_async(request, stream).await {
                Ok((socket, _)) => Ok(Reader::Socket(Box::new(socket))),
                Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
                    let body = response.body().clone().unwrap_or_default();
                    Err((response.status().as_u16(), serde_json::from_slice(&body).unwrap_or_default()))
                }
                Err(other) => panic!("{other}"),
            }
        }
        Way::ServerSent => {
            let last = last.map(|last| format!("Last-Event-ID: {last}\r\n")).unwrap_or_default();
            let request = format!(
                "GET /v1/events{query} HTTP/1.0\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: Bearer {TOKEN}\r\n{last}\r\n"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut bytes = Vec::new();
            let end = loop {
                if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                    break at;
                }
                assert!(timeout(SOON, stream.read_buf(&mut bytes)).await.unwrap().unwrap() > 0, "a head");
            };
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            bytes.drain(..end + 4);
            let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
            if status == 200 {
                return Ok(Reader::ServerSent { stream, bytes });
            }
            timeout(SOON, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
            Err((status, serde_json::from_slice(&bytes).unwrap_or_default()))
        }
    }
}

impl Reader {
    async fn next(&mut self) -> Came {
        timeout(SOON, self.came()).await.expect("something comes")
    }

    async fn came(&mut self) -> Came {
        match self {
            Reader::Socket(socket) => loop {
                match socket.next().await.unwrap().unwrap() {
                    Message::Text(text) => return Came::Event(serde_json::from_str(&text).unwrap()),
                    Message::Close(Some(frame)) => {
                        return Came::End { code: u16::from(frame.code).to_string(), reason: frame.reason.to_string() };
                    }
                    _ => {}
                }
            },
            Reader::ServerSent { stream, bytes } => loop {
                if let Some(at) = bytes.windows(2).position(|two| two == b"\n\n") {
                    let block = String::from_utf8(bytes.drain(..at + 2).collect()).unwrap();
                    let line = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
                    let Some(data) = line("data: ") else { continue };
                    let data: Value = serde_json::from_str(data).unwrap();
                    if line("event: ") == Some("disconnect") {
                        let text = |name: &str| data[name].as_str().unwrap().to_owned();
                        return Came::End { code: text("code"), reason: text("reason") };
                    }
                    assert_eq!(line("id: "), Some(data["cursor"].to_string().as_str()), "the id is the cursor");
                    return Came::Event(data);
                }
                assert!(stream.read_buf(bytes).await.unwrap() > 0, "ended without a word");
            },
        }
    }

    async fn event(&mut self) -> Value {
        match self.next().await {
            Came::Event(event) => event,
            end @ Came::End { .. } => panic!("{end:?}"),
        }
    }

    async fn cursors(&mut self, count: usize) -> Vec<u64> {
        let mut all = Vec::new();
        while all.len() < count {
            all.push(self.event().await["cursor"].as_u64().unwrap());
        }
        all
    }
}

async fn open(address: SocketAddr, way: Way, query: &str) -> Reader {
    connect(address, way, query, None).await.unwrap_or_else(|refused| panic!("{way:?} {query}: {refused:?}"))
}

fn journal_event(kind: Kind, id: &str, text: &str) -> Vec<u8> {
    envelope::encode(&Event {
        time: domain::Timestamp(1),
        kind,
        id: id.to_owned(),
        name: "x".to_owned(),
        project: "default".parse().unwrap(),
        generation: domain::Generation(1),
        event: "vm-updated".to_owned(),
        actor: "system".to_owned(),
        operation: None,
        data: vec![("text".to_owned(), Datum::Text(text.to_owned()))],
    })
    .unwrap()
}

async fn append(bench: &Bench, count: usize, text: &str) -> u64 {
    let mut left = count;
    while left > 0 {
        let now = left.min(100);
        let batch = (0..now).fold(Batch::default(), |batch, _| batch.event(journal_event(Kind::Vm, "vm_x", text)));
        bench.node.journal().commit(batch).await.unwrap();
        left -= now;
    }
    bench.node.journal().latest()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_kept_cursor_resumes_with_nothing_lost_and_nothing_twice() {
    let bench = Bench::with_images().await;
    let address = bench.listen().await;
    let latest = append(&bench, 40, "").await;
    for way in BOTH {
        for after in 0..=latest {
            let mut reader = open(address, way, &format!("?after={after}")).await;
            let rest = usize::try_from(latest - after).unwrap();
            assert_eq!(reader.cursors(rest).await, (after + 1..=latest).collect::<Vec<_>>(), "{way:?} after {after}");
        }
        // From now on; and what a browser saw last wins over where it began.
        let mut now = open(address, way, "").await;
        let next = append(&bench, 1, "").await;
        let first = now.event().await["cursor"].as_u64().unwrap();
        assert!(first <= next && first > latest, "{way:?}: {first}");
    }
    let mut browser = connect(address, Way::ServerSent, "?after=1", Some(7)).await.unwrap_or_else(|_| panic!("refused"));
    assert_eq!(browser.cursors(1).await, [8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_are_narrowed_alike() {
    let bench = Bench::with_images().await;
    let address = bench.listen().await;
    let id = bench.post("/v1/vms?wait=10", &bench.vm("a")).await.body["id"].as_str().unwrap().to_owned();
    let latest = bench.node.journal().latest();
    let mut all = Vec::new();
    let mut reader = open(address, Way::Socket, "?after=0").await;
    while all.len() < usize::try_from(latest).unwrap() {
        all.push(reader.event().await);
    }
    let cases: Vec<(String, Wanted)> = vec![
        ("&kind=vm".into(), Box::new(|event| event["kind"] == "vm")),
        ("&kind=host&kind=image".into(), Box::new(|event| event["kind"] == "host" || event["kind"] == "image")),
        (format!("&id={id}"), {
            let id = id.clone();
            Box::new(move |event| event["id"] == *id)
        }),
        (format!("&kind=operation&id={id}"), Box::new(|_| false)),
        ("&project=default".into(), Box::new(|_| true)),
        ("&project=other".into(), Box::new(|_| false)),
    ];
    for (query, wanted) in cases {
        let expected: Vec<&Value> = all.iter().filter(|event| wanted(event)).collect();
        for way in BOTH {
            let mut reader = open(address, way, &format!("?after=0{query}")).await;
            for event in &expected {
                assert_eq!(reader.event().await, **event, "{way:?} {query}");
            }
            if expected.is_empty() {
                timeout(Duration::from_millis(200), reader.came()).await.expect_err("nothing is wanted");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_kept_and_what_is_ahead_are_told_alike() {
    let bench = Bench::keeping(8).await;
    let address = bench.listen().await;
    append(&bench, 600, "").await;
    // The writer prunes on while it is idle, until only these are left.
    let pruned = async {
        while bench.node.journal().latest() - bench.node.journal().oldest() >= 8 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, pruned).await.expect("events are pruned");
    let (oldest, latest) = (bench.node.journal().oldest(), bench.node.journal().latest());
    assert!(oldest > 3, "events were pruned");
    for way in BOTH {
        let mut old = open(address, way, "?after=1").await;
        let told = old.event().await;
        assert_eq!((&told["type"], &told["cursor"]), (&"resync".into(), &(oldest - 1).into()), "{way:?}");
        assert_eq!(old.cursors(1).await, [oldest], "{way:?}: what is kept follows");
        assert_eq!(open(address, way, "?after=0").await.cursors(1).await, [oldest], "{way:?}");
        let ahead = open(address, way, "?after=999999").await.event().await;
        assert_eq!((&ahead["type"], &ahead["cursor"]), (&"resync".into(), &latest.into()), "{way:?}");
        // A resync concerns everybody, whatever is filtered.
        assert_eq!(open(address, way, "?after=1&kind=image").await.event().await["type"], "resync", "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_refuse_alike() {
    let bench = Bench::new().await;
    let address = bench.listen().await;
    let many: String = (0..1001).map(|n| format!("&id=vm_{n}")).collect();
    for query in ["?after=x", "?after=-1", "?after=1&after=2", "?kind=dog", "?colour=red", &format!("?after=0{many}")] {
        let mut refusals = Vec::new();
        for way in BOTH {
            let Err((status, problem)) = connect(address, way, query, None).await else { panic!("{way:?} {query} is taken") };
            refusals.push((status, problem["code"].clone(), problem["detail"].clone(), problem["fields"].clone()));
        }
        assert_eq!(refusals[0], refusals[1], "{query}");
        assert_eq!(refusals[0].0, 400, "{query}: {refusals:?}");
    }
    let neither = bench.ask("GET", "/v1/events", &[], Body::empty()).await;
    assert_eq!((neither.status, neither.code()), (StatusCode::NOT_ACCEPTABLE, "stream-only"));
}

/// One that stops reading is cut off with a reason, having missed nothing before it; the others never notice; and it resumes.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_one_is_told_why_and_resumes_while_the_others_go_on() {
    let text = "x".repeat(2048);
    for way in BOTH {
        let bench = Bench::keeping(100_000).await;
        let address = bench.listen().await;
        let mut slow = open(address, way, "").await;
        let mut quick = open(address, way, "").await;
        let first = append(&bench, 1, &text).await;
        assert!(slow.event().await["cursor"].as_u64() <= Some(first));
        // More than the ring holds, in bursts that one who reads has no trouble with.
        let mut seen = 0;
        for _ in 0..14 {
            let latest = append(&bench, 1000, &text).await;
            while seen < latest {
                let cursor = quick.event().await["cursor"].as_u64().unwrap();
                assert!(seen == 0 || cursor == seen + 1, "{way:?}: {seen} is followed by {cursor}");
                seen = cursor;
            }
        }
        let (mut last, end) = (first, loop_to_end(&mut slow).await);
        last = last.max(end.0);
        let Came::End { code, reason } = end.1 else { unreachable!() };
        assert!(code == if way == Way::Socket { "4408" } else { "fell-behind" }, "{code}");
        let after: u64 = reason.rsplit('=').next().unwrap().parse().unwrap();
        assert!(after <= last, "{way:?}: told to resume behind {after}, but read only to {last}");
        assert_eq!(bench.edge.serving().unwrap().hub.dropped(), 1);
        let mut again = open(address, way, &format!("?after={after}")).await;
        assert_eq!(again.cursors(3).await, [after + 1, after + 2, after + 3]);
    }
}

/// Everything that was on its way, without a gap; the last cursor, and the end.
async fn loop_to_end(reader: &mut Reader) -> (u64, Came) {
    let mut last = 0;
    loop {
        match timeout(Duration::from_secs(60), reader.came()).await.expect("an end") {
            Came::Event(event) => {
                let cursor = event["cursor"].as_u64().unwrap();
                assert!(last == 0 || cursor == last + 1, "{last} is followed by {cursor}");
                last = cursor;
            }
            end @ Came::End { .. } => return (last, end),
        }
    }
}

/// A thousand at once, half by each way: each gets every event, in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_subscribers_get_every_event_in_order() {
    const SUBSCRIBERS: usize = 1000;
    const EVENTS: usize = 100;
    // Both ends of each connection are in this process.
    let (_, most) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, most.min(65_536), most).unwrap();
    let bench = Bench::keeping(100_000).await;
    let address = bench.listen().await;
    let start = bench.node.journal().latest();
    let mut readers = tokio::task::JoinSet::new();
    for number in 0..SUBSCRIBERS {
        let mut reader = open(address, BOTH[number % 2], &format!("?after={start}")).await;
        readers.spawn(async move { reader.cursors(EVENTS).await });
    }
    assert_eq!(bench.edge.serving().unwrap().hub.subscribers(), SUBSCRIBERS);
    for _ in 0..EVENTS {
        append(&bench, 1, "").await;
    }
    let expected: Vec<u64> = (start + 1..=start + EVENTS as u64).collect();
    while let Some(got) = readers.join_next().await {
        assert_eq!(got.unwrap(), expected);
    }
}
