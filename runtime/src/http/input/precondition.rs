//! ETags: the generation, quoted. `If-Match` for changes, `If-None-Match` for reads.

use crate::http::problem::{Answer, Refusal};
use axum::http::{HeaderMap, HeaderValue, header};
use domain::Generation;

pub fn etag(generation: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{generation}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}

/// The generation that a change depends on. `*` depends on none; a tag that was never ours is generation 0, which matches nothing.
///
/// Errors: 400 when it is no entity tag.
pub fn if_match(headers: &HeaderMap) -> Answer<Option<Generation>> {
    let mut all = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = all.next() else { return Ok(None) };
    let bad = || Refusal::field("bad-if-match", "If-Match", "must be one ETag as it was given, \"7\", or *");
    let text = value.to_str().map_err(|_| bad())?.trim();
    if all.next().is_some() {
        return Err(bad());
    }
    if text == "*" {
        return Ok(None);
    }
    // A proxy that compresses makes our tag a weak one; the generation in it says the same.
    let quoted = text.strip_prefix("W/").unwrap_or(text);
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(bad)?;
    if inner.contains('"') {
        return Err(bad());
    }
    Ok(Some(Generation(inner.parse().unwrap_or(0))))
}

/// Whether the client has this generation already.
pub fn not_modified(headers: &HeaderMap, generation: u64) -> bool {
    same_tag(headers, &generation.to_string())
}

/// Whether `If-None-Match` names `tag` (without its quotes).
pub fn same_tag(headers: &HeaderMap, tag: &str) -> bool {
    let ours = format!("\"{tag}\"");
    let same = |tag: &str| tag.trim().strip_prefix("W/").unwrap_or(tag.trim()) == ours;
    headers.get_all(header::IF_NONE_MATCH).iter().any(|value| value.to_str().is_ok_and(|tags| tags.split(',').any(same)))
}
