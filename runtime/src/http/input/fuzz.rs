//! What must hold for any body, query and header: see `runtime::fuzz`.

use super::{ListQuery, body, cursor, document, if_match, query::parse_cursor, same_tag, wait};
use crate::deliver::{parse_secret, show_secret};
use crate::http::{
    events::Filter,
    input::Fields,
    problem::{Answer, Refusal},
    request_id,
};
use api::v1;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use domain::{HostId, ImageId, OperationId, VmId, WebhookId};
use serde::{
    Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;
use std::{fmt::Debug, str::FromStr};

/// A refusal says what is wrong; it is no copy of what was sent.
const REFUSAL_MAX: usize = 16 * 1024;

/// The first byte is the type that the rest is read as: the requests' and the frames' of terminals.
pub fn body(input: &[u8]) {
    let Some((which, json)) = input.split_first() else { return };
    match which % 15 {
        0 => one::<v1::CreateVm>(json),
        1 => one::<v1::PatchVm>(json),
        2 => one::<v1::StopRequest>(json),
        3 => one::<v1::ExecRequest>(json),
        4 => one::<v1::CreateImage>(json),
        5 => one::<v1::PatchImage>(json),
        6 => one::<v1::PatchHost>(json),
        7 => one::<v1::ExecControl>(json),
        8 => one::<v1::TerminalControl>(json),
        9 => one::<body::NoFields>(json),
        10 => one::<v1::CreateWebhook>(json),
        11 => one::<v1::PatchWebhook>(json),
        12 => one::<v1::Redeliver>(json),
        13 => webhook(json),
        _ => one::<v1::ConnectControl>(json),
    }
}

fn one<T: Serialize + DeserializeOwned + PartialEq + Debug>(json: &[u8]) {
    let lenient = serde_json::from_slice::<T>(json);
    let value = match document::<T>(json) {
        Ok(value) => value,
        Err(refusal) => {
            judge(&refusal, &["bad-json", "body-missing", "wrong-type", "unknown-field", "missing-field", "duplicate-field"]);
            let code = refusal.problem().code.as_str();
            // Where serde would have read it, it is one of the things that serde should not.
            assert!(lenient.is_err() || matches!(code, "wrong-type" | "duplicate-field"), "{code}: {}", show(json));
            return;
        }
    };
    assert_eq!(lenient.as_ref().ok(), Some(&value), "strictness changes what is read: {}", show(json));
    let Ok(tree) = serde_json::from_slice::<Value>(json) else {
        // A number that no f64 holds, in a part that nobody reads, is JSON all the same; a tree can't hold it.
        assert!(serde_json::from_slice::<IgnoredAny>(json).is_ok(), "no JSON: {}", show(json));
        return;
    };
    assert!(tree.is_object(), "no object: {}", show(json));
    assert_eq!(members(&tree), colons(json), "a key stands twice: {}", show(json));
    let written = serde_json::to_vec(&value).expect("what was read can be written");
    assert_eq!(document::<T>(&written).ok(), Some(value), "written as {}", show(&written));
}

/// What webhooks take beyond the shape: a filter and a secret are ours, or refused without being repeated.
fn webhook(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    if let Ok(secret) = parse_secret(&text) {
        assert!((24..=64).contains(&secret.reveal().len()));
        assert_eq!(parse_secret(&show_secret(&secret)).ok(), Some(secret), "{text}");
    }
    let mut spec = v1::WebhookSpec::to(&text);
    spec.filter.types = text.split(' ').map(str::to_owned).collect();
    if let Ok(spec) = crate::http::webhooks::spec(spec)
        && domain::webhook::check(&spec).is_empty()
    {
        assert!(text.to_ascii_lowercase().starts_with("http") && !text.contains('#') && spec.url.len() <= 2048, "{text}");
    }
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Members of all objects; a repeated key counts once.
fn members(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
        Value::Array(items) => items.iter().map(members).sum(),
        _ => 0,
    }
}

/// Members as they stand in the text: one colon each, outside of strings.
fn colons(json: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b':' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

fn judge(refusal: &Refusal, codes: &[&str]) {
    let problem = refusal.problem();
    assert_eq!(refusal.status(), StatusCode::BAD_REQUEST, "{problem:?}");
    assert!(codes.contains(&problem.code.as_str()), "{problem:?}");
    assert!(!problem.detail.is_empty() && problem.fields.iter().all(|field| !field.field.is_empty() && !field.detail.is_empty()));
    let written = serde_json::to_vec(problem).expect("a problem is JSON");
    assert!(written.len() <= REFUSAL_MAX, "a refusal of {} bytes", written.len());
}

fn told<T>(answer: Answer<T>) -> Option<T> {
    match answer {
        Ok(value) => Some(value),
        Err(refusal) => {
            let codes = ["bad-query", "bad-cursor", "unknown-field", "bad-if-match", "bad-idempotency-key"];
            judge(&refusal, &codes);
            None
        }
    }
}

/// The first byte says what the rest is: a query, a cursor, or the value of a header.
pub fn query(input: &[u8]) {
    let Some((which, rest)) = input.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match which % 6 {
        0 => listed(&text),
        1 => fields(&text),
        2 => {
            cursors::<WebhookId>(&text);
            cursors::<VmId>(&text);
            cursors::<ImageId>(&text);
            cursors::<HostId>(&text);
            cursors::<OperationId>(&text);
        }
        _ => header(which / 6, rest),
    }
}

fn listed(text: &str) {
    let Some(query) = told(ListQuery::parse(text)) else { return };
    if let Some(Some(page)) = told(query.page::<VmId>(&["running"], false)) {
        assert!((1..=1000).contains(&page.limit) && page.labels.len() <= 64);
        assert!(page.labels.iter().all(|(key, _)| !key.is_empty()) && page.state.is_none_or(|state| state == "running"));
    }
}

fn fields(text: &str) {
    let mut fields = Fields::parse(text);
    if let Some(seconds) = told(wait(&mut fields)) {
        assert!(seconds.as_secs() <= 300);
    }
    let after = fields.number("after", 0, u64::MAX);
    told(after);
    told(fields.flag("follow"));
    told(Filter::parse(&mut fields));
    told(fields.end(&["wait", "after", "follow", "kind", "id", "project"]));
}

/// What is a cursor is one of ours, or leads to where one of ours does.
fn cursors<K: FromStr + ToString + PartialEq + Debug>(text: &str) {
    if let Some(key) = told(parse_cursor::<K>(text)) {
        let ours = cursor(key.to_string());
        assert_eq!(told(parse_cursor::<K>(&ours)), Some(key), "{text} and {ours}");
    }
}

fn header(which: u8, value: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(value) else { return };
    let names = ["if-match", "idempotency-key", "if-none-match", "content-type", "x-request-id"];
    let name = names[usize::from(which) % names.len()];
    let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value.clone())]);
    match name {
        "if-match" => {
            told(if_match(&headers));
        }
        "idempotency-key" => {
            if let Some(Some(key)) = told(body::key(&headers)) {
                assert!((1..=255).contains(&key.len()) && key.as_bytes() == value.as_bytes());
            }
        }
        "if-none-match" => {
            let text = value.to_str().unwrap_or_default();
            assert!(!same_tag(&headers, "7") || text.contains("\"7\"") || text.contains('*'));
        }
        "content-type" => {
            assert!(
                body::json_type(&headers).is_err()
                    || value.as_bytes().trim_ascii().to_ascii_lowercase().starts_with(b"application/")
            );
        }
        _ => {
            let id = request_id::of(&headers);
            assert!((1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}
