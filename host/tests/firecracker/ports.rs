//! Ports of a guest on Firecracker: of its loopback by the agent, and of its vsock by Firecracker's socket. What listens on a vsock is a second
//! agent, started by hand: images have nothing else that does.

use crate::contract::SOON;
use crate::guests::{kill_9, output};
use crate::lab::Lab;
use ::host::guest::{ConnectionEvent, ConnectionSource, GuestFault, Port};
use ::host::vmm::Vmm;
use api::guest::{AgentMessage, Decoder, FrameKind, GENERATION, HostHello, HostMessage, VSOCK_PORT, frame};
use std::time::Duration;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(5);

/// The nonce of the hello that comes.
async fn answered(output: &mut Box<dyn ConnectionSource>) -> u64 {
    let mut decoder = Decoder::new();
    loop {
        let ConnectionEvent::Bytes(bytes) = output.next().await.unwrap() else { panic!("it ended without a hello") };
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (taken, found) = decoder.push(rest);
            rest = &rest[taken..];
            if let Some(AgentMessage::Hello(hello)) = found.and_then(|found| serde_json::from_slice(&found.payload).ok()) {
                return hello.nonce;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_of_the_loopback_and_of_the_vsock_are_reached() {
    let Some(lab) = Lab::open("ports_of_the_loopback_and_of_the_vsock_are_reached").await else { return };
    let driver = lab.driver().await;
    assert!(driver.capabilities().vsock);
    let (machine, guest) = lab.booted(&driver).await;

    // The agent's way.
    output(
        &*guest,
        &[
            "sh",
            "-c",
            "nc -ll -p 9000 -e cat </dev/null >/dev/null 2>&1 & until netstat -ltn | grep -q :9000; do sleep 0.05; done",
        ],
    )
    .await;
    let mut echo = guest.connect(9000).await.unwrap();
    let sent: Vec<u8> = (0..1_u32 << 20).map(|at| (at % 251) as u8).collect();
    let write = async {
        echo.input.write_all(&sent).await.unwrap();
        echo.input.close().await.unwrap();
    };
    let read = async {
        let mut got = Vec::new();
        loop {
            match echo.output.next().await.unwrap() {
                ConnectionEvent::Bytes(bytes) => got.extend_from_slice(&bytes),
                ConnectionEvent::Eof => {}
                ConnectionEvent::Closed => return got,
            }
        }
    };
    let ((), got) = timeout(SOON, async { tokio::join!(write, read) }).await.expect("no stall");
    assert!(got == sent, "{} bytes came back", got.len());

    // Firecracker's way, to who says hello back.
    output(&*guest, &["sh", "-c", "/proc/$PPID/exe --vsock 5001 </dev/null >/dev/null 2>&1 &"]).await;
    let second = timeout(SOON, async {
        loop {
            match driver.vsock(lab.vm, &machine, 5001, DEADLINE).await {
                Ok(connection) => return connection,
                Err(_not_yet) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    let mut second = second.await.expect("it listens");
    let hello = HostMessage::Hello(HostHello { generation: GENERATION, nonce: 77, host_version: String::new() });
    let mut wire = Vec::new();
    frame::encode(FrameKind::Control, 0, &serde_json::to_vec(&hello).unwrap(), &mut wire).unwrap();
    second.input.write_all(&wire).await.unwrap();
    assert_eq!(timeout(SOON, answered(&mut second.output)).await.expect("an answer"), 77);
    // Firecracker has no half of a connection: our end is the end of all of it.
    second.input.close().await.unwrap();
    let ended = async { while !matches!(second.output.next().await.unwrap(), ConnectionEvent::Closed) {} };
    timeout(SOON, ended).await.expect("it ends");

    // Nobody listens at a port of the vsock, and the agent's own is not for users.
    let nobody = driver.vsock(lab.vm, &machine, 5000, DEADLINE).await;
    assert!(matches!(nobody, Err(GuestFault::NobodyListens { port: Port::Vsock(5000) })), "{nobody:?}");
    let agents = driver.vsock(lab.vm, &machine, VSOCK_PORT, DEADLINE).await;
    assert!(matches!(agents, Err(GuestFault::Unreachable { .. })), "{agents:?}");
    guest.ping().await.expect("the agent's session stands");

    let mut held = guest.connect(9000).await.unwrap();
    kill_9(machine.pid);
    assert!(timeout(SOON, held.output.next()).await.expect("it ends with the machine").is_err());
    driver.remove(lab.vm).await.unwrap();
    lab.left_nothing(&driver).await;
}
