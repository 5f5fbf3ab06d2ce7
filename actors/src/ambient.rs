//! Time and chance: the one place where actors read a clock or draw randomness, so that a simulation can supply both.
//!
//! A simulation runs one node at a time on one thread, so the thread says whose clock and whose dice these are; nothing is handed around
//! for it, and without the feature `simulation` these are the machine's own, at no cost.

use domain::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The clock on the wall. It may jump: how long something takes is measured with `tokio::time::Instant`.
pub fn now() -> Timestamp {
    #[cfg(feature = "simulation")]
    if let Some(now) = simulated::with(|ambient| ambient.now()) {
        return now;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The same for what takes a [`SystemTime`], such as a guest.
pub fn system_time() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(now().0)
}

pub fn random() -> u128 {
    #[cfg(feature = "simulation")]
    if let Some(random) = simulated::with(|ambient| ambient.random()) {
        return random;
    }
    rand::random()
}

/// Evenly from 0 up to 1, without 1.
pub fn fraction() -> f64 {
    // As many bits as the number holds exactly.
    (random() >> 75) as f64 / (1_u64 << 53) as f64
}

/// The one place where ids are made: 48 bits of time, 80 of randomness.
pub fn new_id() -> u128 {
    (u128::from(now().0) << 80) | (random() & ((1 << 80) - 1))
}

/// Work that blocks, off the actors' threads. A simulation has one thread and nothing that blocks.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, tokio::task::JoinError> {
    #[cfg(feature = "simulation")]
    if simulated::with(|_| ()).is_some() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}

#[cfg(feature = "simulation")]
pub mod simulated {
    //! Supplying both.

    use domain::Timestamp;
    use std::{cell::RefCell, sync::Arc, time::Duration};

    pub trait Ambient: Send + Sync {
        fn now(&self) -> Timestamp;
        fn random(&self) -> u128;
        /// Whether an answer that is just sent comes once more, so much later.
        fn echo(&self) -> Option<Duration> {
            None
        }
    }

    /// Sends an answer again, late, if that is wanted.
    pub(crate) fn echo(again: impl FnOnce() + Send + 'static) {
        if let Some(after) = with(|ambient| ambient.echo()).flatten() {
            // No task of the actor's: it comes whatever becomes of that.
            drop(tokio::spawn(async move {
                tokio::time::sleep(after).await;
                again();
            }));
        }
    }

    thread_local! {
        static AMBIENT: RefCell<Option<Arc<dyn Ambient>>> = const { RefCell::new(None) };
    }

    /// Until the guard drops, this thread's actors live by it.
    #[must_use = "the thread goes back to the machine's clock when this drops"]
    pub struct Entered(Option<Arc<dyn Ambient>>);

    pub fn enter(ambient: Arc<dyn Ambient>) -> Entered {
        Entered(AMBIENT.replace(Some(ambient)))
    }

    impl Drop for Entered {
        fn drop(&mut self) {
            AMBIENT.set(self.0.take());
        }
    }

    pub(super) fn with<T>(ask: impl FnOnce(&dyn Ambient) -> T) -> Option<T> {
        // Cloned: what it answers may come back here.
        let ambient = AMBIENT.with_borrow(Option::clone)?;
        Some(ask(ambient.as_ref()))
    }
}
