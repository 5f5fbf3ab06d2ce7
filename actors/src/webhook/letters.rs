//! Dead letters in the journal: where the record and the events of one lie, and reading them.

use crate::commit::{Commit, decode_event};
use crate::error::CommandError;
use domain::{
    WebhookId,
    event::Event,
    webhook::{DeadLetter, DeadRef, LetterChange},
};
use std::sync::Arc;
use storage::{Journal, ReadError, envelope, schema};

/// A dead letter with its events, in order.
#[derive(Debug, Clone)]
pub struct Letter {
    pub letter: DeadLetter,
    /// One that can't be read is absent, its cursor is not.
    pub events: Vec<(u64, Option<Event>)>,
}

fn key(webhook: WebhookId, number: u64) -> String {
    format!("{webhook}/{number:020}")
}

fn event_key(webhook: WebhookId, number: u64, place: usize) -> String {
    format!("{webhook}/{number:020}/{place:05}")
}

/// `events`: those of the delivery that is set aside, as the log had them.
pub(super) fn write(
    commit: &mut Commit,
    webhook: WebhookId,
    change: LetterChange,
    events: &[Arc<[u8]>],
) -> Result<(), CommandError> {
    match change {
        LetterChange::Keep(letter) => {
            for (place, event) in events.iter().enumerate().take(letter.cursors.len()) {
                commit.put_bytes(schema::WEBHOOK_DEAD_EVENTS, event_key(webhook, letter.number, place), event.to_vec());
            }
            commit.put(schema::WEBHOOK_DEAD_LETTERS, key(webhook, letter.number), &letter)
        }
        LetterChange::Drop(dead) => {
            remove(commit, webhook, dead);
            Ok(())
        }
    }
}

pub(super) fn remove(commit: &mut Commit, webhook: WebhookId, dead: DeadRef) {
    commit.delete(schema::WEBHOOK_DEAD_LETTERS, key(webhook, dead.number));
    for place in 0..usize::try_from(dead.count).unwrap_or(0) {
        commit.delete(schema::WEBHOOK_DEAD_EVENTS, event_key(webhook, dead.number, place));
    }
}

/// Those of these numbers that are there. Blocks.
///
/// # Errors
/// The journal can't be read.
pub fn read(journal: &Journal, webhook: WebhookId, numbers: &[u64]) -> Result<Vec<Letter>, ReadError> {
    let mut letters = Vec::new();
    for number in numbers {
        let Some(bytes) = journal.get(schema::WEBHOOK_DEAD_LETTERS, &key(webhook, *number))? else { continue };
        let letter = match envelope::decode::<DeadLetter>(&bytes) {
            Ok(letter) => letter,
            Err(error) => {
                tracing::error!(%webhook, number, %error, "a dead letter can't be read");
                continue;
            }
        };
        let mut events = Vec::with_capacity(letter.cursors.len());
        for (place, cursor) in letter.cursors.iter().enumerate() {
            let bytes = journal.get(schema::WEBHOOK_DEAD_EVENTS, &event_key(webhook, *number, place))?;
            events.push((*cursor, bytes.and_then(|bytes| decode_event(&bytes).ok())));
        }
        letters.push(Letter { letter, events });
    }
    Ok(letters)
}
