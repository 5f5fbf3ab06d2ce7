//! What forms make of metadata: one JSON object, as it is typed.

use super::devices::is_able;
use api::v1::{Facts, Metadata};

/// How the server names it.
pub const FIELD: &str = "spec.metadata";

pub fn text(metadata: Option<&Metadata>) -> String {
    metadata.and_then(|metadata| serde_json::to_string_pretty(metadata).ok()).unwrap_or_default()
}

/// Nothing where nothing is typed. Errors: what is no object, in words for whoever typed it.
pub fn asked(text: &str) -> Result<Option<Metadata>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    serde_json::from_str(text).map(Some).map_err(|error| format!("This is no JSON object: {error}."))
}

/// What to send to have it changed; `Some(None)`: none any more. Nothing where it stayed, or is no object yet.
pub fn changed(now: &str, before: &str) -> Option<Option<Metadata>> {
    asked(now).ok().filter(|now| Some(now) != asked(before).ok().as_ref())
}

/// Whether to ask for it: where the host's driver serves it, or there is some all the same.
pub fn is_shown(can: &Facts, text: &str) -> bool {
    is_able(can, "metadata") || !text.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_or_nothing_is_asked_for() {
        let role = asked(" {\"role\": \"web\"} ").unwrap().unwrap();
        assert_eq!(role["role"], "web");
        assert_eq!(asked(&text(Some(&role))), Ok(Some(role)));
        assert_eq!((asked(" \n"), text(None)), (Ok(None), String::new()));
        for wrong in ["[1]", "{", "web", "{\"a\":1} b"] {
            assert!(asked(wrong).unwrap_err().starts_with("This is no JSON object: "), "{wrong}");
        }
    }

    #[test]
    fn only_what_changed_is_sent() {
        assert_eq!(changed("{} ", "{}"), None);
        assert_eq!(changed("{\"a\":1}", "{\n  \"a\": 1\n}"), None, "it says the same");
        assert_eq!(changed("", "{}"), Some(None));
        assert_eq!(changed("{}", ""), Some(Some(Metadata::new())));
        assert_eq!(changed("{", "{}"), None, "nobody can send it");
    }

    #[test]
    fn what_the_driver_can_not_serve_is_not_asked_for() {
        let can = Facts::of(&[("metadata", true)]);
        assert!(is_shown(&can, "") && !is_shown(&Facts::default(), " "));
        assert!(is_shown(&Facts::default(), "{}"), "what is set can be taken away");
    }
}
