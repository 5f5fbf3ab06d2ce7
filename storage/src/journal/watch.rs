//! Tells subscribers that the head has moved.
//!
//! Owns the pace: a wake costs each of 500 subscribers a task switch, so they are woken at once after a pause and at
//! most every `PACE` under load, however many commits there are. It runs on a thread of its own, so that waking never
//! delays the next group. It does not own the truth: that is `latest()`, which may be ahead of the watch by `PACE`.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::watch;

/// Within the 5 ms from change to subscriber; 500 wakes a second for each subscriber at most.
const PACE: Duration = Duration::from_millis(2);

#[derive(Default)]
struct Head {
    latest: u64,
    ended: bool,
}

/// The writer's end; dropping it tells the last head and ends the watch.
pub(super) struct Watch {
    state: Arc<(Mutex<Head>, Condvar)>,
    thread: Option<JoinHandle<()>>,
    /// Without a thread: whoever moves the head tells the subscribers.
    #[cfg(feature = "simulation")]
    direct: Option<Each>,
}

/// A channel for each subscriber, told in the order in which they came: those of one channel are woken in an order that tokio draws, and that no seed
/// repeats.
#[cfg(feature = "simulation")]
#[derive(Clone, Default)]
pub(super) struct Each(Arc<Mutex<Vec<watch::Sender<u64>>>>);

#[cfg(feature = "simulation")]
impl Each {
    fn all(&self) -> std::sync::MutexGuard<'_, Vec<watch::Sender<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn watch(&self, latest: u64) -> watch::Receiver<u64> {
        let (sender, receiver) = watch::channel(latest);
        self.all().push(sender);
        receiver
    }

    fn tell(&self, latest: u64) {
        let mut all = self.all();
        all.retain(|sender| !sender.is_closed());
        for sender in all.iter() {
            sender.send_replace(latest);
        }
    }
}

impl Watch {
    pub fn start(latest: u64) -> io::Result<(Watch, watch::Receiver<u64>)> {
        let (sender, receiver) = watch::channel(latest);
        let state = Arc::new((Mutex::new(Head { latest, ended: false }), Condvar::new()));
        let shared = state.clone();
        let thread = std::thread::Builder::new().name("journal-watch".into()).spawn(move || publish(&shared, &sender))?;
        let watch = Watch {
            state,
            thread: Some(thread),
            #[cfg(feature = "simulation")]
            direct: None,
        };
        Ok((watch, receiver))
    }

    /// Without a thread and without a pace.
    #[cfg(feature = "simulation")]
    pub fn direct(latest: u64) -> (Watch, watch::Receiver<u64>, Each) {
        let each = Each::default();
        let receiver = each.watch(latest);
        (Watch { state: Arc::default(), thread: None, direct: Some(each.clone()) }, receiver, each)
    }

    /// Call it only when the events up to `latest` are on disk.
    pub fn moved(&self, latest: u64) {
        self.change(|head| head.latest = latest);
        #[cfg(feature = "simulation")]
        if let Some(each) = &self.direct {
            each.tell(latest);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Head)) {
        change(&mut self.state.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.state.1.notify_one();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.change(|head| head.ended = true);
        #[cfg(feature = "simulation")]
        if let Some(each) = &self.direct {
            each.all().clear();
        }
        if let Some(thread) = self.thread.take() {
            // It can only have ended; a panic in a subscriber's waker is not ours to repeat.
            let _ = thread.join();
        }
    }
}

fn publish((state, changed): &(Mutex<Head>, Condvar), sender: &watch::Sender<u64>) {
    let mut published = *sender.borrow();
    let mut head = state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        head = changed.wait_while(head, |head| head.latest == published && !head.ended).unwrap_or_else(PoisonError::into_inner);
        let (latest, ended) = (head.latest, head.ended);
        if latest != published {
            drop(head);
            published = latest;
            sender.send_replace(latest);
            head = state.lock().unwrap_or_else(PoisonError::into_inner);
        }
        if ended {
            return;
        }
        // The pause between two wakes, cut short by the end.
        let paced = changed.wait_timeout_while(head, PACE, |head| !head.ended);
        head = paced.unwrap_or_else(PoisonError::into_inner).0;
    }
}
