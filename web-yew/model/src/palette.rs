//! Ranking of the command palette's entries.

/// None: the letters do not occur in this order. Higher is better: whole prefix, then starts of words, then letters close together.
pub fn score(query: &str, text: &str) -> Option<i32> {
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let mut total = 0;
    let mut at = 0;
    let mut last: Option<usize> = None;
    for wanted in query.to_lowercase().chars().filter(|c| !c.is_whitespace()) {
        let found = at + text.get(at..)?.iter().position(|&c| c == wanted)?;
        total += match last {
            None if found == 0 => 20,
            Some(previous) if previous + 1 == found => 10,
            _ if found == 0 || !text[found - 1].is_alphanumeric() => 8,
            _ => -(i32::try_from(found - at).unwrap_or(100).min(10)),
        };
        last = Some(found);
        at = found + 1;
    }
    Some(total - i32::try_from(text.len()).unwrap_or(100).min(100) / 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_beats_word_beats_scatter() {
        let prefix = score("sto", "Stop web-01").expect("matches");
        let word = score("web", "Stop web-01").expect("matches");
        let scatter = score("spb", "Stop web-01").expect("matches");
        assert!(prefix > word && word > scatter);
        assert_eq!(score("xyz", "Stop web-01"), None);
        assert!(score("", "anything").is_some());
    }
}
