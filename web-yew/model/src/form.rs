//! What forms make of text before the server judges it.

use api::v1::Labels;

/// `tier=web owner=ops`: words by spaces or commas; one without `=` has an empty value.
pub fn labels(text: &str) -> Labels {
    let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    words.map(|word| word.split_once('=').unwrap_or((word, ""))).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

pub fn labels_text(labels: &Labels) -> String {
    let word = |(key, value): (&String, &String)| if value.is_empty() { key.clone() } else { format!("{key}={value}") };
    labels.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// A hint while typing. The rule itself is the server's; this catches only what is wrong under any rule of host names.
pub fn vm_name_hint(name: &str) -> Option<&'static str> {
    let wrong = name.chars().any(|c| c.is_uppercase() || c.is_whitespace() || c == '_');
    wrong.then_some("Use lower-case letters, digits and hyphens.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_there_and_back() {
        let parsed = labels("tier=web, owner=ops  spare x=a=b");
        assert_eq!(parsed.len(), 4);
        assert_eq!(parsed["spare"], "");
        assert_eq!(parsed["x"], "a=b");
        assert_eq!(labels(&labels_text(&parsed)), parsed);
    }

    #[test]
    fn a_hint_only_for_what_is_surely_wrong() {
        assert_eq!(vm_name_hint("web-01"), None);
        assert!(vm_name_hint("Web 01").is_some());
    }
}
