//! Names and labels that users choose: what is allowed, and the sentence that says so.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{borrow::Borrow, collections::BTreeMap, fmt, str::FromStr, sync::Arc};

/// 63 characters: a VM's name is its host name, and a DNS label is no longer than that (RFC 1035, 2.3.1).
pub const NAME_MAX: usize = 63;
/// Bounds of labels: enough for inventories, small enough that a record stays small.
pub const LABELS_MAX: usize = 64;
pub const LABEL_KEY_MAX: usize = 63;
pub const LABEL_VALUE_MAX: usize = 255;

/// A resource's name: unique per project and kind; lower-case letters, digits, `-` and `.`; begins and ends with a letter or digit.
///
/// A clone shares the text: a record, its lists' indexes and what is about to be done with it name the same thing many times over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// As a plain text, in every format.
impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Name(text.into()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("must not be empty")]
    Empty,
    #[error("must not be longer than 63 characters")]
    TooLong,
    #[error("may hold only lower-case letters, digits, '-' and '.'")]
    BadCharacter,
    #[error("must begin and end with a letter or a digit")]
    BadEdge,
    #[error("must not look like an id (a kind, an underscore, 26 characters)")]
    LooksLikeAnId,
}

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Ordered and hashed as its text, so that maps by name are asked without making one.
impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_MAX {
            return Err(NameError::TooLong);
        }
        if text.contains('_') && text.split('_').next_back().is_some_and(|tail| tail.len() == 26) {
            return Err(NameError::LooksLikeAnId);
        }
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
        if !text.bytes().all(allowed) {
            return Err(NameError::BadCharacter);
        }
        if !edge(text.as_bytes().first()) || !edge(text.as_bytes().last()) {
            return Err(NameError::BadEdge);
        }
        Ok(Name(text.into()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Free key-value pairs that lists filter by.
pub type Labels = BTreeMap<String, String>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    #[error("no more than 64 labels")]
    TooMany,
    #[error("a label's key has 1 to 63 characters: letters, digits, '.', '_', '-', '/'")]
    BadKey,
    #[error("a label's value has at most 255 characters and no control characters")]
    BadValue,
}

/// Whether `labels` may be kept.
pub fn check_labels(labels: &Labels) -> Result<(), LabelError> {
    if labels.len() > LABELS_MAX {
        return Err(LabelError::TooMany);
    }
    for (key, value) in labels {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
        if key.is_empty() || key.len() > LABEL_KEY_MAX || !key.bytes().all(allowed) {
            return Err(LabelError::BadKey);
        }
        if value.len() > LABEL_VALUE_MAX || value.chars().any(char::is_control) {
            return Err(LabelError::BadValue);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_host_names() {
        for good in ["a", "demo", "web-1", "debian-12.5", "0x"] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        let long = "a".repeat(64);
        let cases = [
            ("", NameError::Empty),
            (long.as_str(), NameError::TooLong),
            ("Demo", NameError::BadCharacter),
            ("a b", NameError::BadCharacter),
            ("../x", NameError::BadCharacter),
            ("-a", NameError::BadEdge),
            ("a.", NameError::BadEdge),
            ("vm_00000000000000000000000000", NameError::LooksLikeAnId),
        ];
        for (bad, why) in cases {
            assert_eq!(bad.parse::<Name>(), Err(why), "{bad}");
        }
    }

    #[test]
    fn labels_are_bounded() {
        let one = |key: &str, value: &str| check_labels(&Labels::from([(key.to_owned(), value.to_owned())]));
        assert_eq!(one("team/a", "x y"), Ok(()));
        assert_eq!(one("", "x"), Err(LabelError::BadKey));
        assert_eq!(one("k", "a\nb"), Err(LabelError::BadValue));
        let many = (0..65).map(|n| (n.to_string(), String::new())).collect();
        assert_eq!(check_labels(&many), Err(LabelError::TooMany));
    }
}
