//! Carrying out a webhook's effects: looking through the log, posting, waiting. Each ends in one message with its attempt.

use super::{
    actor::Done,
    letters,
    port::{Content, Outcome, Post},
};
use crate::{
    ambient,
    commit::decode_event,
    error::chain,
    shared::{Shared, now},
};
use domain::webhook::{Delivery, Finished, Webhook, What, step::EVENTS_MAX};
use host::secret::SecretError;
use std::{sync::Arc, time::Duration};
use storage::{Event, ReadError};

/// Read from the log at once.
const READ: usize = 512;
/// Of one POST, as the log has them: twice as much as JSON. One event may be larger; it goes alone.
const BYTES_MAX: usize = 256 * 1024;
/// After so many events that are not wanted it is noted how far we are, or a restart would look through all of them again.
const SKIPPED_MAX: u64 = 1_000;
/// The same for few that came long ago: people are to see how far it is, at a commit a second at most.
const NOTE_AFTER: Duration = Duration::from_secs(1);
/// A file of some bytes on the machine's own disk; one that hangs must not hold deliveries for ever.
const SECRET_WITHIN: Duration = Duration::from_secs(10);
/// Beyond the port's own.
const GRACE: Duration = Duration::from_secs(2);

/// The wanted ones of some events of the log.
fn wanted<'a>(webhook: &'a Webhook, events: &'a [Event]) -> impl Iterator<Item = &'a Event> {
    events.iter().filter(|(_, bytes)| match decode_event(bytes) {
        Ok(event) => webhook.spec.filter.wants(webhook.id, &event),
        // What can't be read can't be unwanted.
        Err(_) => true,
    })
}

/// Near the head the journal answers from memory; what is further back may have to wait for the disk.
async fn read(shared: &Arc<Shared>, after: u64, most: usize) -> Result<Vec<Event>, ReadError> {
    let journal = shared.journal.clone();
    if journal.latest().saturating_sub(after) <= READ as u64 {
        return journal.read(after, most);
    }
    ambient::blocking(move || journal.read(after, most)).await.unwrap_or(Err(ReadError::Closed))
}

/// Waits until something is wanted, or much was not.
pub(super) async fn find(shared: Arc<Shared>, webhook: Arc<Webhook>, after: u64) -> Done {
    // First the watch, then the log: what comes between the two wakes us.
    let mut head = shared.journal.watch();
    let (mut cursor, mut note_at) = (after, None);
    loop {
        let events = match read(&shared, cursor, READ).await {
            Ok(events) => events,
            Err(ReadError::Expired { oldest }) => return Done::of(Finished::Expired { oldest }),
            // A journal that is closed or can't be read ends the node.
            Err(_) => std::future::pending().await,
        };
        let Some((last, _)) = events.last() else {
            let changed = match note_at {
                None => head.changed().await,
                Some(at) => match tokio::time::timeout_at(at, head.changed()).await {
                    Ok(changed) => changed,
                    Err(_elapsed) => return Done::of(Finished::Skipped { upto: cursor }),
                },
            };
            if changed.is_err() {
                std::future::pending::<()>().await;
            }
            continue;
        };
        let (mut upto, mut count, mut bytes) = (*last, 0, 0);
        for (at, event) in wanted(&webhook, &events) {
            bytes += event.len();
            if count == EVENTS_MAX || (count > 0 && bytes > BYTES_MAX) {
                // The one before it was the last that fits.
                upto = at - 1;
                break;
            }
            count += 1;
        }
        if count > 0 {
            return Done::of(Finished::Found { upto, count });
        }
        cursor = upto;
        note_at.get_or_insert_with(|| tokio::time::Instant::now() + NOTE_AFTER);
        if cursor - after >= SKIPPED_MAX {
            return Done::of(Finished::Skipped { upto: cursor });
        }
    }
}

/// One attempt.
pub(super) async fn send(shared: Arc<Shared>, webhook: Arc<Webhook>, delivery: Delivery) -> Done {
    let (content, events) = match delivery.what {
        What::Events { after, upto, .. } => match collect(&shared, &webhook, after, upto).await {
            Ok(events) => {
                let decoded = events.iter().map(|(cursor, bytes)| (*cursor, decode_event(bytes).ok())).collect();
                (Content::Events(decoded), events)
            }
            Err(oldest) => return Done::of(Finished::Expired { oldest }),
        },
        What::Resync { upto } => (Content::Resync { cursor: upto }, Vec::new()),
        What::Dead { .. } => match dead(&shared, &webhook, delivery.number).await {
            Some(content) => (content, Vec::new()),
            None => return Done::of(failed("dead-letter-unreadable", "the dead letter can't be read")),
        },
    };
    let cursors: Vec<u64> = events.iter().map(|(cursor, _)| *cursor).collect();
    let secret = tokio::time::timeout(SECRET_WITHIN, shared.webhooks.secrets.get(&webhook.secret_name())).await;
    let result = match secret {
        Err(_elapsed) => failed("secret-unreadable", "its file can't be read: the disk does not answer"),
        Ok(Err(SecretError::Missing { .. })) => Finished::SecretMissing,
        Ok(Err(error)) => failed("secret-unreadable", &chain(&error)),
        Ok(Ok(secret)) => {
            let timeout = Duration::from_secs(u64::from(webhook.spec.timeout_s));
            let post = Post {
                url: webhook.spec.url.clone(),
                secret,
                webhook: webhook.id,
                number: delivery.number,
                attempt: delivery.attempts.saturating_add(1),
                at: now(),
                timeout,
                content,
            };
            match tokio::time::timeout(timeout + GRACE, shared.webhooks.deliver.post(post)).await {
                Ok(Outcome::Taken { .. }) => Finished::Delivered,
                Ok(Outcome::Gone) => Finished::Gone,
                Ok(Outcome::Failed { code, detail, retry_after_s, .. }) => {
                    Finished::Failed { code: code.to_owned(), detail, retry_after_s, cursors: Vec::new() }
                }
                Err(_elapsed) => failed("timeout", "no answer in time"),
            }
        }
    };
    let result = match result {
        Finished::Failed { code, detail, retry_after_s, .. } => Finished::Failed { code, detail, retry_after_s, cursors },
        other => other,
    };
    Done { result, events: events.into_iter().map(|(_, bytes)| bytes).collect() }
}

fn failed(code: &str, detail: &str) -> Finished {
    Finished::Failed { code: code.to_owned(), detail: detail.to_owned(), retry_after_s: None, cursors: Vec::new() }
}

/// The wanted events above `after`, up to and with `upto`. Errors: they are no longer kept; the oldest that is.
async fn collect(shared: &Arc<Shared>, webhook: &Webhook, after: u64, upto: u64) -> Result<Vec<Event>, u64> {
    let (mut cursor, mut all) = (after, Vec::new());
    while cursor < upto {
        let most = usize::try_from(upto - cursor).unwrap_or(READ).min(READ);
        let events = match read(shared, cursor, most).await {
            Ok(events) => events,
            Err(ReadError::Expired { oldest }) => return Err(oldest),
            Err(_) => std::future::pending().await,
        };
        let Some((last, _)) = events.last() else {
            // The log is shorter than what was found in it, which can't be while the journal is one.
            return Err(upto + 1);
        };
        cursor = *last;
        all.extend(wanted(webhook, &events).cloned());
    }
    Ok(all)
}

async fn dead(shared: &Arc<Shared>, webhook: &Webhook, number: u64) -> Option<Content> {
    let (journal, id) = (shared.journal.clone(), webhook.id);
    let read = ambient::blocking(move || letters::read(&journal, id, &[number])).await;
    let letter = read.ok()?.ok()?.pop()?;
    let resync = letter.letter.cursors.is_empty();
    Some(if resync { Content::Resync { cursor: letter.letter.upto } } else { Content::Events(letter.events) })
}
