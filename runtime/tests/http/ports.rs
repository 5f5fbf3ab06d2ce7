//! `WS /v1/vms/ID/connect`: what is refused before it stands, and what it carries. The guest's end is this test's, by a driver that says it has
//! vsock; the agent's way is tried with real guests.

use crate::{
    bench::{Bench, TOKEN},
    driver::{Driver, OPEN},
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream, UnixStream},
    sync::mpsc,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

const SOON: Duration = Duration::from_secs(30);
/// A server with one VM that runs, `a`, and the guest's ends of what is connected.
struct Scene {
    bench: Bench,
    address: SocketAddr,
    ports: mpsc::UnboundedReceiver<UnixStream>,
}

type Socket = WebSocketStream<TcpStream>;

impl Scene {
    async fn open() -> Scene {
        let (sender, ports) = mpsc::unbounded_channel();
        let bench = Bench::driven(|data| Arc::new(Driver { ports: Some(sender), ..Driver::new(data) })).await;
        run(&bench).await;
        let address = bench.listen().await;
        Scene { bench, address, ports }
    }

    async fn connect(&self, query: &str) -> Result<Socket, (u16, Value)> {
        connect(self.address, "a", query).await
    }

    /// Both ends.
    async fn connected(&mut self) -> (Socket, UnixStream) {
        let socket = self.connect(&format!("?vsock={OPEN}")).await.unwrap();
        (socket, timeout(SOON, self.ports.recv()).await.unwrap().unwrap())
    }
}

async fn run(bench: &Bench) {
    let mut vm = bench.vm("a");
    vm["start"] = json!(true);
    let answer = bench.post("/v1/vms?wait=30", &vm).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
}

async fn connect(address: SocketAddr, vm: &str, query: &str) -> Result<Socket, (u16, Value)> {
    let stream = TcpSocket::new_v4().unwrap();
    // A small window, so that a reader that stops is noticed after little.
    stream.set_recv_buffer_size(16 * 1024).unwrap();
    let stream = stream.connect(address).await.unwrap();
    let mut request = format!("ws://{address}/v1/vms/{vm}/connect{query}").into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    match client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            Err((response.status().as_u16(), serde_json::from_slice(&body).unwrap_or_default()))
        }
        Err(other) => panic!("{other}"),
    }
}

/// The next frame that is not about liveness.
async fn next(socket: &mut Socket) -> Message {
    let came = async {
        loop {
            match socket.next().await.unwrap().unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    };
    timeout(SOON, came).await.expect("something comes")
}

/// The close frame's code and reason, after the text frames before it.
async fn closed(socket: &mut Socket) -> (Vec<Value>, u16, String) {
    let mut said = Vec::new();
    loop {
        match next(socket).await {
            Message::Text(text) => said.push(serde_json::from_str(&text).unwrap()),
            Message::Close(Some(frame)) => return (said, u16::from(frame.code), frame.reason.to_string()),
            other => panic!("{other:?}"),
        }
    }
}

fn eof() -> Message {
    Message::text("{\"eof\":true}")
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_that_can_not_be_are_refused_by_field() {
    let scene = Scene::open().await;
    for (query, field) in [
        ("", "tcp"),
        ("?tcp=0", "tcp"),
        ("?tcp=65536", "tcp"),
        ("?tcp=http", "tcp"),
        ("?tcp=80&tcp=81", "tcp"),
        ("?vsock=0", "vsock"),
        ("?vsock=4294967295", "vsock"),
        ("?tcp=80&vsock=80", "vsock"),
        ("?udp=80&tcp=80", "udp"),
    ] {
        let (status, problem) = scene.connect(query).await.unwrap_err();
        assert_eq!((status, problem["fields"][0]["field"].as_str()), (400, Some(field)), "{query}: {problem}");
    }
    let (status, problem) = scene.connect("?vsock=1023").await.unwrap_err();
    assert_eq!((status, &problem["code"]), (422, &json!("port-reserved")), "{problem}");
    assert_eq!(problem["detail"], "vsock: port 1023 is the guest agent's");
    let plain = scene.bench.get("/v1/vms/a/connect?tcp=80").await;
    plain.refuses(426, "websocket-required", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_not_be_connected_to_says_why() {
    let scene = Scene::open().await;
    let refused = async |vm: &'static str, query: &str| {
        let (status, problem) = connect(scene.address, vm, query).await.unwrap_err();
        (status, problem["code"].as_str().unwrap().to_owned(), problem["detail"].as_str().unwrap().to_owned())
    };
    let (status, code, detail) = refused("a", "?vsock=4999").await;
    assert_eq!(
        (status, code.as_str(), detail.as_str()),
        (409, "nobody-listens", "nobody listens at vsock port 4999 of the guest")
    );
    // The simulated guest has no ports, as it has no programs.
    let (status, code, detail) = refused("a", "?tcp=80").await;
    assert_eq!((status, code.as_str()), (409, "guest-unsupported"), "{detail}");
    assert_eq!(refused("nope", "?tcp=80").await.0, 404);
    scene.bench.post("/v1/vms?wait=30", &scene.bench.vm("still")).await;
    for query in ["?tcp=80", "?vsock=5000"] {
        let (status, code, detail) = refused("still", query).await;
        assert_eq!((status, code.as_str(), detail.as_str()), (409, "vm-not-running", "the VM is not running"), "{query}");
    }
    scene.bench.ask("POST", "/v1/vms/a/pause?wait=30", &[], "").await;
    assert_eq!(refused("a", "?vsock=5000").await.1, "vm-paused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_without_vsock_says_so() {
    let bench = Bench::with_images().await;
    run(&bench).await;
    let address = bench.listen().await;
    let (status, problem) = connect(address, "a", "?vsock=5000").await.unwrap_err();
    assert_eq!((status, &problem["code"]), (409, &json!("unsupported-by-driver")), "{problem}");
    assert_eq!(problem["detail"], "the simulated driver can't reach vsock ports of guests");
    let shown = bench.get("/v1/hosts").await.body["items"][0]["status"]["capabilities"].clone();
    assert_eq!(shown["vsock"], false, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_both_ways_and_each_side_ends_by_itself() {
    let mut scene = Scene::open().await;
    let (mut socket, mut guest) = scene.connected().await;
    socket.send(Message::binary(b"question".to_vec())).await.unwrap();
    socket.send(eof()).await.unwrap();
    let mut asked = Vec::new();
    timeout(SOON, guest.read_to_end(&mut asked)).await.unwrap().unwrap();
    assert_eq!(asked, b"question");
    guest.write_all(b"answer").await.unwrap();
    assert_eq!(next(&mut socket).await, Message::binary(b"answer".to_vec()));
    drop(guest);
    assert_eq!(closed(&mut socket).await, (vec![json!({"eof": true})], 1000, "the connection ended".to_owned()));

    // The other way round.
    let (mut socket, mut guest) = scene.connected().await;
    guest.shutdown().await.unwrap();
    assert_eq!(next(&mut socket).await, eof());
    socket.send(Message::binary(b"all the same".to_vec())).await.unwrap();
    socket.send(eof()).await.unwrap();
    let mut heard = Vec::new();
    timeout(SOON, guest.read_to_end(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, b"all the same");
    assert_eq!(closed(&mut socket).await.1, 1000);

    // A client that goes away takes the connection along.
    let (socket, mut guest) = scene.connected().await;
    drop(socket);
    timeout(SOON, guest.read_to_end(&mut heard)).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_frame_of_a_connection_ends_it() {
    let mut scene = Scene::open().await;
    for wrong in ["{\"eof\":false}", "{\"resize\":{\"cols\":1,\"rows\":1}}", "{\"error\":\"x\"}", "hello"] {
        let (mut socket, _guest) = scene.connected().await;
        socket.send(Message::text(wrong)).await.unwrap();
        assert_eq!(closed(&mut socket).await.1, 4400, "{wrong}");
    }
    let (mut socket, _guest) = scene.connected().await;
    socket.send(eof()).await.unwrap();
    socket.send(Message::binary(b"more".to_vec())).await.unwrap();
    assert_eq!(closed(&mut socket).await.1, 4400);
}

/// Neither is cut off, and neither makes hearth hold more than a little: each stops who writes to it.
#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_are_waited_for() {
    let mut scene = Scene::open().await;
    let (mut socket, mut guest) = scene.connected().await;
    let chunk = vec![7; 1 << 16];
    let still = Duration::from_millis(500);
    let mut sent = 0_usize;
    while timeout(still, guest.write_all(&chunk)).await.is_ok_and(|written| written.is_ok()) {
        sent += chunk.len();
        assert!(sent < 64 << 20, "nothing stops the guest");
    }
    drop(guest);
    let mut got = 0;
    loop {
        match next(&mut socket).await {
            Message::Binary(bytes) => got += bytes.len(),
            message => break assert_eq!(message, eof()),
        }
    }
    assert!(got >= sent, "{got} of {sent} bytes");

    let (mut socket, mut guest) = scene.connected().await;
    let mut sent = 0_usize;
    while timeout(still, socket.send(Message::binary(chunk.clone()))).await.is_ok_and(|sent| sent.is_ok()) {
        sent += chunk.len();
        assert!(sent < 64 << 20, "nothing stops the client");
    }
    let mut got = vec![0; sent];
    timeout(SOON, guest.read_exact(&mut got)).await.expect("it goes on").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_has_so_many_and_no_more() {
    let mut scene = Scene::open().await;
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(scene.connected().await);
    }
    let (status, problem) = scene.connect(&format!("?vsock={OPEN}")).await.unwrap_err();
    assert_eq!((status, &problem["code"]), (429, &json!("too-many-connections")), "{problem}");
    open.pop();
    let again = async {
        while scene.connect(&format!("?vsock={OPEN}")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, again).await.expect("one that has ended makes room");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_vm_and_of_the_server_is_told() {
    let mut scene = Scene::open().await;
    let (mut socket, _guest) = scene.connected().await;
    let stopped = scene.bench.post("/v1/vms/a/stop?wait=30", &json!({"force": true})).await;
    assert_eq!(stopped.status.as_u16(), 200, "{}", stopped.body);
    let (said, code, reason) = closed(&mut socket).await;
    assert_eq!(code, 1011, "{reason}");
    assert!(reason.ends_with("the VM ended"), "{reason}");
    assert_eq!(said, [json!({"error": reason})]);

    scene.bench.ask("POST", "/v1/vms/a/start?wait=30", &[], "").await;
    let (mut socket, _guest) = scene.connected().await;
    scene.bench.edge.end_streams();
    assert_eq!(closed(&mut socket).await, (vec![], 1001, "the server is shutting down".to_owned()));
}
