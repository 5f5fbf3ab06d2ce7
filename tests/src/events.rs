//! Following the event stream in a test: until something comes, with a deadline.

use crate::{PATIENCE, within};
use anyhow::{Context, Result, bail};
use api::{
    client::{Client, EventItem, EventQuery, Events},
    v1::Event,
};
use futures_util::StreamExt;

/// A stream and everything that came by it.
pub struct Follower {
    events: Events,
    pub seen: Vec<Event>,
}

impl Follower {
    /// From behind the cursor, or from now on. Does not reconnect.
    pub async fn open(client: &Client, after: Option<u64>) -> Result<Follower> {
        Follower::ask(client, EventQuery { after, ..EventQuery::default() }).await
    }

    pub async fn ask(client: &Client, query: EventQuery) -> Result<Follower> {
        Ok(Follower { events: client.events(query).await.context("the event stream")?, seen: Vec::new() })
    }

    /// The next event, whatever it is; breaks are passed over when the stream reconnects.
    pub async fn next(&mut self) -> Result<&Event> {
        loop {
            match within("the next event", PATIENCE, self.events.next()).await?? {
                Some(EventItem::Event(event)) => {
                    self.seen.push(*event);
                    return self.seen.last().context("it was just pushed");
                }
                Some(EventItem::Resumed { complete: false }) => bail!("the stream resumed with a gap"),
                Some(EventItem::Lost { .. } | EventItem::Resumed { .. }) => {}
                None => bail!("the event stream ended"),
            }
        }
    }

    /// The first event that fits, from now on in the stream.
    pub async fn find(&mut self, what: &str, fits: impl Fn(&Event) -> bool) -> Result<Event> {
        let search = async {
            loop {
                let event = self.next().await?;
                if fits(event) {
                    return Ok::<Event, anyhow::Error>(event.clone());
                }
            }
        };
        let found = within(what, PATIENCE, search).await.and_then(|found| found);
        found.with_context(|| {
            let names: Vec<_> = self.seen.iter().map(|event| format!("{} {}", event.event, event.name)).collect();
            format!("while waiting for {what}; seen: {names:?}")
        })
    }

    /// An event of a resource by its type.
    pub async fn of(&mut self, id: &str, kind: &str) -> Result<Event> {
        self.find(&format!("{kind} of {id}"), |event| event.id == id && event.event == kind).await
    }

    /// One of this type for each resource, from now on in the stream, in whatever order.
    pub async fn each(&mut self, ids: &[&str], kind: &str) -> Result<()> {
        let mut missing: Vec<&str> = ids.to_vec();
        while !missing.is_empty() {
            let what = format!("{kind} of {missing:?}");
            let event = self.find(&what, |event| event.event == kind && missing.contains(&event.id.as_str())).await?;
            missing.retain(|id| *id != event.id);
        }
        Ok(())
    }

    /// The cursor of the newest that was seen.
    pub fn cursor(&self) -> u64 {
        self.seen.last().map_or(0, |event| event.cursor)
    }
}

/// So many server-sent events, as the bytes of their documents.
pub async fn server_sent(response: reqwest::Response, count: usize) -> Result<Vec<Event>> {
    let mut stream = response.bytes_stream();
    let mut text = String::new();
    let read = async {
        loop {
            let found: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
            // The last line may not be complete.
            if found.len() > count || (found.len() == count && text.ends_with("\n\n")) {
                return found.into_iter().take(count).map(|line| Ok(serde_json::from_str(line)?)).collect();
            }
            let chunk = stream.next().await.context("the stream of server-sent events ended")??;
            text.push_str(std::str::from_utf8(&chunk)?);
        }
    };
    within("server-sent events", PATIENCE, read).await?
}

/// Each number once and in order.
pub fn without_gaps(events: &[Event]) -> Result<()> {
    for pair in events.windows(2) {
        if pair[1].cursor != pair[0].cursor + 1 {
            bail!("after cursor {} comes {}", pair[0].cursor, pair[1].cursor);
        }
    }
    Ok(())
}
