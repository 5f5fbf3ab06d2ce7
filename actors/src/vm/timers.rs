//! The timers of all VMs: one queue and one task, because a task each, asleep for the two minutes that a boot may take, costs more than
//! the rest of what a VM's actor keeps.
//!
//! Timers outlive nothing: a late one reaches whichever actor the VM has then, and the number of its attempt makes it harmless. They are
//! lost with the supervisor; the actors that it starts again set theirs anew.

use super::{messages::VmMsg, supervisor::Directory};
use domain::{Attempt, VmId, vm::Timer};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

#[derive(Default)]
pub(super) struct Timers {
    queue: Mutex<Queue>,
    /// The first of them has changed.
    earlier: Notify,
}

/// At most one timer an attempt, and an attempt takes a commit: the queue is as long as what was decided in the last two minutes.
#[derive(Default)]
struct Queue {
    /// By time, then in the order in which they were set.
    due: BTreeMap<(Instant, u64), (VmId, Attempt, Timer)>,
    set: u64,
}

impl Timers {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, id: VmId, attempt: Attempt, timer: Timer, after: Duration) {
        let mut queue = self.queue();
        queue.set += 1;
        let key = (Instant::now() + after, queue.set);
        queue.due.insert(key, (id, attempt, timer));
        let is_first = queue.due.first_key_value().is_some_and(|(first, _)| *first == key);
        drop(queue);
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// Tells the actors, until the task is dropped.
    pub async fn run(self: Arc<Self>, directory: Directory) {
        loop {
            let next = self.queue().due.first_key_value().map(|((at, _), _)| *at);
            match next {
                Some(at) => {
                    tokio::select! {
                        biased;
                        () = tokio::time::sleep_until(at) => self.tell_due(&directory),
                        () = self.earlier.notified() => {}
                    }
                }
                None => self.earlier.notified().await,
            }
        }
    }

    fn tell_due(&self, directory: &Directory) {
        let now = Instant::now();
        loop {
            let mut queue = self.queue();
            let Some(first) = queue.due.first_entry().filter(|first| first.key().0 <= now) else { return };
            let (id, attempt, timer) = first.remove();
            drop(queue);
            if let Some(actor) = directory.get(id) {
                let _ = actor.cast(VmMsg::Elapsed { attempt, timer });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn they_go_off_in_order_and_an_earlier_one_is_not_overslept() {
        let timers = Arc::new(Timers::default());
        let (one, two) = (VmId::from_bits(1), VmId::from_bits(2));
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(Arc::clone(&timers).run(Directory::default()));
        timers.set(one, Attempt(1), Timer::Boot, Duration::from_secs(100));
        tokio::time::sleep(Duration::from_secs(1)).await;
        timers.set(two, Attempt(1), Timer::Backoff, Duration::from_secs(1));
        let left = |timers: &Timers| timers.queue().due.values().map(|(id, ..)| *id).collect::<Vec<_>>();
        assert_eq!(left(&timers), [two, one]);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(left(&timers), [one], "the later one was set first and must not be waited for");
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(left(&timers).is_empty());
    }
}
