//! One launch of a VM as this driver sees it: the process, the gate while it holds, and how it ended. Owns the watch over the process; does
//! not own the guest: dropped, a run that was released goes on, one that was held ends.

use super::super::VmmError;
use super::cgroup::ran_out_of_memory;
use super::console::ConsoleLog;
use super::gate::Gate;
use super::layout::short_or;
use super::process::{self, Ended};
use crate::guest::GuestSession;
use domain::vm::{Exit, Machine};
use nix::sys::signal::Signal;
use std::{
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::Duration,
};
use tokio::{io::unix::AsyncFd, sync::watch, task::AbortHandle};

/// SIGTERM ends QEMU in 15 ms after it has written its disks out; a slow disk may need this.
const POLITE_WAIT: Duration = Duration::from_secs(3);
/// After SIGKILL only the kernel's own work is left, on a loaded machine.
const FORCED_WAIT: Duration = Duration::from_secs(10);
/// How often the sizes of a VM's logs are looked at: at the serial port's fastest (about 2 MiB/s emulated) 10 MiB come in between.
const LOG_CHECK: Duration = Duration::from_secs(5);
/// How often it is looked whether something was printed, so that it has a time: one call of the system.
const LOG_LOOK: Duration = Duration::from_secs(1);
/// Until there is a descriptor to read the VMM's last words with.
const READ_AGAIN: Duration = Duration::from_millis(200);

/// What differs between VMMs.
#[derive(Debug, Clone, Copy)]
pub struct Nature {
    /// Whether the VMM ends in good order on SIGTERM.
    pub is_polite: bool,
    /// How it ended, by what it left in its folder and what the kernel tells. Errors: `Short`.
    pub explain: fn(&Path, Ended) -> Result<Exit, VmmError>,
    /// What else watches a machine, for as long as it is known.
    pub beside: Option<fn(Beside) -> AbortHandle>,
}

/// What such a watch has.
#[derive(Debug)]
pub struct Beside {
    pub pid: u32,
    pub pidfd: OwnedFd,
    pub folder: PathBuf,
    met: Met,
}

/// The newest session with the agent, while somebody has it.
type Met = Arc<Mutex<Option<Weak<dyn GuestSession>>>>;

impl Beside {
    pub fn guest(&self) -> Option<Arc<dyn GuestSession>> {
        lock(&self.met).as_ref().and_then(Weak::upgrade)
    }
}

pub struct Run {
    pub machine: Machine,
    nature: Nature,
    pidfd: OwnedFd,
    gate: Mutex<Option<Gate>>,
    exit: watch::Receiver<Option<Exit>>,
    /// What the driver ended it for; goes before what the kernel and the VMM tell of the end.
    ended_for: Arc<OnceLock<Exit>>,
    session: Mutex<Option<UnixStream>>,
    met: Met,
    watchers: Vec<AbortHandle>,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.watchers.iter().for_each(AbortHandle::abort);
    }
}

/// A lock whose holder panicked still guards plain values.
pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Run {
    /// Begins to watch the process. To be called within a runtime.
    pub fn watch(
        machine: Machine,
        pidfd: OwnedFd,
        gate: Option<Gate>,
        folder: PathBuf,
        console: Arc<ConsoleLog>,
        nature: Nature,
        group: Option<PathBuf>,
    ) -> Result<Arc<Self>, VmmError> {
        let copy = || pidfd.try_clone().map_err(|error| short_or(&error, VmmError::Spawn { detail: error.to_string() }));
        let watched = process::watched(copy()?)?;
        let (told, exit) = watch::channel(None);
        let (mut watchers, met, ended_for) = (Vec::with_capacity(2), Met::default(), Arc::default());
        if let Some(beside) = nature.beside {
            let (pid, pidfd) = (machine.pid, copy()?);
            watchers.push(beside(Beside { pid, pidfd, folder: folder.clone(), met: Arc::clone(&met) }));
        }
        watchers.push(
            tokio::spawn(watch_process(watched, folder, console, nature, group, told, Arc::clone(&ended_for))).abort_handle(),
        );
        let (gate, session) = (Mutex::new(gate), Mutex::default());
        Ok(Arc::new(Self { machine, nature, pidfd, gate, exit, ended_for, session, met, watchers }))
    }

    pub fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    pub fn take_gate(&self) -> Option<Gate> {
        lock(&self.gate).take()
    }

    pub fn is_held(&self) -> bool {
        lock(&self.gate).is_some()
    }

    pub fn exit(&self) -> Option<Exit> {
        self.exit.borrow().clone()
    }

    /// Cancel: nothing is lost.
    pub async fn exited(&self) -> Exit {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(told) => told.clone().unwrap_or(Exit::Unknown),
            // The watch ends without a word only when the driver is dropped.
            Err(_) => Exit::Unknown,
        }
    }

    /// Ends the process: asked first, by force after a wait. Returns when it is gone.
    pub async fn kill(&self) -> Result<(), VmmError> {
        if self.exit().is_some() {
            return Ok(());
        }
        let failed = |error: std::io::Error| VmmError::Refused { call: "kill", detail: error.to_string() };
        // Nothing of the VMM runs in a held process: there is nobody to be asked.
        if self.take_gate().is_none() && self.nature.is_polite {
            process::signal(&self.pidfd, Signal::SIGTERM).map_err(failed)?;
            if process::gone_within(&self.pidfd, POLITE_WAIT).await? {
                return self.told().await;
            }
        }
        process::signal(&self.pidfd, Signal::SIGKILL).map_err(failed)?;
        if process::gone_within(&self.pidfd, FORCED_WAIT).await? {
            return self.told().await;
        }
        Err(VmmError::Timeout { call: "kill", after_ms: FORCED_WAIT.as_millis() as u64 })
    }

    /// As [`Self::kill`], for a reason of the driver's own, which is told as its end. One that has ended already keeps the end that it had.
    pub async fn end_as(&self, reason: Exit) -> Result<(), VmmError> {
        if self.exit().is_none() {
            let _the_first_counts = self.ended_for.set(reason);
        }
        self.kill().await
    }

    /// The watch has reaped it once it tells; a zombie would keep the cgroup busy.
    async fn told(&self) -> Result<(), VmmError> {
        let _exit = tokio::time::timeout(FORCED_WAIT, self.exited()).await;
        Ok(())
    }

    /// There is a new session with the agent.
    pub fn met(&self, guest: &Arc<dyn GuestSession>) {
        *lock(&self.met) = Some(Arc::downgrade(guest));
    }

    /// The stream of the newest session with the agent; the one before is ended, since a guest serves one at a time.
    pub fn replace_session(&self, newer: Option<UnixStream>) {
        if let Some(older) = std::mem::replace(&mut *lock(&self.session), newer) {
            let _ended = older.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// What is there by now was seen by now.
async fn look_at(console: &Arc<ConsoleLog>) {
    let console = Arc::clone(console);
    let _looked = tokio::task::spawn_blocking(move || console.look()).await;
}

async fn watch_process(
    pidfd: AsyncFd<OwnedFd>,
    folder: PathBuf,
    console: Arc<ConsoleLog>,
    nature: Nature,
    group: Option<PathBuf>,
    told: watch::Sender<Option<Exit>>,
    ended_for: Arc<OnceLock<Exit>>,
) {
    let mut check = tokio::time::interval(LOG_CHECK);
    check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut look = tokio::time::interval(LOG_LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut length = None;
    loop {
        tokio::select! {
            () = process::gone(&pidfd) => break,
            _ = look.tick() => {
                let now = console.length();
                if now == length {
                    console.nothing_new();
                } else {
                    length = now;
                    look_at(&console).await;
                }
            }
            _ = check.tick() => {
                let console = Arc::clone(&console);
                // Trimming is a help: what fails now is tried again at the next check.
                let _trimmed = tokio::task::spawn_blocking(move || console.trim()).await;
            }
        }
    }
    look_at(&console).await;
    let ended = process::reap(pidfd.get_ref());
    let exit = loop {
        if let Some(reason) = ended_for.get() {
            break reason.clone();
        }
        match (nature.explain)(&folder, ended) {
            // The kernel's word for it is the group's; of the process it only tells that it was killed.
            Ok(Exit::Killed { signal }) if signal == Signal::SIGKILL as i32 && ran_out_of_memory(group.as_deref()) => {
                break Exit::OutOfMemory;
            }
            Ok(exit) => break exit,
            Err(error) => tracing::debug!(folder = %folder.display(), %error, "how a VMM ended can't be read yet"),
        }
        tokio::time::sleep(READ_AGAIN).await;
    };
    tracing::debug!(folder = %folder.display(), ?exit, "a VMM ended");
    told.send_replace(Some(exit));
}
