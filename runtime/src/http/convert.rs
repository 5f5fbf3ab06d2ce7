//! From the records of `domain` to the types of the API. Reads only; nothing here can fail.

pub mod devices;
mod event;
mod host;
mod image;
mod operation;
mod vm;
mod webhook;

pub use event::{event, resync};
pub use host::host;
pub use image::image;
pub use operation::operation;
pub use vm::{confinement, mac, vm};
pub use webhook::{dead_letter, kind_of, webhook};

use domain::Timestamp;

/// Times are RFC 3339 in UTC. Beyond the year 9999 nothing of ours is.
pub fn time(at: Timestamp) -> jiff::Timestamp {
    i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).unwrap_or(jiff::Timestamp::MAX)
}

/// Splits a table of admission into what may be done and what not.
fn split<'a>(
    table: impl Iterator<Item = (&'a str, Option<String>)>,
) -> (Vec<String>, std::collections::BTreeMap<String, String>) {
    let (mut actions, mut refused) = (Vec::new(), std::collections::BTreeMap::new());
    for (action, reason) in table {
        match reason {
            None => actions.push(action.to_owned()),
            Some(reason) => {
                refused.insert(action.to_owned(), reason);
            }
        }
    }
    (actions, refused)
}
