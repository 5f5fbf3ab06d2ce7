//! The event stream as its readers see it: the same over WebSocket and server-sent events, resumed by number, narrowed, and ended with a reason.

use anyhow::{Context, Result, ensure};
use api::{
    client::{EventQuery, ListQuery},
    v1::{EventKind, PatchHost},
};
use futures_util::{SinkExt, StreamExt};
use hearth_tests::{
    Options, PATIENCE, Server,
    events::{Follower, server_sent, without_gaps},
    guest::{create, small, waiting},
    images,
    raw::Raw,
    scenario, within,
};
use reqwest::Method;
use serde_json::Value;
use std::time::Duration;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

/// Changes at a time: they share the syncs of the disk.
const TOGETHER: usize = 64;

async fn simulated(machine: &hearth_tests::Machine, arguments: &[&str]) -> Result<Server> {
    let options = arguments.iter().fold(Options::simulated(), |options, argument| options.argument(argument));
    let server = Server::start(machine, Options { images: false, ..options }).await?;
    images::pretend(&server).await?;
    Ok(server)
}

/// Each makes a handful of events.
async fn lives(server: &Server, count: usize) -> Result<()> {
    for number in 0..count {
        let name = format!("vm-{number}");
        server.client().vms().create(&create(&name, small(), true), &waiting()).await?;
        server.client().vms().delete(&name, true, &waiting()).await?;
    }
    Ok(())
}

/// Fifty events and more: by WebSocket, by server-sent events, resumed in the middle; one and the same story.
#[tokio::test(flavor = "multi_thread")]
async fn both_streams_tell_the_same_and_resume_anywhere() -> Result<()> {
    scenario("both_streams_tell_the_same_and_resume_anywhere", &[], async |machine| {
        let mut server = simulated(&machine, &[]).await?;
        let mut live = Follower::open(server.client(), Some(0)).await?;
        lives(&server, 6).await?;
        while live.seen.iter().filter(|event| event.event == "vm-deleted").count() < 6 {
            live.next().await?;
        }
        ensure!(live.seen.len() >= 50, "only {} events", live.seen.len());
        without_gaps(&live.seen)?;
        ensure!(live.seen[0].cursor == 1, "the first is {}", live.seen[0].cursor);
        let count = live.seen.len();
        ensure!(server_sent(sse(&server, None).await?, count).await? == live.seen, "the two streams differ");
        // Anywhere in between, by query and by the browser's own header.
        for cut in [1, count / 2, count - 1] {
            let after = live.seen[cut - 1].cursor;
            let mut rest = Follower::open(server.client(), Some(after)).await?;
            while rest.seen.len() < count - cut {
                rest.next().await?;
            }
            ensure!(rest.seen == live.seen[cut..], "resumed behind {after} it differs");
            let again = server_sent(sse(&server, Some(after)).await?, count - cut).await?;
            ensure!(again == live.seen[cut..], "by Last-Event-ID {after} it differs");
        }
        // The same after a crash: numbers go on, and nothing is told anew.
        server.kill().await?;
        server.up().await?;
        let mut whole = Follower::open(server.client(), Some(0)).await?;
        while whole.seen.len() < count {
            whole.next().await?;
        }
        ensure!(whole.seen == live.seen, "after a crash the story is another");
        Ok(())
    })
    .await
}

/// From the oldest, or as a browser that comes back.
async fn sse(server: &Server, last: Option<u64>) -> Result<reqwest::Response> {
    let raw = Raw::new(server, Method::GET, "/v1/events?after=0")?.header("accept", "text/event-stream");
    match last {
        Some(last) => raw.header("last-event-id", &last.to_string()).stream().await,
        None => raw.stream().await,
    }
}

/// By kind and by id; and what an event says.
#[tokio::test(flavor = "multi_thread")]
async fn streams_are_narrowed() -> Result<()> {
    scenario("streams_are_narrowed", &[], async |machine| {
        let server = simulated(&machine, &[]).await?;
        let made = server.client().vms().create(&create("a", small(), true), &waiting()).await?.resource.context("a VM")?;
        server.client().vms().create(&create("b", small(), true), &waiting()).await?;
        let query = EventQuery { after: Some(0), kind: Some("vm".into()), id: Some(made.id.clone()), ..EventQuery::default() };
        let mut narrow = Follower::ask(server.client(), query).await?;
        let started = narrow.of(&made.id, "vm-started").await?;
        server.client().vms().delete("b", true, &waiting()).await?;
        server.client().vms().delete("a", true, &waiting()).await?;
        narrow.of(&made.id, "vm-deleted").await?;
        ensure!(narrow.seen.iter().all(|event| event.id == made.id && event.kind == EventKind::Vm), "{:?}", narrow.seen);
        ensure!(started.name == "a" && started.project == "default" && started.generation > 0, "{started:?}");
        ensure!(started.data.get("state").and_then(Value::as_str) == Some("running"), "{started:?}");
        let asked = narrow.seen.iter().find(|event| event.event == "vm-creating").context("vm-creating")?;
        ensure!(asked.actor == "user:admin", "{asked:?}");
        ensure!(asked.operation.is_some(), "{asked:?}");
        // Its generations rise.
        ensure!(narrow.seen.windows(2).all(|pair| pair[0].generation <= pair[1].generation), "{:?}", narrow.seen);
        Ok(())
    })
    .await
}

/// A cursor that is no longer kept is answered by `resync`, and the stream goes on from what is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_too_old_is_told_to_list_again() -> Result<()> {
    scenario("a_cursor_too_old_is_told_to_list_again", &[], async |machine| {
        let server = simulated(&machine, &["--keep-events", "20"]).await?;
        lives(&server, 20).await?;
        let mut old = Follower::open(server.client(), Some(1)).await?;
        let first = old.next().await?.clone();
        ensure!(first.event == "resync" && first.kind == EventKind::Stream, "{first:?}");
        let next = old.next().await?.clone();
        ensure!(next.cursor == first.cursor + 1, "after resync at {} comes {}", first.cursor, next.cursor);
        let mut ahead = Follower::open(server.client(), Some(1_000_000)).await?;
        ensure!(ahead.next().await?.event == "resync", "a cursor from the future is not told");
        Ok(())
    })
    .await
}

/// Who does not read is cut off with a code and a reason, and can resume where it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_does_not_read_is_cut_off_with_a_reason() -> Result<()> {
    scenario("a_subscriber_that_does_not_read_is_cut_off_with_a_reason", &[], async |machine| {
        let server = simulated(&machine, &[]).await?;
        let socket = tokio::net::TcpSocket::new_v4()?;
        // A bounded window, so that not too much is on its way; but not less than a segment of the loopback, 64 KiB: such a window the kernel opens by
        // probes alone, each twice as late as the one before.
        socket.set_recv_buffer_size(256 * 1024)?;
        let stream = socket.connect(format!("127.0.0.1:{}", server.port()).parse()?).await?;
        let mut request = format!("ws://127.0.0.1:{}/v1/events", server.port()).into_client_request()?;
        request.headers_mut().insert("authorization", format!("Bearer {}", server.token()?).parse()?);
        let (mut slow, _) = tokio_tungstenite::client_async(request, stream).await?;

        // Events, until the server's patience with this reader is over: it says so by its own counter.
        let host = server.client().hosts().list(ListQuery::default()).next().await?.context("a host")?.id;
        let dropped = async || {
            let text = Raw::new(&server, Method::GET, "/metrics")?.send().await?.text();
            let line = text
                .lines()
                .find(|line| line.starts_with("hearth_event") && line.contains("dropped"))
                .context("no counter of dropped subscribers")?;
            Ok::<bool, anyhow::Error>(!line.ends_with(" 0"))
        };
        let flood = async {
            while !dropped().await? {
                let changes = (0..TOGETHER).map(|number| {
                    let labels = [("number".to_owned(), number.to_string())].into();
                    let (client, host) = (server.client().clone(), host.clone());
                    async move { client.hosts().patch(&host, &PatchHost { labels: Some(labels) }, &Default::default()).await }
                });
                futures_util::future::try_join_all(changes).await?;
            }
            Ok::<(), anyhow::Error>(())
        };
        within("the end of the server's patience", PATIENCE * 2, flood).await??;
        let close = async {
            let (mut last, mut read) = (0, 0);
            loop {
                match slow.next().await.context("cut off without a word")?? {
                    Message::Close(Some(frame)) => {
                        return Ok::<(u16, String, u64), anyhow::Error>((frame.code.into(), frame.reason.to_string(), last));
                    }
                    Message::Text(text) => last = serde_json::from_str::<Value>(&text)?["cursor"].as_u64().unwrap_or_default(),
                    _ => {}
                }
                // Clients say something as well: their pings, the answers to the server's.
                read += 1;
                if read % 100 == 0 {
                    slow.send(Message::Pong(Vec::new().into())).await.context("cut off without a word")?;
                }
            }
        };
        let (code, reason, last) = within("the reason", PATIENCE, close).await??;
        ensure!(code == 4408 && reason.contains("after="), "{code} {reason}");
        let after: u64 = reason.rsplit('=').next().context("a cursor")?.parse()?;
        // What was read and what is resumed overlap or meet: no gap.
        ensure!(after <= last, "told to resume behind {after}, but read only to {last}");
        let mut rest = Follower::open(server.client(), Some(after)).await?;
        ensure!(rest.next().await?.cursor == after + 1, "resumed with a gap");
        tokio::time::timeout(Duration::from_secs(5), rest.next()).await??;
        Ok(())
    })
    .await
}
