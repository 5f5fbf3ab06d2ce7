//! The line below an event: its data in words.

use crate::format::{event_words, sentence};
use api::v1::{Event, EventKind};
use serde_json::Value;

/// A sentence if there is one, else what was asked for, else names and values. Absent: there is nothing more to say.
pub fn detail(event: &Event) -> Option<String> {
    let told = event.data.get("detail").and_then(Value::as_str).map(sentence);
    if event.kind == EventKind::Operation {
        // Its target stands beside it, and how it stands is the event's own name.
        let what = event.data.get("operation_kind").and_then(Value::as_str).map(event_words);
        return match (what, told) {
            (Some(what), Some(told)) => Some(format!("{what}: {told}")),
            (what, told) => what.or(told),
        };
    }
    if told.is_some() {
        return told;
    }
    let words: Vec<String> = event
        .data
        .iter()
        // The state is told by the event's own name.
        .filter(|(name, value)| !value.is_null() && *name != "state")
        .map(|(name, value)| match value {
            Value::String(text) => format!("{} {text}", name.replace('_', " ")),
            other => format!("{} {other}", name.replace('_', " ")),
        })
        .collect();
    (!words.is_empty()).then(|| sentence(&words.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(kind: &str, data: Value) -> Event {
        serde_json::from_value(json!({
            "cursor": 7, "time": "2026-01-02T03:04:05Z", "kind": kind, "id": "x", "name": "web", "project": "default", "generation": 1,
            "type": "something", "actor": "user:admin", "operation": null, "data": data,
        }))
        .unwrap()
    }

    #[test]
    fn an_operation_says_what_was_asked_for_and_not_its_raw_data() {
        let started = event("operation", json!({"status": "running", "operation_kind": "vm-start", "target": "vm_1"}));
        assert_eq!(detail(&started).as_deref(), Some("Start"));
        let failed = json!({"status": "failed", "operation_kind": "image-import", "target": "img_1", "reason": "disk-full", "detail": "no room"});
        assert_eq!(detail(&event("operation", failed)).as_deref(), Some("Import: No room"));
    }

    #[test]
    fn other_events_say_their_sentence_or_their_values() {
        assert_eq!(
            detail(&event("vm", json!({"detail": "killed by signal 9", "code": 9}))).as_deref(),
            Some("Killed by signal 9")
        );
        assert_eq!(
            detail(&event("vm", json!({"state": "running", "boot_ms": 812, "agent": null}))).as_deref(),
            Some("Boot ms 812")
        );
        assert_eq!(detail(&event("vm", json!({}))), None);
    }
}
