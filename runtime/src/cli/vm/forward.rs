//! `vm forward`: ports here that lead to ports in the guest, until it is ended.

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::style::harmless;
use crate::cli::tty::{Ending, Heard};
use api::client::{Client, ClientError, Connection, ConnectionEvent, GuestPort};
use bytes::BytesMut;
use clap::Args;
use serde_json::json;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, tcp::ReadHalf};
use tokio::task::JoinSet;

pub const EXAMPLES: &str = "\
Listens on 127.0.0.1 only, and prints where. Each connection there is one to the port in the guest, on its own loopback, by hearth's agent: the
guest needs no network. LOCAL 0, or none before vsock:PORT, lets the system choose. Ctrl-C ends it and all connections. On Firecracker a vsock
connection ends both ways with the first side's end: there let the guest end first.

Examples:
  hearth vm forward web 8080:80                   # http://127.0.0.1:8080 is the guest's port 80
  hearth vm forward db 5432 9000:vsock:9000       # the same number here and there; a port of the guest's vsock";

/// Read at a time from a local program.
const CHUNK: usize = 16 * 1024;
/// Connections at a time, of which the server takes 64 for each VM: the rest are told so.
const MOST: usize = 256;
/// After a failure to accept, such as too many open files: until some were closed.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub struct ForwardArgs {
    /// Name or id
    vm: String,
    /// LOCAL:PORT, or PORT where both are the same; PORT is a TCP port of the guest's loopback, or vsock:PORT
    #[arg(required = true, value_name = "LOCAL:PORT")]
    ports: Vec<Forward>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Forward {
    /// 0: any that is free.
    local: u16,
    port: GuestPort,
}

impl FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None | Some(("tcp" | "vsock", _)) => {
                let port = text.parse()?;
                Ok(Forward { local: if let GuestPort::Tcp(port) = port { port } else { 0 }, port })
            }
            Some((local, port)) => {
                let local = local.parse().map_err(|_| format!("{local:?} is no port: a number from 0 to {}", u16::MAX))?;
                Ok(Forward { local, port: port.parse()? })
            }
        }
    }
}

pub async fn run(context: &Context, args: ForwardArgs) -> Result<(), CliError> {
    let mut ending = Ending::listen()?;
    // A name that is none is told now, not to the first who connects. A VM that does not run yet may later.
    context.client.vms().get(&args.vm).await.map_err(|error| context.explain(error, None))?;
    // All or none: what is told can be used.
    let mut bound = Vec::new();
    for forward in args.ports {
        bound.push((bind(forward).await?, forward));
    }
    let mut listening = JoinSet::new();
    for (listener, forward) in bound {
        tell(context, &args.vm, &listener, forward)?;
        listening.spawn(serve(context.client.clone(), args.vm.clone(), listener, forward.port));
    }
    // A window's new size ends nothing.
    while !matches!(ending.next().await, Heard::End(_)) {}
    listening.shutdown().await;
    Ok(())
}

async fn bind(Forward { local, .. }: Forward) -> Result<TcpListener, CliError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, local)).await.map_err(|error| CliError::Offline {
        detail: format!("cannot listen on 127.0.0.1:{local}: {error}"),
        hint: "choose another local port: LOCAL:PORT, or 0:PORT for any that is free".to_owned(),
    })
}

fn tell(context: &Context, vm: &str, listener: &TcpListener, Forward { port, .. }: Forward) -> Result<(), CliError> {
    let local = listener.local_addr().map_err(|source| CliError::Io { what: "cannot listen", source })?;
    if context.json() {
        return output::json_line(&json!({"local": local.to_string(), "vm": vm, "port": port.to_string()}));
    }
    output::line(&format!("{local} -> {port} of {vm}"))
}

/// Until it is dropped, with all connections.
async fn serve(client: Client, vm: String, listener: TcpListener, port: GuestPort) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if open.len() < MOST => match accepted {
                Ok((stream, _)) => {
                    open.spawn(joined(client.clone(), vm.clone(), stream, port));
                }
                Err(error) => {
                    output::note(&format!("cannot accept a connection: {error}"));
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            },
            Some(_ended) = open.join_next() => {}
        }
    }
}

/// One connection, from here to the guest; told when it fails, which ends nothing else.
async fn joined(client: Client, vm: String, stream: TcpStream, port: GuestPort) {
    let mut local = Local { stream, ended: false };
    let carried = match client.connect(&vm, port).await {
        Ok(connection) => carry(connection, &mut local).await,
        Err(error) => Err(error),
    };
    if let Err(error) = carried {
        output::note(&format!("{port} of {vm}: {}", harmless(&error.to_string())));
    }
}

/// The local program's connection. Unless it came to its end, the program must not take what it got for all: it sees a reset.
struct Local {
    stream: TcpStream,
    ended: bool,
}

impl Drop for Local {
    fn drop(&mut self) {
        if !self.ended {
            // Of a socket that is gone already there is nothing to tell.
            let _ = self.stream.set_zero_linger();
        }
    }
}

/// Returns when both sides have ended, or one of them broke.
async fn carry(mut connection: Connection, local: &mut Local) -> Result<(), ClientError> {
    let _ = local.stream.set_nodelay(true);
    let (reader, mut writer) = local.stream.split();
    let input = connection.input();
    let up = send(reader, input);
    let down = async {
        while let Some(event) = connection.next().await? {
            let written = match event {
                ConnectionEvent::Bytes(bytes) => writer.write_all(&bytes).await,
                ConnectionEvent::Eof => writer.shutdown().await,
            };
            // The local program has gone: so has the reason to go on.
            if written.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    };
    let ended = tokio::select! {
        () = up => Ok(false),
        ended = down => ended,
    };
    local.ended = matches!(ended, Ok(true));
    ended.map(drop)
}

/// Returns only when the local program broke the connection off.
async fn send(mut reader: ReadHalf<'_>, input: api::client::ConnectionInput) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK);
        match reader.read_buf(&mut buffer).await {
            Ok(0) => break,
            Ok(_) => {
                if input.send(buffer.split().freeze()).await.is_err() {
                    // The way down reports what happened.
                    break;
                }
            }
            Err(_broken_off) => return,
        }
    }
    let _ = input.eof().await;
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forward_is_two_ports_or_one() {
        let of = |text: &str| text.parse::<Forward>();
        let tcp = |local, port| Ok(Forward { local, port: GuestPort::Tcp(port) });
        assert_eq!(
            (of("8080:80"), of("5432"), of("0:80"), of("tcp:80")),
            (tcp(8080, 80), tcp(5432, 5432), tcp(0, 80), tcp(80, 80))
        );
        assert_eq!(of("1:tcp:2"), tcp(1, 2));
        assert_eq!(of("9000:vsock:70000"), Ok(Forward { local: 9000, port: GuestPort::Vsock(70_000) }));
        assert_eq!(of("vsock:5"), Ok(Forward { local: 0, port: GuestPort::Vsock(5) }));
        for wrong in ["", "0", "80:0", "80:", ":80", "65536:80", "80:65536", "a:80", "80:udp:1"] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
    }
}
