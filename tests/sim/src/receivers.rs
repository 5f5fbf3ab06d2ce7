//! Receivers of webhooks: what arrived at them, and what they answer. Like a machine they outlive every hearth.
//!
//! A delivery is held against the log and the durable record at the moment when it arrives: it tells what was told, in order, under a number
//! of its own, and nothing that was settled before.

use crate::machine::Machine;
use actors::{
    decode_event,
    webhook::{Content, Outcome, Post},
};
use domain::{WebhookId, webhook::Webhook};
use std::collections::{BTreeMap, BTreeSet};
use storage::{envelope, schema};

/// How long all of them may be away: longer than most budgets of deliveries.
const AWAY_MS: u64 = 3 * 3_600_000;

#[derive(Debug, Default)]
pub struct Receivers {
    inboxes: BTreeMap<WebhookId, Inbox>,
    away_until: u64,
    /// Deliveries that arrived, also those that were refused.
    pub arrived: u64,
}

/// What one webhook brought.
#[derive(Debug, Default)]
pub struct Inbox {
    numbers: BTreeMap<u64, Came>,
    /// Events that it said yes to.
    pub taken: BTreeSet<u64>,
    /// It was told that events up to here are no longer kept, and said yes.
    pub lost_upto: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Came {
    Events(Vec<u64>),
    Lost { upto: u64 },
}

impl Receivers {
    pub fn inbox(&self, webhook: WebhookId) -> Option<&Inbox> {
        self.inboxes.get(&webhook)
    }

    /// They are all there.
    pub fn heal(&mut self) {
        self.away_until = 0;
    }
}

/// What the next delivery that arrives is answered.
pub fn answer(machine: &Machine) -> Outcome {
    let refused = |status: u16, retry_after_s| Outcome::Failed {
        code: "http-status",
        detail: format!("the receiver answered {status}"),
        status: Some(status),
        retry_after_s,
    };
    let mut guard = machine.state();
    let state = &mut *guard;
    let (now, trouble, kind) = (state.now, state.trouble, state.chance.draw() % 100);
    let away_ms = state.chance.between(1_000, AWAY_MS);
    if machine.faults.inject(&mut state.chance, trouble / 8) {
        state.receivers.away_until = now + away_ms;
    }
    if now < state.receivers.away_until {
        return refused(503, None);
    }
    match (machine.faults.inject(&mut state.chance, 2 * trouble), kind) {
        (false, _) => Outcome::Taken { status: 204 },
        (true, 0..70) => refused(500, None),
        (true, 70..92) => refused(429, Some(kind as u32)),
        (true, _) => Outcome::Gone,
    }
}

/// A delivery arrived, and is answered so.
pub fn receive(machine: &Machine, post: &Post, answer: &Outcome) {
    let mut wrong = Vec::new();
    let came = match &post.content {
        Content::Events(events) => {
            let cursors: Vec<u64> = events.iter().map(|(cursor, _)| *cursor).collect();
            for (cursor, event) in events {
                let told = machine.disk.told(*cursor).and_then(|bytes| decode_event(&bytes).ok());
                if told.is_none() || told != *event {
                    wrong.push(format!("event {cursor} is not what is durable"));
                }
            }
            if cursors.is_empty() || cursors.windows(2).any(|pair| pair[0] >= pair[1]) {
                wrong.push(format!("{cursors:?} are out of order"));
            }
            Came::Events(cursors)
        }
        Content::Resync { cursor } => {
            if machine.disk.events().0 <= *cursor {
                wrong.push(format!("events up to {cursor} are said to be lost, and {} is kept", machine.disk.events().0));
            }
            Came::Lost { upto: *cursor }
        }
        Content::Test { .. } => return,
    };
    let bytes = machine.disk.record(schema::WEBHOOKS, &post.webhook.to_string());
    // None: it was just deleted, and what was on its way arrives.
    let record: Option<Webhook> = bytes.and_then(|bytes| envelope::decode(&bytes).ok());
    let mut state = machine.state();
    let inbox = state.receivers.inboxes.entry(post.webhook).or_default();
    match inbox.numbers.get(&post.number) {
        Some(before) if *before != came => wrong.push(format!("it brought {before:?} before, and {came:?} now")),
        Some(_) => {}
        None => {
            let is_dead = |webhook: &Webhook| webhook.dead.iter().any(|dead| dead.number == post.number);
            if !record.as_ref().is_some_and(is_dead) {
                let newest = inbox.numbers.last_key_value().map_or(0, |(number, _)| *number);
                if post.number <= newest {
                    wrong.push(format!("it comes after number {newest}"));
                }
                if let (Some(record), Came::Events(cursors)) = (&record, &came)
                    && cursors.first().is_some_and(|first| *first <= record.cursor)
                {
                    wrong.push(format!("{cursors:?} come, and all up to {} was settled", record.cursor));
                }
            }
            inbox.numbers.insert(post.number, came.clone());
        }
    }
    if matches!(answer, Outcome::Taken { .. }) {
        match &came {
            Came::Events(cursors) => inbox.taken.extend(cursors),
            Came::Lost { upto } => inbox.lost_upto = inbox.lost_upto.max(*upto),
        }
    }
    state.receivers.arrived += 1;
    let wrong = wrong.into_iter().map(|what| format!("delivery {} of {}: {what}", post.number, post.webhook));
    state.broken.extend(wrong);
    drop(state);
    machine.tell(format_args!("{} delivery {} attempt {} brings {came:?}: {answer:?}", post.webhook, post.number, post.attempt));
}
