//! Events, as subscribers read them.

use super::time;
use api::v1;
use domain::{
    Timestamp,
    event::{Datum, Event, Kind},
};
use serde_json::{Map, Value};

pub fn event(cursor: u64, event: Event) -> v1::Event {
    let value = |datum| match datum {
        Datum::Text(text) => Value::String(text),
        Datum::Number(number) => Value::from(number),
        Datum::Flag(flag) => Value::Bool(flag),
    };
    // A host belongs to no project; to those who filter by one it belongs to all of them, and there is one.
    let project = match event.kind {
        Kind::Host => crate::http::PROJECT.to_owned(),
        Kind::Vm | Kind::Image | Kind::Operation | Kind::Webhook => event.project.to_string(),
    };
    v1::Event {
        cursor,
        time: time(event.time),
        kind: super::kind_of(event.kind),
        id: event.id,
        name: event.name,
        project,
        generation: event.generation.0,
        event: event.event,
        actor: event.actor,
        operation: event.operation.map(|operation| operation.to_string()),
        data: event.data.into_iter().map(|(key, datum)| (key, value(datum))).collect(),
    }
}

/// Tells the client to list again: what it asked to resume from is not there. The stream goes on behind `cursor`.
pub fn resync(cursor: u64, now: Timestamp, reason: &str) -> v1::Event {
    v1::Event {
        cursor,
        time: time(now),
        kind: v1::EventKind::Stream,
        id: String::new(),
        name: String::new(),
        project: crate::http::PROJECT.to_owned(),
        generation: 0,
        event: "resync".to_owned(),
        actor: "system".to_owned(),
        operation: None,
        data: Map::from_iter([("reason".to_owned(), Value::String(reason.to_owned()))]),
    }
}
