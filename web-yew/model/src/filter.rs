//! The filter box: words that must all match, each against name, id, state or a label.

use crate::resource::Resource;

/// Words without a sign match name, id, state, label keys or values in part; `state:running` only the state; `key=value` only that label.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    words: Vec<String>,
}

impl Filter {
    pub fn parse(text: &str) -> Self {
        Filter { words: text.split_whitespace().map(str::to_lowercase).collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    pub fn matches(&self, row: &impl Resource) -> bool {
        self.words.iter().all(|word| word_matches(word, row))
    }

    /// The same for rows that are not resources: all that is shown of one, joined.
    pub fn matches_text(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.words.iter().all(|word| text.contains(word.as_str()))
    }
}

fn word_matches(word: &str, row: &impl Resource) -> bool {
    if let Some(state) = word.strip_prefix("state:") {
        return row.state().starts_with(state);
    }
    let labels = row.labels();
    if let Some((key, value)) = word.split_once('=') {
        return labels
            .is_some_and(|labels| labels.iter().any(|(k, v)| k.to_lowercase() == key && v.to_lowercase().starts_with(value)));
    }
    let in_labels = labels
        .is_some_and(|labels| labels.iter().any(|(k, v)| k.to_lowercase().contains(word) || v.to_lowercase().contains(word)));
    row.name().to_lowercase().contains(word) || row.state().contains(word) || row.id().to_lowercase() == word || in_labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::v1::Labels;

    struct Row(Labels);

    impl Resource for Row {
        fn id(&self) -> &str {
            "vm_1"
        }
        fn name(&self) -> &str {
            "Web-01"
        }
        fn generation(&self) -> u64 {
            1
        }
        fn labels(&self) -> Option<&Labels> {
            Some(&self.0)
        }
        fn state(&self) -> &str {
            "running"
        }
    }

    #[test]
    fn every_word_must_match_somewhere() {
        let row = Row(Labels::from([("tier".to_owned(), "Front".to_owned())]));
        for yes in ["", "web", "WEB run", "state:running", "tier=front", "tier=f web", "vm_1", "front"] {
            assert!(Filter::parse(yes).matches(&row), "{yes}");
        }
        for no in ["db", "web db", "state:stopped", "tier=back", "other=front", "vm_"] {
            assert!(!Filter::parse(no).matches(&row), "{no}");
        }
    }
}
