//! sled's files, read and never written: what sled would make of them, and what can be had from damaged ones.
//!
//! sled takes damage in the middle of its log for the end of the log, and cuts off what lies behind when it opens. So hearth looks
//! first, with this reader; see docs/adr/0009. Owns the knowledge of sled 0.34's format. Does not know what the journal keeps in it.

mod codec;
mod log;
mod page;
mod recover;
mod salvage;
mod scan;
mod search;
mod tree;
mod unseen;

pub(crate) use recover::{recover, snapshots};
pub(crate) use salvage::{Salvaged, Torn, Value, salvage};
pub(crate) use search::Gap;
pub(crate) use tree::Tree;
pub(crate) use unseen::unseen;

use std::{fs, io, path::Path};

/// Pages' parts, and segments, of any bytes.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(input: &[u8]) {
    page::fuzz(input);
    codec::fuzz(input);
}

const SETTINGS: &str = "conf";
/// As sled 0.34 writes them with the defaults that the journal uses; four bytes of sum follow.
const SETTINGS_TEXT: &[u8] = b"segment_size: 524288\nuse_compression: false\nversion: 0.34\n";

/// sled's file of settings: absent or too short for sled to look at is fine, it then writes it anew.
pub(crate) fn settings_are_known(folder: &Path) -> io::Result<bool> {
    match fs::read(folder.join(SETTINGS)) {
        Ok(bytes) => Ok(bytes.len() <= 8 || bytes.strip_prefix(SETTINGS_TEXT).is_some_and(|sum| sum.len() == 4)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}
