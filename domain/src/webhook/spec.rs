//! What a user asks a webhook to be, with its bounds.

use super::filter::{Filter, IDS_MAX, TYPES_MAX, WORD_MAX};
use crate::vm::spec::SpecProblem;
use serde::{Deserialize, Serialize};
use url::Url;

/// What browsers and proxies agree on.
pub const URL_MAX: usize = 2048;
/// For one attempt. A receiver that needs longer should answer first and work then.
pub const TIMEOUT_S_MAX: u32 = 30;
pub const TIMEOUT_S_DEFAULT: u32 = 10;
/// How long one delivery is tried before it is set aside; those behind it wait meanwhile.
pub const RETRY_FOR_S_MAX: u32 = 7 * 24 * 60 * 60;
pub const RETRY_FOR_S_DEFAULT: u32 = 60 * 60;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookSpec {
    pub url: String,
    pub filter: Filter,
    /// Of one attempt, from connecting to the answer's end.
    pub timeout_s: u32,
    /// 0: one attempt.
    pub retry_for_s: u32,
}

/// All problems of a specification.
pub fn check(spec: &WebhookSpec) -> Vec<SpecProblem> {
    let mut problems = Vec::new();
    let mut add = |field, detail: String| problems.push(SpecProblem { field, detail });
    if let Err(detail) = check_url(&spec.url) {
        add("spec.url", detail);
    }
    if spec.timeout_s == 0 || spec.timeout_s > TIMEOUT_S_MAX {
        add("spec.timeout_s", format!("must be 1 to {TIMEOUT_S_MAX}, not {}", spec.timeout_s));
    }
    if spec.retry_for_s > RETRY_FOR_S_MAX {
        add("spec.retry_for_s", format!("must be 0 to {RETRY_FOR_S_MAX}, not {}", spec.retry_for_s));
    }
    let lists = [
        ("spec.filter.types", &spec.filter.types, TYPES_MAX, "a type looks like vm-started"),
        ("spec.filter.ids", &spec.filter.ids, IDS_MAX, "an id looks like vm_ and 26 letters and digits"),
    ];
    for (field, words, most, like) in lists {
        let fits = |word: &String| {
            (1..=WORD_MAX).contains(&word.len())
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        if words.len() > most {
            add(field, format!("no more than {most}"));
        }
        if !words.iter().all(fits) {
            add(field, like.to_owned());
        }
    }
    problems
}

/// Whoever may make a webhook may make hearth send requests wherever it can reach: that is said in the documentation. Here only what can
/// be no honest receiver is refused.
fn check_url(text: &str) -> Result<(), String> {
    if text.len() > URL_MAX {
        return Err(format!("must not be longer than {URL_MAX} bytes"));
    }
    // The parser would pass over them, and what is shown would not be what is asked.
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("must not hold spaces or control characters".to_owned());
    }
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not carry a user or a password: the receiver knows hearth by the signature".to_owned());
    }
    if url.fragment().is_some() {
        return Err("must not have a fragment: it would never be sent".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(url: &str) -> WebhookSpec {
        WebhookSpec { url: url.into(), filter: Filter::default(), timeout_s: TIMEOUT_S_DEFAULT, retry_for_s: RETRY_FOR_S_DEFAULT }
    }

    #[test]
    fn only_plain_addresses_of_http_are_taken() {
        for good in ["http://localhost:8080/x?y=z", "https://example.test/hook", "http://[::1]:9/", "http://10.0.0.1"] {
            assert_eq!(check(&spec(good)), [], "{good}");
        }
        let long = format!("http://a/{}", "x".repeat(URL_MAX));
        for bad in [
            "",
            "example.test",
            "/path",
            "file:///etc/passwd",
            "gopher://a/",
            "ftp://a/",
            "javascript:alert(1)",
            "unix:///run/x",
            "http://",
            "http:///x y",
            "http://user@a/",
            "http://user:pass@a/",
            "http://:pass@a/",
            "http://a/#b",
            "http://a/\n",
            " http://a/",
            "http://a:99999/",
            long.as_str(),
        ] {
            let problems = check(&spec(bad));
            assert!(problems.len() == 1 && problems[0].field == "spec.url", "{bad}: {problems:?}");
        }
    }

    #[test]
    fn a_password_is_not_repeated() {
        let problems = check(&spec("http://user:hunter2@a/"));
        assert!(!problems[0].detail.contains("hunter2"), "{problems:?}");
    }

    #[test]
    fn numbers_and_lists_are_bounded() {
        let wrong = |change: fn(&mut WebhookSpec)| {
            let mut spec = spec("http://a/");
            change(&mut spec);
            check(&spec).into_iter().map(|problem| problem.field).collect::<Vec<_>>()
        };
        assert_eq!(wrong(|spec| spec.timeout_s = 0), ["spec.timeout_s"]);
        assert_eq!(wrong(|spec| spec.timeout_s = TIMEOUT_S_MAX + 1), ["spec.timeout_s"]);
        assert_eq!(wrong(|spec| spec.retry_for_s = RETRY_FOR_S_MAX + 1), ["spec.retry_for_s"]);
        assert_eq!(wrong(|spec| spec.filter.types = vec!["a".into(); TYPES_MAX + 1]), ["spec.filter.types"]);
        assert_eq!(wrong(|spec| spec.filter.types = vec!["a b".into()]), ["spec.filter.types"]);
        assert_eq!(wrong(|spec| spec.filter.ids = vec![String::new()]), ["spec.filter.ids"]);
    }
}
