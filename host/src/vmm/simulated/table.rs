//! What is known of every simulated VM, who follows it, and how both hear of a change.
//!
//! Concurrency: the table's lock is held for a look or a change and never while a follower is told, so that followers may call back. Who
//! waits for something of any VM is woken by every change and looks again: waiting is rare here, and a channel for each of a hundred
//! thousand VMs is not free.

use super::{
    super::{Follower, VmmError},
    guest::SimulatedGuest,
    notes::{Found, Note, Notes, Phase},
};
use crate::guest::GuestSession;
use domain::{
    Attempt, VmId,
    vm::{Exit, Machine},
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::watch;

/// Which launch of a VM is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    pub launch: Attempt,
    pub start_ticks: u64,
}

impl Run {
    pub fn of(machine: &Machine) -> Run {
        Run { launch: machine.launch, start_ticks: machine.start_ticks }
    }
}

/// A VM as far as there is one.
pub struct Entry {
    pub note: Note,
    pub phase: Phase,
    /// The newest session's number; older ones are over.
    pub session: u64,
    /// What it counts begins here, as hearth's memory of it does.
    pub since: Instant,
    /// That moment by the clock on the wall, in milliseconds since the epoch.
    pub since_ms: u64,
    follower: Option<Arc<dyn Follower>>,
    /// The follower has a session and was not told of its end.
    connected: bool,
}

impl Entry {
    pub fn new(note: Note, phase: Phase) -> Entry {
        let since_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
        Entry { note, phase, session: 0, since: Instant::now(), since_ms, follower: None, connected: false }
    }

    fn is_of(&self, run: Run) -> bool {
        (self.note.launch, self.note.start_ticks) == (run.launch.0, run.start_ticks)
    }
}

/// What a follower is to hear once the lock is free.
enum News {
    Up(Arc<dyn Follower>, Arc<dyn GuestSession>),
    Exited { follower: Arc<dyn Follower>, was_connected: bool, exit: Exit },
}

impl News {
    fn tell(self) {
        match self {
            News::Up(follower, session) => follower.guest_up(session),
            News::Exited { follower, was_connected, exit } => {
                if was_connected {
                    follower.guest_down();
                }
                follower.exited(exit);
            }
        }
    }
}

pub struct Shared {
    pub notes: Notes,
    vms: Mutex<HashMap<VmId, Entry>>,
    changed: watch::Sender<()>,
}

impl Shared {
    pub fn new(notes: Notes, found: Vec<Found>) -> Shared {
        let vms = found.into_iter().map(|(vm, note, phase)| (vm, Entry::new(note, phase))).collect();
        Shared { notes, vms: Mutex::new(vms), changed: watch::Sender::new(()) }
    }

    fn vms(&self) -> MutexGuard<'_, HashMap<VmId, Entry>> {
        self.vms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `see` makes of that launch; `None` when the VM has it no longer.
    pub fn look<T>(&self, vm: VmId, run: Run, see: impl FnOnce(&Entry) -> T) -> Option<T> {
        self.vms().get(&vm).filter(|entry| entry.is_of(run)).map(see)
    }

    /// Until `look` finds something; it is asked now and after every change of any VM.
    pub async fn until<T>(&self, look: impl Fn() -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        loop {
            if let Some(found) = look() {
                return found;
            }
            // The sender is our own, so it is there.
            let _ = changed.changed().await;
        }
    }

    pub fn insert(&self, vm: VmId, entry: Entry) {
        self.vms().insert(vm, entry);
        self.changed.send_replace(());
    }

    /// Those that are not `known`.
    pub fn others(&self, known: &HashSet<VmId>) -> Vec<VmId> {
        self.vms().keys().filter(|vm| !known.contains(vm)).copied().collect()
    }

    /// Moves to the phase that `next` gives for the present one; `None` leaves it. The note is written first.
    pub fn change(
        self: &Arc<Self>,
        vm: VmId,
        run: Run,
        next: impl FnOnce(&Phase) -> Result<Option<Phase>, VmmError>,
    ) -> Result<(), VmmError> {
        let news = {
            let mut vms = self.vms();
            let entry = vms.get_mut(&vm).filter(|entry| entry.is_of(run)).ok_or(VmmError::Gone)?;
            let Some(phase) = next(&entry.phase)? else { return Ok(()) };
            self.notes.write(vm, &entry.note, &phase)?;
            entry.phase = phase;
            self.news(vm, entry)
        };
        self.changed.send_replace(());
        news.into_iter().for_each(News::tell);
        Ok(())
    }

    /// Changes what is noted of it. The note is written first.
    pub fn renote(&self, vm: VmId, run: Run, change: impl FnOnce(&mut Note)) -> Result<(), VmmError> {
        let mut vms = self.vms();
        let entry = vms.get_mut(&vm).filter(|entry| entry.is_of(run)).ok_or(VmmError::Gone)?;
        let mut note = entry.note.clone();
        change(&mut note);
        if note != entry.note {
            self.notes.write(vm, &note, &entry.phase)?;
            entry.note = note;
        }
        Ok(())
    }

    /// Ends it; one that has ended already, or is not there, stays so.
    pub fn end(self: &Arc<Self>, vm: VmId, run: Run, exit: Exit) -> Result<(), VmmError> {
        match self.change(vm, run, |phase| Ok((!matches!(phase, Phase::Gone(_))).then_some(Phase::Gone(exit)))) {
            Err(VmmError::Gone) => Ok(()),
            result => result,
        }
    }

    /// Forgets the VM; whoever still follows the launch is told that it is gone.
    pub fn remove(&self, vm: VmId) -> Result<(), VmmError> {
        let Some(mut entry) = self.vms().remove(&vm) else { return Ok(()) };
        let forgotten = self.notes.forget(vm);
        let ended =
            entry.follower.take().map(|follower| News::Exited { follower, was_connected: entry.connected, exit: Exit::Unknown });
        self.changed.send_replace(());
        ended.into_iter().for_each(News::tell);
        forgotten
    }

    /// `late`: by how much the agent's hello is later than it could be.
    pub fn follow(self: &Arc<Self>, vm: VmId, run: Run, follower: Arc<dyn Follower>, late: Duration) {
        let news = {
            let mut vms = self.vms();
            match vms.get_mut(&vm).filter(|entry| entry.is_of(run)) {
                None => Some(News::Exited { follower, was_connected: false, exit: Exit::Unknown }),
                Some(entry) => {
                    entry.connected = !late.is_zero();
                    entry.follower = Some(follower);
                    self.news(vm, entry)
                }
            }
        };
        // A session may have begun, which ends the one before.
        self.changed.send_replace(());
        news.into_iter().for_each(News::tell);
        if !late.is_zero() {
            self.connect_later(vm, run, late);
        }
    }

    /// What the follower does not know yet.
    fn news(self: &Arc<Self>, vm: VmId, entry: &mut Entry) -> Option<News> {
        match &entry.phase {
            Phase::Gone(exit) => {
                let (exit, was_connected) = (exit.clone(), std::mem::take(&mut entry.connected));
                entry.follower.take().map(|follower| News::Exited { follower, was_connected, exit })
            }
            Phase::Running if !entry.connected => {
                let follower = Arc::clone(entry.follower.as_ref()?);
                entry.connected = true;
                Some(News::Up(follower, self.begin(vm, entry)))
            }
            Phase::Held | Phase::Running | Phase::Paused => None,
        }
    }

    /// A fault: the hello comes late. Until then the follower counts as connected, so that nothing else connects it.
    fn connect_later(self: &Arc<Self>, vm: VmId, run: Run, late: Duration) {
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            let news = shared.vms().get_mut(&vm).filter(|entry| entry.is_of(run)).and_then(|entry| {
                entry.connected = false;
                shared.news(vm, entry)
            });
            news.into_iter().for_each(News::tell);
        });
    }

    /// A new session with a guest that runs; the older one is over.
    pub fn session(self: &Arc<Self>, vm: VmId, run: Run) -> Option<Arc<dyn GuestSession>> {
        let session = self.vms().get_mut(&vm).filter(|entry| entry.is_of(run)).map(|entry| self.begin(vm, entry));
        self.changed.send_replace(());
        session
    }

    fn begin(self: &Arc<Self>, vm: VmId, entry: &mut Entry) -> Arc<dyn GuestSession> {
        entry.session += 1;
        let run = Run { launch: Attempt(entry.note.launch), start_ticks: entry.note.start_ticks };
        Arc::new(SimulatedGuest::new(Arc::clone(self), vm, run, entry.session))
    }
}
