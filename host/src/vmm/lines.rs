//! Which part of a console's log is wanted, and how.

/// The last bytes, of them what was first seen since a moment, and with the times or without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinesWanted {
    pub bytes: u64,
    /// Milliseconds since the epoch. What is older is left out, as is what nobody knows the time of.
    pub since_ms: Option<u64>,
    /// Before each line stands when hearth first saw its first byte: RFC 3339 in UTC, behind `<` for one that came before that (hearth was not
    /// there), `-` where nobody knows; and a space.
    pub with_times: bool,
}

impl LinesWanted {
    /// As it was printed.
    pub fn plain(bytes: u64) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// They begin with a whole line where that can be.
    pub(crate) fn are_lines(&self) -> bool {
        self.with_times || self.since_ms.is_some()
    }
}
