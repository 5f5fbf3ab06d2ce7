//! Queries: every field known, given once unless it may be repeated, and of the right shape. Cursors are opaque to clients.

use crate::http::problem::{Answer, Refusal};
use actors::view::Page;
use axum::{extract::FromRequestParts, http::request::Parts};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{fmt::Display, str::FromStr, time::Duration};

const LIMIT_DEFAULT: usize = 100;
/// A page of the largest VMs is about 2 MiB; more would hold the view's lock for too long.
const LIMIT_MAX: usize = 1000;
/// The contract's; beyond it proxies give up.
const WAIT_MAX_S: u64 = 300;
/// More labels than a resource may have can't match anything.
const LABELS_MAX: usize = 64;

/// The fields of a query, taken out one by one; what remains is unknown.
pub struct Fields(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Fields {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        Ok(Fields::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl Fields {
    pub fn parse(query: &str) -> Fields {
        Fields(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    pub fn all(&mut self, name: &str) -> Vec<String> {
        let (taken, rest) = std::mem::take(&mut self.0).into_iter().partition(|(key, _)| key == name);
        self.0 = rest;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    pub fn one(&mut self, name: &str) -> Answer<Option<String>> {
        let mut all = self.all(name);
        if all.len() > 1 {
            return Err(bad(name, "may be given once"));
        }
        Ok(all.pop())
    }

    pub fn number(&mut self, name: &str, least: u64, most: u64) -> Answer<Option<u64>> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        match text.parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(bad(name, &format!("must be a number from {least} to {most}"))),
        }
    }

    pub fn flag(&mut self, name: &str) -> Answer<bool> {
        self.one(name)?.map_or(Ok(false), |text| flag(name, &text))
    }

    /// With what it is when it is not given.
    pub fn flag_or(&mut self, name: &str, absent: bool) -> Answer<bool> {
        self.one(name)?.map_or(Ok(absent), |text| flag(name, &text))
    }

    /// A time in RFC 3339, or so long ago: seconds, minutes, hours or days, as `10m`. Milliseconds since the epoch.
    pub fn moment(&mut self, name: &str) -> Answer<Option<u64>> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        let now_ms = crate::http::idempotency::now_ms();
        let wrong = || bad(name, "must be a time in RFC 3339, or so long ago: 90s, 10m, 2h or 7d");
        moment(&text, now_ms).map(Some).ok_or_else(wrong)
    }

    /// Refuses what nobody took.
    pub fn end(self, known: &[&str]) -> Answer<()> {
        self.0.first().map_or(Ok(()), |(key, _)| Err(unknown(key, known)))
    }

    pub(super) fn rest(self) -> Vec<(String, String)> {
        self.0
    }
}

/// What is before the epoch is taken for it.
fn moment(text: &str, now_ms: u64) -> Option<u64> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(u64::try_from(time.as_millisecond()).unwrap_or(0));
    }
    let unit_ms = match text.bytes().next_back()? {
        b's' => 1_000,
        b'm' => 60_000,
        b'h' => 3_600_000,
        b'd' => 86_400_000,
        _ => return None,
    };
    let number = text.get(..text.len() - 1).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?;
    Some(now_ms.saturating_sub(number.parse::<u64>().ok()?.saturating_mul(unit_ms)))
}

pub(super) fn flag(name: &str, text: &str) -> Answer<bool> {
    match text {
        "" | "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(bad(name, "must be true or false")),
    }
}

pub(super) fn unknown(key: &str, known: &[&str]) -> Refusal {
    // `?=1`: a field without a name.
    let key = if key.is_empty() { "query" } else { key };
    Refusal::field("unknown-field", key, format!("unknown query field, expected one of: {}", known.join(", ")))
}

/// 400 for a field whose value is none that it may have.
pub fn bad(field: &str, detail: &str) -> Refusal {
    Refusal::field("bad-query", field, detail)
}

/// `?wait=SECONDS`; absent and 0: not at all.
pub fn wait(fields: &mut Fields) -> Answer<Duration> {
    Ok(Duration::from_secs(fields.number("wait", 0, WAIT_MAX_S)?.unwrap_or(0)))
}

/// What a list is narrowed to.
pub struct ListQuery {
    limit: usize,
    cursor: Option<String>,
    name: Option<String>,
    state: Option<String>,
    labels: Vec<(String, String)>,
    /// Another project than the one there is: the list is empty.
    elsewhere: bool,
}

const KNOWN: [&str; 6] = ["limit", "cursor", "label", "state", "name", "project"];

impl<S: Send + Sync> FromRequestParts<S> for ListQuery {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        ListQuery::parse(parts.uri.query().unwrap_or_default())
    }
}

impl ListQuery {
    pub fn parse(query: &str) -> Answer<ListQuery> {
        let mut fields = Fields::parse(query);
        let limit = fields.number("limit", 1, LIMIT_MAX as u64)?;
        let labels = fields.all("label");
        if labels.len() > LABELS_MAX {
            return Err(bad("label", "no more than 64 labels"));
        }
        let label = |text: String| match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(bad("label", "must look like key=value")),
        };
        let query = ListQuery {
            limit: limit.map_or(LIMIT_DEFAULT, |limit| usize::try_from(limit).unwrap_or(LIMIT_MAX)),
            cursor: fields.one("cursor")?,
            name: fields.one("name")?,
            state: fields.one("state")?,
            labels: labels.into_iter().map(label).collect::<Answer<_>>()?,
            elsewhere: fields.one("project")?.is_some_and(|project| project != crate::http::PROJECT),
        };
        fields.end(&KNOWN)?;
        Ok(query)
    }

    /// `None`: the list is empty whatever there is. `states`: those that the kind has.
    pub fn page<K: FromStr>(self, states: &[&str], newest_first: bool) -> Answer<Option<Page<K>>> {
        if let Some(state) = &self.state
            && !states.contains(&state.as_str())
        {
            return Err(bad("state", &format!("must be one of: {}", states.join(", "))));
        }
        let after = self.cursor.as_deref().map(parse_cursor).transpose()?;
        let page = Page { after, limit: self.limit, name: self.name, state: self.state, labels: self.labels, newest_first };
        Ok((!self.elsewhere).then_some(page))
    }
}

pub fn cursor(key: impl Display) -> String {
    URL_SAFE_NO_PAD.encode(key.to_string())
}

pub(super) fn parse_cursor<K: FromStr>(text: &str) -> Answer<K> {
    let refused =
        || Refusal::field("bad-cursor", "cursor", "is none of this list's").hint("use next_cursor of the page before, as it is");
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
    std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok()).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn a_moment_is_a_time_or_so_long_ago() {
        let now = 1_800_000_000_000;
        assert_eq!(moment("90s", now), Some(now - 90_000));
        assert_eq!(moment("10m", now), Some(now - 600_000));
        assert_eq!((moment("2h", now), moment("7d", now)), (Some(now - 7_200_000), Some(now - 604_800_000)));
        assert_eq!(moment("99999999999999999d", now), Some(0), "before all times");
        assert_eq!(moment("2026-01-01T00:00:00.5Z", now), Some(1_767_225_600_500));
        assert_eq!(moment("2026-01-01T02:00:00+02:00", now), Some(1_767_225_600_000));
        assert_eq!(moment("1969-01-01T00:00:00Z", now), Some(0));
        for wrong in ["", "m", "-5m", "+5m", "1.5h", "10", "10w", "now", "2026-01-01", "5\u{fc}", "99999999999999999999s"] {
            assert_eq!(moment(wrong, now), None, "{wrong}");
        }
    }
}
