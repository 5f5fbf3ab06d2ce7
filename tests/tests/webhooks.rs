//! Webhooks and event streams across `kill -9` of the real server: nothing lost, and nothing twice that could not be told as such.

use anyhow::{Context, Result, bail, ensure};
use api::v1::{CreateWebhook, Delivery, WebhookSpec};
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
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
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

/// What a receiver heard: for each message id its bodies, and the cursors in the order of their arrival.
#[derive(Default)]
struct Heard {
    bodies: BTreeMap<String, Vec<Vec<u8>>>,
    order: Vec<u64>,
}

/// Takes every delivery; answers each only after a while, so that a kill falls between the two now and then.
async fn receive(listener: TcpListener, heard: Arc<Mutex<Heard>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let heard = Arc::clone(&heard);
        tokio::spawn(async move {
            let _ = converse(stream, &heard).await;
        });
    }
}

async fn converse(mut stream: TcpStream, heard: &Mutex<Heard>) -> Result<()> {
    let mut bytes = Vec::new();
    loop {
        let (head, length) = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&bytes[..at]).to_lowercase();
                let length =
                    head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("a length")?.parse::<usize>()?;
                bytes.drain(..at + 4);
                break (head, length);
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        };
        while bytes.len() < length {
            ensure!(stream.read_buf(&mut bytes).await? > 0, "broken off");
        }
        let body: Vec<u8> = bytes.drain(..length).collect();
        let id = head.lines().find_map(|line| line.strip_prefix("webhook-id: ")).context("an id")?.to_owned();
        let delivery: Delivery = serde_json::from_slice(&body)?;
        {
            let mut heard = heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            heard.order.extend(delivery.events.iter().map(|event| event.cursor));
            heard.bodies.entry(id).or_default().push(body);
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
    }
}

/// Killed in the middle of deliveries: every event arrives, in order; what comes twice has the same id and the same bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_goes_on_across_kills_without_a_gap() -> Result<()> {
    scenario("a_webhook_goes_on_across_kills_without_a_gap", &[], async |machine| {
        let mut server = simulated(&machine).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let heard = Arc::new(Mutex::new(Heard::default()));
        let receiver = tokio::spawn(receive(listener, Arc::clone(&heard)));
        let create = CreateWebhook {
            name: "all".into(),
            project: None,
            labels: Default::default(),
            spec: WebhookSpec::to(&url),
            secret: None,
            after: Some(0),
        };
        let made = server.client().webhooks().create(&create, &Default::default()).await?.resource.context("a webhook")?;
        for round in 0..KILLS {
            live(&server, &format!("vm-{round}")).await?;
            server.kill().await?;
            server.up().await?;
        }
        live(&server, "last").await?;
        // All that there is: the webhook itself says when it is done.
        let done = async {
            loop {
                let seen = server.client().webhooks().get("all").await?;
                if seen.status.behind == 0 && seen.status.next_attempt_at.is_none() {
                    return Ok::<u64, anyhow::Error>(seen.status.cursor);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let latest = within("the webhook to catch up", PATIENCE, done).await??;
        receiver.abort();
        let heard = std::mem::take(&mut *heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        let mut under = BTreeMap::new();
        for (id, bodies) in &heard.bodies {
            ensure!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{id} came with other bytes");
            let delivery: Delivery = serde_json::from_slice(&bodies[0])?;
            for event in delivery.events {
                let other = under.insert(event.cursor, id);
                ensure!(other.is_none(), "{} came under {id} and {other:?}", event.cursor);
            }
        }
        let mut repeated = 0;
        let mut first = Vec::new();
        for cursor in &heard.order {
            match first.last() {
                Some(newest) if cursor <= newest => repeated += 1,
                _ => first.push(*cursor),
            }
        }
        let own = created(&server, &made.id).await?;
        let expected: Vec<u64> = (1..=latest).filter(|cursor| *cursor != own).collect();
        ensure!(first == expected, "a gap or another order: {first:?} of {latest}");
        println!("{} deliveries, {} events, {repeated} events repeated over {KILLS} kills", heard.bodies.len(), first.len());
        Ok(())
    })
    .await
}

/// The cursor of the event that tells of the webhook's creation, which it is not sent.
async fn created(server: &Server, id: &str) -> Result<u64> {
    let mut subscriber = Subscriber::new(Way::ServerSent, 0);
    subscriber.connect(server).await?;
    loop {
        let event = within("the creation", PATIENCE, subscriber.next()).await??.context("the stream ended")?;
        if event["id"] == id {
            return event["cursor"].as_u64().context("a cursor");
        }
    }
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
