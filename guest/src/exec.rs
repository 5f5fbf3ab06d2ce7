//! Processes that the host runs: starting them, carrying their bytes by credit, telling how they ended, ending those that are lost.
//! They are the agent's own children, so whoever else reaps (init, the keeper) can't take their exit codes.
mod account;
mod pty;
pub mod pump;
mod spawn;

#[cfg(any(test, fuzzing))]
pub use account::Account;
pub use spawn::{Process, start};

use crate::session::Outbox;
use api::guest::{AgentMessage, ExitStatus, FrameKind, LOST_SESSION_GRACE_MS};
use nix::sys::signal::Signal;
use pump::Pump;
use spawn::{Input, Output, Started};
use std::{cell::Cell, os::unix::process::ExitStatusExt, rc::Rc, time::Duration};
use tokio::{
    process::Child,
    sync::{Semaphore, mpsc, oneshot, watch},
    time::timeout,
};

/// All that an exec's task needs.
pub struct Job {
    pub id: u32,
    pub started: Started,
    pub outbox: Outbox,
    /// What the host still takes of our output.
    pub credit: Rc<Semaphore>,
    pub input: mpsc::UnboundedReceiver<Vec<u8>>,
    /// What the host may still send.
    pub input_window: Rc<Cell<u32>>,
    pub begin: oneshot::Receiver<()>,
    pub lost: oneshot::Receiver<()>,
}

/// Runs until the process is gone, whatever becomes of the session.
pub async fn run(job: Job) {
    let Job { id, started, outbox, credit, input, input_window, begin, mut lost } = job;
    let Started { mut child, process, input: sink, outputs } = started;
    let _ = begin.await;
    let ended = tokio::select! {
        status = carry(id, &mut child, outputs, &outbox, &credit) => Some(status),
        never = pump::feed(id, sink, input, input_window, &outbox) => match never {},
        _ = &mut lost => None,
    };
    match ended {
        Some(status) => outbox.after_data(id, &AgentMessage::Exited { status }).await,
        None => end(&mut child, &process).await,
    }
}

/// The output's last byte and the exit, in this order to the host.
async fn carry(id: u32, child: &mut Child, outputs: Vec<Output>, outbox: &Outbox, credit: &Semaphore) -> ExitStatus {
    let (exited, seen) = watch::channel(false);
    let mut pumps = outputs.into_iter();
    let mut pump = |kind| {
        let source = pumps.next();
        let seen = seen.clone();
        async move {
            if let Some(source) = source {
                Pump { id, kind, outbox, credit, exited: seen }.run(source).await;
            }
        }
    };
    let wait = async {
        let status = child.wait().await;
        exited.send_replace(true);
        status
    };
    let (status, (), ()) = tokio::join!(wait, pump(FrameKind::Stdout), pump(FrameKind::Stderr));
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => ExitStatus::Code(code),
            (None, Some(signal)) => ExitStatus::Signal(signal),
            (None, None) => ExitStatus::Code(-1),
        },
        // Somebody else has reaped it, which nobody may.
        Err(_) => ExitStatus::Code(-1),
    }
}

/// SIGHUP, the grace, SIGKILL. The terminal and the pipes are closed already.
async fn end(child: &mut Child, process: &Process) {
    let _ = process.signal(Signal::SIGHUP as i32);
    let _ = process.signal(Signal::SIGCONT as i32);
    let _ = timeout(Duration::from_millis(LOST_SESSION_GRACE_MS), child.wait()).await;
    // Also when the leader has gone: the rest of its group may have stayed.
    let _ = process.signal(Signal::SIGKILL as i32);
    let _ = child.wait().await;
}

impl Input {
    /// `None` for a process without input.
    const fn is_open(&self) -> bool {
        !matches!(self, Self::None)
    }
}
