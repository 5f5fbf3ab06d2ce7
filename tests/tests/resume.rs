//! Both event streams across `kill -9` of the real server: a subscriber that comes back has lost nothing and gets nothing twice.

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use hearth_tests::{
    Options, PATIENCE, Server,
    guest::{create, small, waiting},
    images,
    raw::Raw,
    scenario, within,
};
use reqwest::Method;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

const KILLS: usize = 5;

async fn simulated(machine: &hearth_tests::Machine) -> Result<Server> {
    let server = Server::start(machine, Options { images: false, ..Options::simulated() }).await?;
    images::pretend(&server).await?;
    Ok(server)
}

async fn live(server: &Server, name: &str) -> Result<()> {
    server.client().vms().create(&create(name, small(), true), &waiting()).await?;
    server.client().vms().delete(name, true, &waiting()).await?;
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Socket,
    ServerSent,
}

type Bytes = std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>;

enum Line {
    Socket(Box<tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<TcpStream>>>),
    ServerSent(Bytes, Vec<u8>),
}

/// One that remembers where it is and comes back, as a browser does.
struct Subscriber {
    way: Way,
    cursor: u64,
    line: Option<Line>,
}

impl Subscriber {
    fn new(way: Way, cursor: u64) -> Subscriber {
        Subscriber { way, cursor, line: None }
    }

    async fn connect(&mut self, server: &Server) -> Result<()> {
        self.line = Some(match self.way {
            Way::Socket => {
                let url = format!("ws://127.0.0.1:{}/v1/events?after={}", server.port(), self.cursor);
                let mut request = url.into_client_request()?;
                request.headers_mut().insert("authorization", format!("Bearer {}", server.token()?).parse()?);
                Line::Socket(Box::new(tokio_tungstenite::connect_async(request).await?.0))
            }
            // A browser repeats its first address, and says by the header what it saw last.
            Way::ServerSent => {
                let raw = Raw::new(server, Method::GET, "/v1/events?after=0")?.header("accept", "text/event-stream");
                let response = raw.header("last-event-id", &self.cursor.to_string()).stream().await?;
                Line::ServerSent(Box::pin(response.bytes_stream()), Vec::new())
            }
        });
        Ok(())
    }

    /// `None`: the connection is gone.
    async fn next(&mut self) -> Result<Option<Value>> {
        let event: Value = match self.line.as_mut().context("not connected")? {
            Line::Socket(socket) => loop {
                match socket.next().await {
                    Some(Ok(Message::Text(text))) => break serde_json::from_str(&text)?,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(None),
                    Some(Ok(_)) => {}
                }
            },
            Line::ServerSent(stream, bytes) => loop {
                if let Some(at) = bytes.windows(2).position(|two| two == b"\n\n") {
                    let block = String::from_utf8(bytes.drain(..at + 2).collect())?;
                    match block.lines().find_map(|line| line.strip_prefix("data: ")) {
                        Some(data) if block.contains("id: ") => break serde_json::from_str(data)?,
                        _ => continue,
                    }
                }
                match stream.next().await {
                    Some(Ok(chunk)) => bytes.extend_from_slice(&chunk),
                    Some(Err(_)) | None => return Ok(None),
                }
            },
        };
        let cursor = event["cursor"].as_u64().context("a cursor")?;
        if cursor != self.cursor + 1 {
            bail!("{:?}: {} is followed by {cursor}: {event}", self.way, self.cursor);
        }
        self.cursor = cursor;
        Ok(Some(event))
    }
}

/// By both ways, over kills in the middle of what happens: each number once and in order, resumed by what was seen last.
#[tokio::test(flavor = "multi_thread")]
async fn subscribers_resume_across_kills_by_both_ways() -> Result<()> {
    scenario("subscribers_resume_across_kills_by_both_ways", &[], async |machine| {
        let mut server = simulated(&machine).await?;
        let mut subscribers = [Subscriber::new(Way::Socket, 0), Subscriber::new(Way::ServerSent, 0)];
        for round in 0..KILLS {
            for subscriber in &mut subscribers {
                subscriber.connect(&server).await?;
            }
            live(&server, &format!("vm-{round}")).await?;
            // Some of it is read before, some is on its way when the server dies.
            for subscriber in &mut subscribers {
                within("an event", PATIENCE, subscriber.next()).await??.context("the stream ended")?;
            }
            server.kill().await?;
            for subscriber in &mut subscribers {
                while within("the end", PATIENCE, subscriber.next()).await??.is_some() {}
            }
            server.up().await?;
        }
        for subscriber in &mut subscribers {
            subscriber.connect(&server).await?;
        }
        let last = server.client().vms().create(&create("last", small(), false), &waiting()).await?.resource.context("a VM")?;
        for subscriber in &mut subscribers {
            while within("the last", PATIENCE, subscriber.next()).await??.context("the stream ended")?["id"] != last.id.as_str() {
            }
        }
        Ok(())
    })
    .await
}
