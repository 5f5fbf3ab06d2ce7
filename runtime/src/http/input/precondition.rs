//! ETags: the generation, quoted. `If-Match` for changes, `If-None-Match` for reads.

use crate::http::problem::{Answer, Refusal};
use actors::IfMatch;
use axum::http::{HeaderMap, HeaderValue, header};
use domain::Generation;

pub fn etag(generation: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{generation}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}

/// The generations that a change depends on (RFC 9110, 13.1.1). `*` depends on none: what is changed must be there in any case. Compared
/// strongly, so that a weak tag matches nothing, as does one that was never ours.
///
/// Errors: 400 when it is no list of entity tags.
pub fn if_match(headers: &HeaderMap) -> Answer<Option<IfMatch>> {
    let mut lines = headers.get_all(header::IF_MATCH).iter().peekable();
    if lines.peek().is_none() {
        return Ok(None);
    }
    let bad = || Refusal::field("bad-if-match", "If-Match", "must be *, or ETags as they were given: \"7\", \"8\"");
    let mut text = String::new();
    for line in lines {
        text.push_str(line.to_str().map_err(|_| bad())?);
        text.push(',');
    }
    let text = text.trim_end_matches(',').trim();
    if text == "*" {
        return Ok(None);
    }
    let tags = tags(text).filter(|tags| !tags.is_empty()).ok_or_else(bad)?;
    let ours = |tag: &Tag<'_>| match tag {
        Tag::Strong(inner) => inner.parse().ok().map(Generation),
        Tag::Weak(_) => None,
    };
    Ok(Some(IfMatch(tags.iter().filter_map(ours).collect())))
}

/// An entity tag without its quotes.
#[derive(Debug, PartialEq, Eq)]
enum Tag<'a> {
    Strong(&'a str),
    Weak(&'a str),
}

/// A list of entity tags, empty elements left out; `None` when it is none.
fn tags(mut rest: &str) -> Option<Vec<Tag<'_>>> {
    let mut tags = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(tags);
        }
        let weak = rest.strip_prefix("W/");
        let (inner, behind) = weak.unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
        if inner.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return None;
        }
        tags.push(if weak.is_some() { Tag::Weak(inner) } else { Tag::Strong(inner) });
        rest = behind.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

/// Whether the client has this generation already.
pub fn not_modified(headers: &HeaderMap, generation: u64) -> bool {
    same_tag(headers, &generation.to_string())
}

/// Whether `If-None-Match` names `tag` (without its quotes), compared weakly; `*` names all.
pub fn same_tag(headers: &HeaderMap, tag: &str) -> bool {
    let same = |text: &str| {
        let named = |ours: &Tag<'_>| matches!(ours, Tag::Strong(inner) | Tag::Weak(inner) if *inner == tag);
        text.trim() == "*" || tags(text).is_some_and(|tags| tags.iter().any(named))
    };
    headers.get_all(header::IF_NONE_MATCH).iter().any(|value| value.to_str().is_ok_and(same))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_tags_are_read_as_the_rfc_has_them() {
        let strong = Tag::Strong;
        assert_eq!(tags("\"1\""), Some(vec![strong("1")]));
        assert_eq!(tags(" \"1\" ,, W/\"2\",\"a,b\" "), Some(vec![strong("1"), Tag::Weak("2"), strong("a,b")]));
        for bad in ["1", "\"1", "\"1\" \"2\"", "W/1", "w/\"1\"", "\"1\"x", "*, \"1\"", "\"a b\""] {
            assert_eq!(tags(bad), None, "{bad}");
        }
    }

    #[test]
    fn changes_compare_strongly_and_reads_weakly() {
        let headers = |name, value: &'static str| HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
        let change = |value| if_match(&headers(header::IF_MATCH, value)).map_err(|_| ());
        assert_eq!(change("*"), Ok(None));
        assert_eq!(change("\"7\", \"9\""), Ok(Some(IfMatch(vec![Generation(7), Generation(9)]))));
        assert_eq!(change("W/\"7\""), Ok(Some(IfMatch(vec![]))), "which matches nothing");
        assert_eq!(change("\"never-ours\""), Ok(Some(IfMatch(vec![]))));
        assert_eq!((change("seven"), change(","), change("")), (Err(()), Err(()), Err(())));
        let read = |value| not_modified(&headers(header::IF_NONE_MATCH, value), 7);
        assert!(read("\"7\"") && read("W/\"7\"") && read("\"6\", \"7\"") && read("*"));
        assert!(!read("\"6\"") && !read("7") && !read("\"77\""));
    }
}
