//! The name of a device: it stands in a path of the API, so nothing else than these letters may be in it.

use super::super::Invalid;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// 1 to 64 letters, digits or underscores. Source: `checked_id` and `ALLOWED` of Firecracker's request parser.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceId(String);

const LONGEST: usize = 64;

impl DeviceId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceId {
    type Err = Invalid;

    fn from_str(id: &str) -> Result<Self, Invalid> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if (1..=LONGEST).contains(&id.len()) && id.bytes().all(allowed) {
            Ok(Self(id.to_owned()))
        } else {
            Err(Invalid::DeviceId { id: id.to_owned() })
        }
    }
}

impl TryFrom<String> for DeviceId {
    type Error = Invalid;

    fn try_from(id: String) -> Result<Self, Invalid> {
        id.parse()
    }
}

impl From<DeviceId> for String {
    fn from(id: DeviceId) -> String {
        id.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}
