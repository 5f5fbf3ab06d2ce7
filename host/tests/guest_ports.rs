//! Connections to a guest's own ports: the agent as a real process, and services on this machine's loopback, which here is the guest's.
#![allow(clippy::unwrap_used)]
use api::guest::{AgentHello, AgentMessage, Decoder, ErrorCode, FrameKind, HostMessage, MAX_CONNECTIONS, frame};
use host::guest::{Connection, ConnectionEvent, ConnectionSource, Guest, GuestFault, GuestSession, Port};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

#[path = "support/agent.rs"]
mod agent;

use agent::{Agent, DEADLINE};

/// Of a test that checks that nothing more comes.
const A_WHILE: Duration = Duration::from_millis(200);

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// The two ends of a connection through the agent.
async fn connected(guest: &Guest) -> (Connection, TcpStream) {
    let (listener, port) = listener().await;
    let both = async { tokio::join!(guest.connect(port), listener.accept()) };
    let (connection, accepted) = timeout(DEADLINE, both).await.expect("it is connected");
    (connection.unwrap(), accepted.unwrap().0)
}

async fn next(output: &mut Box<dyn ConnectionSource>) -> Result<ConnectionEvent, GuestFault> {
    timeout(DEADLINE, output.next()).await.expect("something comes")
}

/// All bytes to the guest's end.
async fn rest(output: &mut Box<dyn ConnectionSource>) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        match next(output).await.unwrap() {
            ConnectionEvent::Bytes(bytes) => all.extend_from_slice(&bytes),
            ConnectionEvent::Eof => return all,
            ConnectionEvent::Closed => panic!("closed before its end"),
        }
    }
}

async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut all)).await.expect("it ends").unwrap();
    all
}

fn pattern(len: u32) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

#[tokio::test]
async fn bytes_flow_both_ways_beyond_every_window() {
    let agent = Agent::start().await;
    let guest = agent.guest().await;
    let (Connection { mut input, mut output }, echo) = connected(&guest).await;
    let echoing = tokio::spawn(async move {
        let (mut from, mut to) = echo.into_split();
        tokio::io::copy(&mut from, &mut to).await.unwrap()
    });
    let sent = pattern(8 << 20);
    let write = async {
        input.write_all(&sent).await.unwrap();
        input.close().await.unwrap();
    };
    let ((), got) = tokio::join!(write, rest(&mut output));
    assert!(got == sent);
    assert_eq!(next(&mut output).await.unwrap(), ConnectionEvent::Closed);
    assert_eq!(echoing.await.unwrap(), sent.len() as u64);
}

#[tokio::test]
async fn each_side_ends_by_itself() {
    let agent = Agent::start().await;
    let guest = agent.guest().await;
    // Ours first: what is asked ends, what is answered comes after.
    let (mut connection, mut service) = connected(&guest).await;
    connection.input.write_all(b"question").await.unwrap();
    connection.input.close().await.unwrap();
    assert_eq!(read_all(&mut service).await, b"question");
    service.write_all(b"answer").await.unwrap();
    drop(service);
    assert_eq!(rest(&mut connection.output).await, b"answer");
    assert_eq!(next(&mut connection.output).await.unwrap(), ConnectionEvent::Closed);
    // The guest's first: it has said all and goes on to listen.
    let (mut connection, mut service) = connected(&guest).await;
    service.write_all(b"greeting").await.unwrap();
    service.shutdown().await.unwrap();
    assert_eq!(rest(&mut connection.output).await, b"greeting");
    assert!(timeout(A_WHILE, connection.output.next()).await.is_err(), "it is not over yet");
    connection.input.write_all(b"all the same").await.unwrap();
    connection.input.close().await.unwrap();
    assert_eq!(read_all(&mut service).await, b"all the same");
    assert_eq!(next(&mut connection.output).await.unwrap(), ConnectionEvent::Closed);
}

#[tokio::test]
async fn a_port_at_which_nobody_listens_is_told_by_its_number() {
    let agent = Agent::start().await;
    let guest = agent.guest().await;
    // Nobody else's while it is held.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = held.local_addr().unwrap().port();
    let fault = guest.connect(port).await.unwrap_err();
    assert!(matches!(fault, GuestFault::NobodyListens { port: Port::Tcp(told) } if told == port), "{fault:?}");
    assert_eq!(fault.to_string(), format!("nobody listens at TCP port {port} of the guest"));
    assert!(matches!(guest.connect(0).await, Err(GuestFault::Refused(error)) if error.code == ErrorCode::InvalidRequest));
    guest.ping().await.unwrap();
}

#[tokio::test]
async fn what_listens_on_ipv6_alone_is_found() {
    let agent = Agent::start().await;
    let guest = agent.guest().await;
    let Ok(listener) = TcpListener::bind("[::1]:0").await else { return eprintln!("SKIPPED: needs IPv6") };
    let port = listener.local_addr().unwrap().port();
    let both = async { tokio::join!(guest.connect(port), listener.accept()) };
    let (connection, accepted) = timeout(DEADLINE, both).await.expect("it is connected");
    accepted.unwrap().0.write_all(b"six").await.unwrap();
    assert_eq!(next(&mut connection.unwrap().output).await.unwrap(), ConnectionEvent::Bytes("six".into()));
}

#[tokio::test]
async fn a_connection_that_breaks_says_why() {
    let agent = Agent::start().await;
    let guest = agent.guest().await;
    let (mut connection, service) = connected(&guest).await;
    let service = service.into_std().unwrap();
    // Its end is then a reset.
    nix::sys::socket::setsockopt(&service, nix::sys::socket::sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 })
        .unwrap();
    drop(service);
    let fault = next(&mut connection.output).await.unwrap_err();
    assert!(matches!(&fault, GuestFault::Reset { detail } if detail.contains("reset")), "{fault}");
    guest.ping().await.unwrap();
}

#[tokio::test]
async fn a_slow_reader_stops_its_own_connection_only() {
    let agent = Agent::start().await;
    let guest = agent.guest().await;
    let (mut slow, mut service) = connected(&guest).await;
    let flooding = tokio::spawn(async move {
        let chunk = vec![7; 1 << 16];
        let mut sent = 0_usize;
        // What the kernels' buffers and one window hold goes in; then it stands still.
        while timeout(A_WHILE * 5, service.write_all(&chunk)).await.is_ok_and(|sent| sent.is_ok()) {
            sent += chunk.len();
            assert!(sent < 64 << 20, "nothing stops the flood");
        }
        (service, sent)
    });
    let (service, sent) = flooding.await.unwrap();
    let (mut other, mut answering) = connected(&guest).await;
    answering.write_all(b"beside").await.unwrap();
    assert_eq!(next(&mut other.output).await.unwrap(), ConnectionEvent::Bytes("beside".into()));
    guest.ping().await.unwrap();
    // And it goes on when it is read; of the last chunk a part may have gone in.
    drop(service);
    assert!(rest(&mut slow.output).await.len() >= sent);
}

/// The other way: a service that reads nothing.
#[tokio::test]
async fn a_service_that_does_not_read_stops_its_writer_only() {
    let agent = Agent::start().await;
    let guest = agent.guest().await;
    let (mut connection, mut service) = connected(&guest).await;
    let chunk = vec![7; 1 << 16];
    let mut sent = 0_usize;
    while timeout(A_WHILE * 5, connection.input.write_all(&chunk)).await.is_ok() {
        sent += chunk.len();
        assert!(sent < 64 << 20, "nothing stops the flood");
    }
    for _ in 0..20 {
        guest.ping().await.unwrap();
    }
    let mut got = vec![0; sent];
    timeout(DEADLINE, service.read_exact(&mut got)).await.expect("it goes on").unwrap();
    assert!(got.iter().all(|byte| *byte == 7));
}

#[tokio::test]
async fn there_are_as_many_as_may_be_and_they_come_back() {
    let agent = Agent::start().await;
    let guest = agent.guest().await;
    let (listener, port) = listener().await;
    let accepting = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let mut open = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        open.push(guest.connect(port).await.unwrap());
    }
    assert!(matches!(guest.connect(port).await, Err(GuestFault::Refused(error)) if error.code == ErrorCode::Busy));
    open.pop();
    let again = async {
        while guest.connect(port).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, again).await.expect("one that was dropped makes room");
    accepting.abort();
}

#[tokio::test]
async fn nobody_wants_it_any_more_and_the_service_learns_it() {
    let agent = Agent::start().await;
    let guest = agent.guest().await;
    let (connection, mut dropped) = connected(&guest).await;
    drop(connection);
    assert_eq!(read_all(&mut dropped).await, b"");
    // So with a session that is lost.
    let (_connection, mut lost) = connected(&guest).await;
    let newer = agent.guest().await;
    assert_eq!(read_all(&mut lost).await, b"");
    let (mut anew, mut service) = connected(&newer).await;
    service.write_all(b"anew").await.unwrap();
    assert_eq!(next(&mut anew.output).await.unwrap(), ConnectionEvent::Bytes("anew".into()));
}

#[tokio::test]
async fn the_agents_end_is_the_connections() {
    let mut agent = Agent::start().await;
    let guest = agent.guest().await;
    let (mut connection, _service) = connected(&guest).await;
    agent.child.kill().unwrap();
    assert!(matches!(next(&mut connection.output).await, Err(GuestFault::Closed | GuestFault::Broken { .. })));
}

/// An agent of a machine that has run since an older hearth: it says so at hello, and is not sent what it does not know.
#[tokio::test]
async fn an_older_agent_is_told_by_its_generation() {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let older = tokio::spawn(async move {
        let (mut decoder, mut buffer) = (Decoder::new(), vec![0; 4096]);
        loop {
            let got = far.read(&mut buffer).await.unwrap();
            if got == 0 {
                return;
            }
            let mut bytes = &buffer[..got];
            while !bytes.is_empty() {
                let (taken, found) = decoder.push(bytes);
                bytes = &bytes[taken..];
                let Some(found) = found else { continue };
                let answer = match serde_json::from_slice(&found.payload).unwrap() {
                    HostMessage::Hello(hello) => AgentMessage::Hello(AgentHello {
                        generation: 1,
                        nonce: hello.nonce,
                        agent_version: "0".into(),
                        kernel_release: String::new(),
                        boot_id: String::new(),
                        hostname: String::new(),
                        init: String::new(),
                    }),
                    HostMessage::Ping => AgentMessage::Done,
                    HostMessage::Close => continue,
                    other => panic!("{other:?} to an agent of the first generation"),
                };
                let mut wire = Vec::new();
                frame::encode(FrameKind::Control, found.stream, &serde_json::to_vec(&answer).unwrap(), &mut wire).unwrap();
                far.write_all(&wire).await.unwrap();
            }
        }
    });
    let guest = Guest::connect(near, DEADLINE).await.unwrap();
    let fault = guest.connect(80).await.unwrap_err();
    assert!(matches!(fault, GuestFault::TooOld { request: "connect", settled: 1 }), "{fault:?}");
    guest.ping().await.unwrap();
    drop(guest);
    timeout(DEADLINE, older).await.unwrap().unwrap();
}
