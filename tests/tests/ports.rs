//! Ports of real guests that have no network at all: reached through the API and with the command line.

use anyhow::{Context, Result, bail, ensure};
use api::{
    client::{ClientError, Connection, ConnectionEvent, GuestPort},
    v1::VmSpec,
};
use bytes::Bytes;
use hearth_tests::{
    Guest, Need, Options, PATIENCE, Server,
    command::{hearth, run, run_with},
    guest::{nothing_left, refused},
    scenario, small, until, within,
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// Where the guest echoes, one process for each connection.
const ECHO: GuestPort = GuestPort::Tcp(9000);
/// Where nobody listens.
const CLOSED: GuestPort = GuestPort::Tcp(9);
/// As many connections as a VM's ports have at a time.
const MOST: usize = 64;

fn offline() -> VmSpec {
    VmSpec { networks: vec![], ..small() }
}

async fn echoing(server: &Server, name: &str) -> Result<Guest> {
    let guest = Guest::boot(server, name, offline()).await?;
    guest.sh("nc -ll -p 9000 -e cat </dev/null >/dev/null 2>&1 &").await?;
    let listens = || async { Ok(guest.sh("netstat -ltn | grep -c ':9000 ' || true").await?.starts_with('1').then_some(())) };
    until("the echo", PATIENCE, listens).await?;
    Ok(guest)
}

/// All bytes to the guest's end.
async fn rest(connection: &mut Connection) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        match within("bytes of the guest", PATIENCE, connection.next()).await??.context("it ended without the guest's end")? {
            ConnectionEvent::Bytes(bytes) => all.extend_from_slice(&bytes),
            ConnectionEvent::Eof => return Ok(all),
        }
    }
}

/// There and back, with the end of either side.
async fn echo(server: &Server, guest: &Guest, sent: &[u8]) -> Result<()> {
    let mut connection = server.client().connect(&guest.id, ECHO).await?;
    let input = connection.input();
    let send = async {
        for chunk in sent.chunks(16 * 1024) {
            input.send(Bytes::copy_from_slice(chunk)).await?;
        }
        input.eof().await?;
        Ok::<(), anyhow::Error>(())
    };
    let (wrote, got) = tokio::join!(send, rest(&mut connection));
    wrote?;
    let got = got?;
    ensure!(got == sent, "{} of {} bytes came back, or others", got.len(), sent.len());
    ensure!(within("the end", PATIENCE, connection.next()).await??.is_none(), "something after both ends");
    Ok(())
}

fn lost<T>(result: Result<T, ClientError>) -> Result<String> {
    match result {
        Err(ClientError::Lost { reason, .. }) => Ok(reason),
        Err(other) => bail!("it was not lost: {other}"),
        Ok(_) => bail!("it was not lost"),
    }
}

/// 8 MiB each way, who ends first, who is not there, and how many there may be.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_without_a_network_is_reached() -> Result<()> {
    scenario("a_guest_without_a_network_is_reached", &[Need::Guests], async |machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        let guest = echoing(&server, "ports").await?;
        echo(&server, &guest, b"hello").await?;
        let large: Vec<u8> = (0..8_u32 << 20).map(|at| (at % 251) as u8).collect();
        echo(&server, &guest, &large).await?;
        one_way(&server, &guest, &large).await?;

        let problem = refused(server.client().connect(&guest.id, CLOSED).await)?;
        ensure!((problem.status, problem.code.as_str()) == (409, "nobody-listens"), "{problem:?}");
        ensure!(problem.detail == "nobody listens at TCP port 9 of the guest", "{problem:?}");
        let problem = refused(server.client().connect(&guest.id, GuestPort::Vsock(5000)).await)?;
        let drivers = ["unsupported-by-driver", "nobody-listens"];
        ensure!(problem.status == 409 && drivers.contains(&problem.code.as_str()), "{problem:?}");

        let mut open = Vec::new();
        for number in 0..MOST {
            let connection = server.client().connect(&guest.id, ECHO).await.with_context(|| format!("connection {number}"))?;
            open.push(connection);
        }
        let problem = refused(server.client().connect(&guest.id, ECHO).await)?;
        ensure!((problem.status, problem.code.as_str()) == (429, "too-many-connections"), "{problem:?}");
        for (number, connection) in open.iter_mut().enumerate() {
            let said = format!("number {number}");
            connection.input().send(Bytes::from(said.clone())).await?;
            connection.input().eof().await?;
            let got = rest(connection).await?;
            ensure!(got == said.as_bytes(), "{said}: {:?}", String::from_utf8_lossy(&got));
        }
        drop(open);
        until("room for another", PATIENCE, || async { Ok(echo(&server, &guest, b"again").await.ok()) }).await?;
        // What is not read holds up nobody else.
        let mut flood = server.client().connect(&guest.id, ECHO).await?;
        let input = flood.input();
        let sending = tokio::spawn(async move { while input.send(Bytes::from(vec![7; 16 * 1024])).await.is_ok() {} });
        for _ in 0..5 {
            echo(&server, &guest, b"beside").await?;
            guest.sh("true").await?;
        }
        within("a byte of the flood", PATIENCE, flood.next()).await??;
        drop(flood);
        sending.abort();
        guest.delete(&server, true).await?;
        nothing_left(&server, None).await
    })
    .await
}

/// Each direction alone, with a checksum made in the guest.
async fn one_way(server: &Server, guest: &Guest, large: &[u8]) -> Result<()> {
    guest.sh("nc -l -p 9001 </dev/null >/tmp/got 2>/dev/null & echo $! >/tmp/taker").await?;
    let connection =
        until("the taker", PATIENCE, || async { Ok(server.client().connect(&guest.id, GuestPort::Tcp(9001)).await.ok()) }).await;
    let mut connection = connection?;
    for chunk in large.chunks(64 * 1024) {
        connection.input().send(Bytes::copy_from_slice(chunk)).await?;
    }
    connection.input().eof().await?;
    ensure!(rest(&mut connection).await?.is_empty(), "the taker said something");
    ensure!(within("the end", PATIENCE, connection.next()).await??.is_none());
    until("what was taken", PATIENCE, || async {
        Ok((guest.sh("test -e /proc/$(cat /tmp/taker) && echo on || wc -c </tmp/got").await? == large.len().to_string())
            .then_some(()))
    })
    .await?;
    guest.sh("nc -l -p 9002 </tmp/got >/dev/null 2>&1 &").await?;
    let connection =
        until("the giver", PATIENCE, || async { Ok(server.client().connect(&guest.id, GuestPort::Tcp(9002)).await.ok()) }).await;
    let mut connection = connection?;
    let got = rest(&mut connection).await?;
    ensure!(got == large, "{} of {} bytes, or others", got.len(), large.len());
    connection.input().eof().await?;
    ensure!(within("the end", PATIENCE, connection.next()).await??.is_none());
    Ok(())
}

/// What ends under a connection is told: the VM, the server. Neither leaves anything, and a guest that goes on is reached again.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_vm_and_of_the_server_ends_its_connections() -> Result<()> {
    scenario("the_end_of_a_vm_and_of_the_server_ends_its_connections", &[Need::Guests], async |machine| {
        let mut server = Server::start(&machine, Options::offline()).await?;
        let guest = echoing(&server, "ends").await?;
        let mut connection = server.client().connect(&guest.id, ECHO).await?;
        server.terminate().await?;
        let reason = lost(within("the server's goodbye", PATIENCE, connection.next()).await?)?;
        ensure!(reason.contains("shutting down"), "{reason}");
        server.up().await?;
        until("the guest after the restart", PATIENCE, || async { Ok(echo(&server, &guest, b"still there").await.ok()) }).await?;

        let mut connection = server.client().connect(&guest.id, ECHO).await?;
        connection.input().send(Bytes::from_static(b"before")).await?;
        ensure!(matches!(connection.next().await?, Some(ConnectionEvent::Bytes(_))), "no echo");
        guest.stop(true).await?;
        let told = async {
            loop {
                match connection.next().await {
                    Ok(Some(_)) => {}
                    end => return end,
                }
            }
        };
        let reason = lost(within("the VM's end", PATIENCE, told).await?)?;
        ensure!(!reason.is_empty(), "no reason");
        let problem = refused(server.client().connect(&guest.id, ECHO).await)?;
        ensure!((problem.status, problem.code.as_str()) == (409, "vm-not-running"), "{problem:?}");
        guest.delete(&server, true).await?;
        nothing_left(&server, None).await
    })
    .await
}

/// As people use it: a page from a web server by its standard streams, and by a port of this machine.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_connects_and_forwards() -> Result<()> {
    scenario("the_command_line_connects_and_forwards", &[Need::Guests], async |machine| {
        let server = Server::start(&machine, Options::offline()).await?;
        let guest = Guest::boot(&server, "web", offline()).await?;
        guest.sh("mkdir -p /srv && echo it works >/srv/index.html && httpd -p 127.0.0.1:80 -h /srv").await?;
        let get = "GET /index.html HTTP/1.0\r\n\r\n";
        let ran = run_with(&server, &["vm", "connect", "web", "80"], get).await?;
        ensure!(ran.code == Some(0) && ran.stdout.starts_with("HTTP/1.") && ran.stdout.ends_with("it works\n"), "{ran:?}");
        let ran = run(&server, &["vm", "connect", "web", "9"]).await?;
        ensure!(ran.code == Some(1) && ran.stderr.starts_with("error: nobody listens at TCP port 9 of the guest"), "{ran:?}");

        let mut forward = hearth(&server, &["vm", "forward", "web", "0:80", "-o", "json"])?.spawn()?;
        let mut lines = BufReader::new(forward.stdout.take().context("stdout")?).lines();
        let told = within("where it listens", PATIENCE, lines.next_line()).await??.context("it ended")?;
        let told: Value = serde_json::from_str(&told)?;
        let local = told["local"].as_str().with_context(|| told.to_string())?;
        for _ in 0..3 {
            let mut stream = TcpStream::connect(local).await?;
            stream.write_all(get.as_bytes()).await?;
            let mut page = String::new();
            within("the page", PATIENCE, stream.read_to_string(&mut page)).await??;
            ensure!(page.ends_with("it works\n"), "{page:?}");
        }
        let pid = nix::unistd::Pid::from_raw(i32::try_from(forward.id().context("a pid")?)?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT)?;
        ensure!(within("the end of forward", PATIENCE, forward.wait()).await??.success());
        guest.delete(&server, true).await?;
        nothing_left(&server, None).await
    })
    .await
}
