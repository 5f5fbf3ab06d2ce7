//! What an actor does just now: the message that it handles, what its handler waits for, the effect beside its mailbox, and how much waits
//! in the mailbox. Written by the actor, read by its supervisor and by who looks at the tree.
//!
//! Times are of a clock that does not jump: the one on the wall, set forward, would have every handler that just runs taken for stuck.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

#[derive(Debug, Default)]
pub struct Progress {
    sent: AtomicU64,
    handled: AtomicU64,
    doing: Mutex<Doing>,
}

/// A name, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Since {
    what: &'static str,
    since: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Effect {
    what: Since,
    deadline: Duration,
    told: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Doing {
    message: Option<Since>,
    waits_for: Option<Since>,
    effect: Option<Effect>,
}

/// Something that goes on for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Going {
    pub what: &'static str,
    pub lasts: Duration,
}

/// What was seen of an actor at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// The message in its handler.
    pub message: Option<Going>,
    /// What the handler waits for: the journal, its turn.
    pub waits_for: Option<Going>,
    /// Beside the mailbox.
    pub effect: Option<Going>,
    /// The effect takes longer than it should.
    pub overdue: bool,
    /// Messages that wait, the one in the handler not counted.
    pub mailbox: u64,
}

impl Progress {
    /// Marks the handler of that message as running until the guard drops.
    pub fn enter(self: &Arc<Self>, message: &'static str) -> Busy {
        let mut busy = self.begin(message);
        busy.message = true;
        busy
    }

    /// The same for what comes before the first message, and was not sent.
    pub fn begin(self: &Arc<Self>, what: &'static str) -> Busy {
        self.lock().message = Some(Since { what, since: Instant::now() });
        Busy { progress: Arc::clone(self), message: false }
    }

    /// What the handler waits for, until the guard drops.
    pub fn waits_for(self: &Arc<Self>, what: &'static str) -> Waits {
        self.lock().waits_for = Some(Since { what, since: Instant::now() });
        Waits(Arc::clone(self))
    }

    /// An effect began beside the mailbox; longer than `deadline` and its supervisor tells.
    pub fn performs(&self, what: &'static str, deadline: Duration) {
        let what = Since { what, since: Instant::now() };
        self.lock().effect = Some(Effect { what, deadline, told: false });
    }

    pub fn performed(&self) {
        self.lock().effect = None;
    }

    pub fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted as sent found nobody.
    pub fn taken_back(&self) {
        self.sent.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn seen(&self) -> Seen {
        let doing = *self.lock();
        let going = |since: Since| Going { what: since.what, lasts: since.since.elapsed() };
        let waiting = self.sent.load(Ordering::Relaxed).saturating_sub(self.handled.load(Ordering::Relaxed));
        Seen {
            message: doing.message.map(going),
            waits_for: doing.waits_for.map(going),
            effect: doing.effect.map(|effect| going(effect.what)),
            overdue: doing.effect.is_some_and(|effect| effect.what.since.elapsed() > effect.deadline),
            mailbox: waiting.saturating_sub(u64::from(doing.message.is_some())),
        }
    }

    /// An effect that is overdue, told once.
    pub fn overdue(&self) -> Option<Going> {
        let mut doing = self.lock();
        let effect = doing.effect.as_mut()?;
        let lasts = effect.what.since.elapsed();
        if effect.told || lasts <= effect.deadline {
            return None;
        }
        effect.told = true;
        Some(Going { what: effect.what.what, lasts })
    }

    /// Backdates the handler that runs: what stalls lead to is tested with it.
    #[cfg(any(test, feature = "faults"))]
    pub fn pretend_busy_since(&self, since: Duration) {
        if let Some(message) = &mut self.lock().message {
            message.since = Instant::now().checked_sub(since).unwrap_or(message.since);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Doing> {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Busy {
    progress: Arc<Progress>,
    message: bool,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut doing = self.progress.lock();
        (doing.message, doing.waits_for) = (None, None);
        drop(doing);
        self.progress.handled.fetch_add(u64::from(self.message), Ordering::Relaxed);
    }
}

pub struct Waits(Arc<Progress>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.lock().waits_for = None;
    }
}

/// The dump of an actor that is stuck: `the message command since 61 s, waiting for the journal since 60 s; 3 messages wait`.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message {
            Some(message) => write!(f, "the message {} since {} s", message.what, message.lasts.as_secs())?,
            None => f.write_str("no message")?,
        }
        if let Some(waits) = self.waits_for {
            write!(f, ", waiting for {} since {} s", waits.what, waits.lasts.as_secs())?;
        }
        if let Some(effect) = self.effect {
            write!(f, ", the effect {} beside it since {} s", effect.what, effect.lasts.as_secs())?;
        }
        write!(f, "; {} messages wait", self.mailbox)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_an_actor_does_is_told() {
        let progress: Arc<Progress> = Arc::default();
        assert_eq!(progress.seen(), Seen::default());
        for _ in 0..3 {
            progress.sent();
        }
        let busy = progress.enter("command");
        let waits = progress.waits_for("the journal");
        progress.performs("launch", Duration::from_secs(60));
        tokio::time::advance(Duration::from_secs(61)).await;
        let seen = progress.seen();
        assert_eq!((seen.mailbox, seen.overdue), (2, true));
        let dump = "the message command since 61 s, waiting for the journal since 61 s, the effect launch beside it since 61 s; 2 messages wait";
        assert_eq!(seen.to_string(), dump);
        assert_eq!(progress.overdue().map(|going| going.what), Some("launch"));
        assert_eq!(progress.overdue(), None, "told once");
        drop(waits);
        assert_eq!(progress.seen().waits_for, None);
        drop(busy);
        progress.performed();
        assert_eq!(progress.seen(), Seen { mailbox: 2, ..Seen::default() });
    }
}
