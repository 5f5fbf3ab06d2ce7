//! An import under way, seen from both sides: the copying thread tells how far it is, whoever wants it gone says so.

use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// How much was read of how much. The total is 0 until it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    pub done_bytes: u64,
    pub total_bytes: u64,
}

#[derive(Debug)]
pub struct Copying {
    copied: watch::Sender<Copied>,
    given_up: AtomicBool,
}

/// The import was given up. Nothing of it is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the import was given up")]
pub struct GivenUp;

impl Default for Copying {
    fn default() -> Self {
        Copying { copied: watch::Sender::new(Copied::default()), given_up: AtomicBool::new(false) }
    }
}

impl Copying {
    /// As it moves; readers see the newest, not each.
    pub fn watch(&self) -> watch::Receiver<Copied> {
        self.copied.subscribe()
    }

    /// The copying ends at its next chunk, or with its next file.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Told once, before the first byte.
    pub fn will_copy(&self, total_bytes: u64) {
        self.copied.send_modify(|copied| copied.total_bytes = total_bytes);
    }

    /// So many more bytes are done, holes counted.
    ///
    /// # Errors
    /// The import was given up.
    pub fn copied(&self, bytes: u64) -> Result<(), GivenUp> {
        if self.is_given_up() {
            return Err(GivenUp);
        }
        self.copied.send_modify(|copied| copied.done_bytes += bytes);
        Ok(())
    }
}
