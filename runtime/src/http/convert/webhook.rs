//! A webhook's record, and how far behind the log it is. The secret is no part of the record.

use super::time;
use crate::http::delivered;
use actors::webhook::Letter;
use api::v1;
use domain::{
    event::Kind,
    webhook::{BecauseOf, State, Webhook},
};

/// `latest`: the newest event of the log.
pub fn webhook(record: &Webhook, latest: u64) -> v1::Webhook {
    let disabled = matches!(record.state, State::Disabled(_));
    let redeliver = if disabled {
        Some("the webhook is disabled".to_owned())
    } else {
        record.dead.is_empty().then(|| "there are no dead letters".to_owned())
    };
    let (actions, refused) =
        super::split([("delete", None), ("redeliver", redeliver), ("test", None), ("update", None)].into_iter());
    v1::Webhook {
        id: record.id.to_string(),
        name: record.name.to_string(),
        project: record.project.to_string(),
        labels: record.labels.clone(),
        generation: record.generation.0,
        created_at: time(record.created_at),
        updated_at: time(record.updated_at),
        spec: spec(record, !disabled),
        status: v1::WebhookStatus {
            state: match record.state.name() {
                "active" => v1::WebhookState::Active,
                "retrying" => v1::WebhookState::Retrying,
                _ => v1::WebhookState::Disabled,
            },
            reason: reason(&record.state),
            cursor: record.cursor,
            behind: latest.saturating_sub(record.cursor),
            delivered: record.delivered,
            last_success: record
                .last_success
                .as_ref()
                .map(|success| v1::DeliverySuccess { at: time(success.at), delivery: success.number }),
            last_failure: record.last_failure.as_ref().map(|failure| v1::DeliveryFailure {
                at: time(failure.at),
                delivery: failure.number,
                attempts: failure.attempts,
                code: failure.code.clone(),
                detail: failure.detail.clone(),
            }),
            next_attempt_at: match &record.state {
                State::Waiting { until, .. } => Some(time(*until)),
                State::Following | State::Sending(_) | State::Disabled(_) => None,
            },
            dead_letters: record.dead.len() as u64,
            dead_letters_dropped: record.dead_dropped,
            redelivering: record.redeliver.len() as u64,
            actions,
            refused,
        },
        secret: None,
    }
}

fn spec(record: &Webhook, enabled: bool) -> v1::WebhookSpec {
    let filter = &record.spec.filter;
    v1::WebhookSpec {
        url: record.spec.url.clone(),
        filter: v1::WebhookFilter {
            kinds: filter.kinds.iter().map(|kind| kind_of(*kind)).collect(),
            types: filter.types.clone(),
            ids: filter.ids.clone(),
            project: filter.project.as_ref().map(ToString::to_string),
        },
        enabled,
        timeout_s: record.spec.timeout_s,
        retry_for_s: record.spec.retry_for_s,
    }
}

fn reason(state: &State) -> Option<v1::Reason> {
    let (code, detail) = match state {
        State::Disabled(BecauseOf::Person) => ("disabled", "it was disabled by a person"),
        State::Disabled(BecauseOf::Receiver) => ("receiver-gone", "the receiver answered 410 Gone"),
        State::Disabled(BecauseOf::Secret) => {
            ("secret-missing", "its secret is not there: give it a new one, and it goes on where it was")
        }
        State::Following | State::Sending(_) | State::Waiting { .. } => return None,
    };
    Some(v1::Reason { code: code.to_owned(), detail: detail.to_owned() })
}

pub fn kind_of(kind: Kind) -> v1::EventKind {
    match kind {
        Kind::Vm => v1::EventKind::Vm,
        Kind::Host => v1::EventKind::Host,
        Kind::Image => v1::EventKind::Image,
        Kind::Operation => v1::EventKind::Operation,
        Kind::Webhook => v1::EventKind::Webhook,
    }
}

pub fn dead_letter(letter: Letter) -> v1::DeadLetter {
    let record = letter.letter;
    let events = if record.cursors.is_empty() {
        vec![delivered::resync(record.upto, record.since)]
    } else {
        letter.events.into_iter().map(|(cursor, event)| delivered::event(cursor, event)).collect()
    };
    v1::DeadLetter {
        delivery: record.number,
        first_attempt_at: time(record.since),
        set_aside_at: time(record.set_aside_at),
        attempts: record.attempts,
        code: record.code,
        detail: record.detail,
        events,
    }
}
