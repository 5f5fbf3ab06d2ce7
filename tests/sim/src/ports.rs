//! The ports of hearth to a simulated machine: what `host` does on a real one.

mod guest;
mod images;
mod network;
mod probe;
mod vmm;
mod webhooks;

pub use images::Images;
pub use network::Network;
pub use probe::{Probe, ROOM_MIB};
pub use vmm::Driver;
pub use webhooks::webhooks;

use crate::machine::{Fate, Outcome};
use std::time::Duration;

/// Time of the node's own runtime. A wait of nothing is none.
pub async fn pass(ms: u64) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

/// Carries `deed` out as fate has it, and says what is answered: the deed's own answer, or nothing for an error.
pub async fn as_fate_has_it<T>(fate: Fate, deed: impl FnOnce() -> T) -> Option<T> {
    pass(fate.before_ms).await;
    let done = fate.outcome.is_done().then(deed);
    match fate.outcome {
        Outcome::Hangs | Outcome::DoneButHangs => std::future::pending().await,
        Outcome::Fails | Outcome::DoneButFails => {
            pass(fate.after_ms).await;
            None
        }
        Outcome::Done => {
            pass(fate.after_ms).await;
            done
        }
    }
}
