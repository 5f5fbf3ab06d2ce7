//! What happens next to a webhook.

use super::{
    effect::{Effect, LetterChange, Step},
    input::{Change, Command, Finished, Input},
    spec::WebhookSpec,
    state::{BecauseOf, DEAD_LETTERS_MAX, DeadLetter, DeadRef, Delivery, Failure, State, Success, Webhook, What},
};
use crate::{
    Attempt, Generation, Labels, Name, Timestamp, WebhookId,
    event::{Datum, Draft as EventDraft},
    mutant::{self, Mutant},
};

/// Events of one POST.
pub const EVENTS_MAX: u32 = 100;
/// The wait after the first failure; it doubles with each further one.
const BACKOFF_FIRST_MS: u64 = 1_000;
/// A receiver that is back must not wait longer than this for what it missed.
pub const BACKOFF_MAX_MS: u64 = 5 * 60 * 1_000;

/// Between two failures of a delivery lie a wait, an attempt (32 s at most) and what a busy node adds. What is longer was no trying: somebody set
/// the clock, or hearth was away. It does not count against the delivery's budget.
pub const BETWEEN_FAILURES_MAX_MS: u64 = BACKOFF_MAX_MS + 2 * 60 * 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the webhook is disabled")]
    Disabled,
    #[error("there is no such dead letter")]
    NoSuchLetter,
    #[error("there are as many webhooks as a node takes")]
    TooMany,
    #[error("this cursor is ahead of the event log")]
    CursorAhead,
}

/// All that a new webhook is made from.
#[derive(Debug, Clone)]
pub struct Draft {
    pub id: WebhookId,
    pub name: Name,
    pub project: Name,
    pub labels: Labels,
    pub spec: WebhookSpec,
    /// Events above it are delivered.
    pub cursor: u64,
    pub enabled: bool,
}

pub fn create(draft: Draft, actor: String, now: Timestamp) -> Step {
    let webhook = Webhook {
        id: draft.id,
        name: draft.name,
        project: draft.project,
        labels: draft.labels,
        generation: Generation(1),
        created_at: now,
        updated_at: now,
        spec: draft.spec,
        cursor: draft.cursor,
        state: State::Following,
        attempt: Attempt(0),
        deliveries: 0,
        dead: Vec::new(),
        dead_dropped: 0,
        redeliver: Vec::new(),
        delivered: 0,
        last_success: None,
        last_failure: None,
        secret: 0,
    };
    let step = if draft.enabled { go_on(webhook, now) } else { disable(webhook, BecauseOf::Person) };
    Step { events: vec![event("webhook-created", Some(actor), vec![])], ..step }
}

pub fn step(webhook: &Webhook, input: Input, now: Timestamp) -> Result<Step, Refused> {
    let next = webhook.clone();
    match (&webhook.state, input) {
        // At any time; what is on its way may still arrive.
        (_, Input::Command { command: Command::Delete, actor }) => Ok(Step {
            next: None,
            events: vec![event("webhook-deleted", Some(actor), vec![])],
            letters: vec![],
            effect: Some(Effect::Cease),
        }),
        (_, Input::Command { command: Command::Update(change), actor }) => Ok(update(next, change, actor, now)),
        (State::Disabled(_), Input::Command { command: Command::Redeliver { .. }, .. }) => Err(Refused::Disabled),
        (
            State::Following | State::Sending(_) | State::Waiting { .. },
            Input::Command { command: Command::Redeliver { numbers }, .. },
        ) => redeliver(next, numbers, now),
        // An answer to an older effect says nothing about this one.
        (_, Input::Finished { attempt, .. } | Input::Elapsed { attempt }) if attempt != webhook.attempt => Ok(unchanged(next)),
        (State::Following, Input::Finished { result, .. }) => Ok(match result {
            Finished::Found { upto, count } => {
                let what = What::Events { after: next.cursor, upto, count };
                begin(next, what, now)
            }
            Finished::Skipped { upto } => go_on(Webhook { cursor: upto, ..next }, now),
            Finished::Expired { oldest } => begin(next, What::Resync { upto: oldest.saturating_sub(1) }, now),
            Finished::Delivered | Finished::Gone | Finished::SecretMissing | Finished::Failed { .. } => unchanged(next),
        }),
        (State::Sending(delivery), Input::Finished { result, jitter, .. }) => Ok(match result {
            Finished::Delivered => delivered(next, delivery, now),
            Finished::Gone => receiver_gone(next, delivery, now),
            Finished::SecretMissing => secret_missing(next, now),
            Finished::Failed { code, detail, retry_after_s, cursors } => {
                let attempts = delivery.attempts.saturating_add(1);
                let failure = Failure { at: now, number: delivery.number, attempts, code, detail };
                let wait_ms = wait_ms(attempts, jitter, retry_after_s);
                failed(next, Delivery { attempts, ..delivery.clone() }, failure, cursors, wait_ms)
            }
            // They went while the receiver was away: it is told so instead.
            Finished::Expired { oldest } => begin(next, What::Resync { upto: oldest.saturating_sub(1) }, now),
            Finished::Found { .. } | Finished::Skipped { .. } => unchanged(next),
        }),
        (State::Waiting { delivery, .. }, Input::Elapsed { .. }) => Ok(send(next, delivery.clone())),
        (State::Waiting { .. } | State::Disabled(_), Input::Finished { .. }) => Ok(unchanged(next)),
        (State::Following | State::Sending(_) | State::Disabled(_), Input::Elapsed { .. }) => Ok(unchanged(next)),
        (State::Following, Input::Recovered) => Ok(go_on(next, now)),
        (State::Sending(delivery), Input::Recovered) if mutant::on(Mutant::TakesSentForDelivered) => {
            Ok(delivered(next, delivery, now))
        }
        // Nobody knows whether it arrived: it goes out again under its number.
        (State::Sending(delivery), Input::Recovered) => Ok(send(next, delivery.clone())),
        // The clock may have been set back meanwhile.
        (State::Waiting { delivery, until }, Input::Recovered) => {
            let until = Timestamp(until.0.min(now.0.saturating_add(BACKOFF_MAX_MS)));
            Ok(wait(next, delivery.clone(), until))
        }
        (State::Disabled(_), Input::Recovered | Input::SecretMissing) => Ok(unchanged(next)),
        // Before a delivery is tried for nothing, and set aside in the end.
        (State::Following | State::Sending(_) | State::Waiting { .. }, Input::SecretMissing) => Ok(secret_missing(next, now)),
    }
}

fn unchanged(webhook: Webhook) -> Step {
    Step { next: Some(webhook), events: vec![], letters: vec![], effect: None }
}

fn with(mut next: Webhook, effect: Effect) -> Step {
    next.attempt = next.attempt.next();
    Step { next: Some(next), events: vec![], letters: vec![], effect: Some(effect) }
}

/// The next dead letter that was asked for, else the log.
fn go_on(mut next: Webhook, now: Timestamp) -> Step {
    let asked = next.redeliver.first().and_then(|number| next.dead.iter().find(|dead| dead.number == *number)).copied();
    if let Some(dead) = asked {
        let delivery = Delivery { number: dead.number, what: What::Dead { count: dead.count }, since: now, attempts: 0 };
        return send(next, delivery);
    }
    next.state = State::Following;
    let after = next.cursor;
    with(next, Effect::Find { after })
}

fn begin(mut next: Webhook, what: What, now: Timestamp) -> Step {
    next.deliveries += 1;
    let delivery = Delivery { number: next.deliveries, what, since: now, attempts: 0 };
    send(next, delivery)
}

fn send(mut next: Webhook, delivery: Delivery) -> Step {
    next.state = State::Sending(delivery.clone());
    with(next, Effect::Send(delivery))
}

fn wait(mut next: Webhook, delivery: Delivery, until: Timestamp) -> Step {
    next.state = State::Waiting { delivery, until };
    with(next, Effect::StartTimer { until })
}

fn disable(mut next: Webhook, because: BecauseOf) -> Step {
    next.state = State::Disabled(because);
    next.redeliver.clear();
    with(next, Effect::Cease)
}

fn delivered(mut next: Webhook, delivery: &Delivery, now: Timestamp) -> Step {
    next.last_success = Some(Success { at: now, number: delivery.number });
    let mut letters = vec![];
    match delivery.what {
        What::Events { upto, count, .. } => {
            next.cursor = upto;
            next.delivered += u64::from(count);
        }
        What::Resync { upto } => next.cursor = upto,
        What::Dead { count } => {
            letters.push(LetterChange::Drop(DeadRef { number: delivery.number, count }));
            next.dead.retain(|dead| dead.number != delivery.number);
            next.redeliver.retain(|number| *number != delivery.number);
            next.delivered += u64::from(count);
        }
    }
    Step { letters, ..go_on(next, now) }
}

/// What is under way stays undelivered, and the cursor where it is: enabled again, the webhook goes on with it.
fn receiver_gone(mut next: Webhook, delivery: &Delivery, now: Timestamp) -> Step {
    let detail = "the receiver answered 410 Gone".to_owned();
    let attempts = delivery.attempts.saturating_add(1);
    let data = vec![("reason", Datum::Text("receiver-gone".to_owned())), ("detail", Datum::Text(detail.clone()))];
    next.last_failure = Some(Failure { at: now, number: delivery.number, attempts, code: "receiver-gone".to_owned(), detail });
    next.generation = next.generation.next();
    next.updated_at = now;
    Step { events: vec![event("webhook-disabled", None, data)], ..disable(next, BecauseOf::Receiver) }
}

/// Nothing is tried and nothing set aside until there is a new one: the cursor stays.
fn secret_missing(mut next: Webhook, now: Timestamp) -> Step {
    let data = vec![
        ("reason", Datum::Text("secret-missing".to_owned())),
        ("detail", Datum::Text("the secret that its deliveries are signed with is not there".to_owned())),
    ];
    next.generation = next.generation.next();
    next.updated_at = now;
    Step { events: vec![event("webhook-disabled", None, data)], ..disable(next, BecauseOf::Secret) }
}

/// When the budget would have begun, had the clock gone on as it should since the last failure.
fn since(before: &Webhook, delivery: &Delivery, now: Timestamp) -> Timestamp {
    let last = match &before.last_failure {
        Some(last) if last.number == delivery.number && delivery.attempts > 1 => last.at,
        _ => delivery.since,
    };
    let back_ms = last.since_ms(now);
    let ahead_ms = now.since_ms(last).saturating_sub(BETWEEN_FAILURES_MAX_MS);
    Timestamp(delivery.since.0.saturating_sub(back_ms).saturating_add(ahead_ms))
}

fn failed(mut next: Webhook, mut delivery: Delivery, failure: Failure, cursors: Vec<u64>, wait_ms: u64) -> Step {
    let now = failure.at;
    delivery.since = since(&next, &delivery, now);
    let budget_ms = u64::from(next.spec.retry_for_s) * 1_000;
    next.last_failure = Some(failure.clone());
    let (after, upto) = match delivery.what {
        // Asked for by a person, tried once: it stays where it was.
        What::Dead { .. } => {
            next.redeliver.retain(|number| *number != delivery.number);
            return go_on(next, now);
        }
        What::Events { after, upto, .. } => (after, upto),
        What::Resync { upto } => (next.cursor, upto),
    };
    if now.since_ms(delivery.since) < budget_ms {
        // The last attempt is made when the budget ends, however long the wait had become.
        let end = delivery.since.0.saturating_add(budget_ms);
        let until = Timestamp(now.0.saturating_add(wait_ms).min(end));
        return wait(next, delivery, until);
    }
    let count = u32::try_from(cursors.len()).unwrap_or(u32::MAX);
    let data = vec![
        ("delivery", Datum::Number(delivery.number)),
        ("events", Datum::Number(u64::from(count))),
        ("reason", Datum::Text(failure.code.clone())),
        ("detail", Datum::Text(failure.detail.clone())),
    ];
    let letter = DeadLetter {
        webhook: next.id,
        number: delivery.number,
        after,
        upto,
        cursors,
        since: delivery.since,
        set_aside_at: now,
        attempts: delivery.attempts,
        code: failure.code,
        detail: failure.detail,
    };
    next.cursor = upto;
    let mut letters = vec![];
    next.dead.push(DeadRef { number: letter.number, count });
    if !mutant::on(Mutant::ForgetsTheLetter) {
        letters.push(LetterChange::Keep(letter));
    }
    while next.dead.len() > DEAD_LETTERS_MAX {
        let oldest = next.dead.remove(0);
        next.redeliver.retain(|number| *number != oldest.number);
        next.dead_dropped += 1;
        letters.push(LetterChange::Drop(oldest));
    }
    Step { events: vec![event("webhook-dead-lettered", None, data)], letters, ..go_on(next, now) }
}

/// Doubling, a quarter of it to either side by chance, and never sooner than the receiver asked.
fn wait_ms(attempts: u32, jitter: u16, retry_after_s: Option<u32>) -> u64 {
    let plain = BACKOFF_FIRST_MS.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(BACKOFF_MAX_MS);
    let jittered = plain * 3 / 4 + plain * u64::from(jitter.min(1_000)) / 2_000;
    jittered.max(u64::from(retry_after_s.unwrap_or(0)) * 1_000).min(BACKOFF_MAX_MS)
}

fn update(mut next: Webhook, change: Change, actor: String, now: Timestamp) -> Step {
    let spec = change.applied(&next.spec);
    let refiltered = spec.filter != next.spec.filter;
    let concerned = change.concerns_delivery();
    next.spec = spec;
    next.generation = next.generation.next();
    next.updated_at = now;
    next.name = change.name.unwrap_or(next.name);
    next.labels = change.labels.unwrap_or(next.labels);
    next.secret = change.secret.unwrap_or(next.secret);
    let data = change.enabled.map(|enabled| vec![("enabled", Datum::Flag(enabled))]).unwrap_or_default();
    let step = match (next.state.clone(), change.enabled) {
        (State::Disabled(BecauseOf::Receiver), Some(false)) => disable(next, BecauseOf::Receiver),
        (_, Some(false)) => disable(next, BecauseOf::Person),
        (State::Disabled(_), Some(true)) => go_on(next, now),
        // What it lacked it has now.
        (State::Disabled(BecauseOf::Secret), None) if change.secret.is_some() => go_on(next, now),
        (State::Disabled(_), None) => unchanged(next),
        // Its events may no longer be those that are wanted: they are looked for anew, from the same cursor.
        (State::Sending(delivery) | State::Waiting { delivery, .. }, _)
            if refiltered && matches!(delivery.what, What::Events { .. }) =>
        {
            go_on(next, now)
        }
        (State::Following, _) if refiltered => go_on(next, now),
        // What was mended is tried at once, with a budget of its own.
        (State::Sending(delivery) | State::Waiting { delivery, .. }, _) if concerned => {
            send(next, Delivery { since: now, attempts: 0, ..delivery })
        }
        (State::Following | State::Sending(_) | State::Waiting { .. }, _) => unchanged(next),
    };
    Step { events: vec![event("webhook-updated", Some(actor), data)], ..step }
}

fn redeliver(mut next: Webhook, numbers: Vec<u64>, now: Timestamp) -> Result<Step, Refused> {
    if let Some(_unknown) = numbers.iter().find(|number| next.dead.iter().all(|dead| dead.number != **number)) {
        return Err(Refused::NoSuchLetter);
    }
    let all = numbers.is_empty();
    let asked: Vec<u64> = next.dead.iter().map(|dead| dead.number).filter(|number| all || numbers.contains(number)).collect();
    for number in asked {
        if !next.redeliver.contains(&number) {
            next.redeliver.push(number);
        }
    }
    // Between two deliveries: what is being tried is neither given up nor hurried.
    if next.state == State::Following && !next.redeliver.is_empty() { Ok(go_on(next, now)) } else { Ok(unchanged(next)) }
}

fn event(name: &'static str, actor: Option<String>, data: Vec<(&'static str, Datum)>) -> EventDraft {
    EventDraft { name, actor, operation: None, data }
}

#[cfg(test)]
mod tests;
