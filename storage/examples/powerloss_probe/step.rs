//! One batch of the probe and the bytes it writes. Every value says of which batch it is, so a mixed-up one is seen.

pub const THREADS: u64 = 4;
/// Of each thread. Enough that segments hold live and dead records side by side, so that sled moves and reuses them.
pub const KEYS: u64 = 300;
/// Records that a batch overwrites, all with its version.
pub const PARTS: u64 = 3;
/// Events that a batch appends.
pub const EVENTS: u64 = 2;
/// The table of the records, and that of the one record per thread that each batch writes anew under another key.
pub const RECORDS: &str = "records";
pub const MOVING: &str = "moving";

/// One value in this many is large: the journal stores it in chunks.
const LARGE_EVERY: u64 = 7;

/// Of `thread`, overwriting the parts of `key`; `version` rises with every batch of the thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub thread: u64,
    pub key: u64,
    pub version: u64,
}

impl Step {
    /// The value of all its records and events.
    pub fn value(self, large_bytes: usize) -> Vec<u8> {
        let mut bytes = format!("{} {} {} ", self.thread, self.key, self.version).into_bytes();
        let large = self.version.is_multiple_of(LARGE_EVERY);
        let length = if large { large_bytes } else { 60 + (self.version % 240) as usize };
        // Filled with something that differs between versions, so that a page of another one does not pass.
        let mut state = self.version ^ (self.thread << 56);
        while bytes.len() < length {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.push((state >> 56) as u8);
        }
        bytes
    }

    /// `None` unless the bytes are exactly those of a step.
    pub fn parse(bytes: &[u8], large_bytes: usize) -> Option<Step> {
        let mut words = bytes.splitn(4, |byte| *byte == b' ').take(3).map(|word| std::str::from_utf8(word).ok()?.parse().ok());
        let step = Step { thread: words.next()??, key: words.next()??, version: words.next()?? };
        (bytes == step.value(large_bytes)).then_some(step)
    }

    pub fn part_name(self, part: u64) -> String {
        format!("{}-{:04}-{part}", self.thread, self.key)
    }

    pub fn moving_name(self) -> String {
        format!("{}-{}", self.thread, self.version)
    }
}
