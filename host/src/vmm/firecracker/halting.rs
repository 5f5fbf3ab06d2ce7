//! Ends a guest that has come to its end and stands still: an image's own init that powers off leaves its processor halted, and Firecracker
//! would let it stand for ever.
//!
//! The sign is the kernel's last line on the console, which programs of the guest can write as well. So it counts only when nothing followed it,
//! the process has computed nothing since, and the agent, if there is a session with it, does not answer any more.

use super::super::shared::{layout::CONSOLE_LOG, process, run::Beside};
use super::ending;
use nix::sys::signal::Signal;
use std::{path::Path, time::Duration};
use tokio::{task::AbortHandle, time::MissedTickBehavior};

/// How often the console's length is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A live guest's agent answers in milliseconds, on a busy machine in more.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// What a process whose vCPUs are halted may use between two looks, in clock ticks: its timers, and answers on its API.
const IDLE_TICKS: u64 = 2;

/// Watches until the handle's abort or the process's end. To be called within a runtime.
pub fn watch(beside: Beside) -> AbortHandle {
    tokio::spawn(until_halted(beside)).abort_handle()
}

async fn until_halted(beside: Beside) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut length, mut suspected) = (None, None);
    loop {
        looks.tick().await;
        let (now, ticks) = (length_of(&beside.folder), process::stat(beside.pid).map(|stat| stat.cpu_ticks));
        if now != length {
            length = now;
            let folder = beside.folder.clone();
            let words = tokio::task::spawn_blocking(move || ending::last_words_of_guest(&folder)).await;
            suspected = words.is_ok_and(|words| words.is_ok_and(|words| ending::stands_still(&words))).then_some(ticks).flatten();
            continue;
        }
        let Some(before) = suspected else { continue };
        let computed = ticks.is_none_or(|ticks| ticks.saturating_sub(before) > IDLE_TICKS);
        suspected = ticks;
        if computed || answers(&beside).await {
            continue;
        }
        tracing::debug!(folder = %beside.folder.display(), "the guest stands still after its end");
        match process::signal(&beside.pidfd, Signal::SIGKILL) {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, "a guest that stands still can't be ended"),
        }
    }
}

fn length_of(folder: &Path) -> Option<u64> {
    std::fs::metadata(folder.join(CONSOLE_LOG)).ok().map(|metadata| metadata.len())
}

async fn answers(beside: &Beside) -> bool {
    let Some(guest) = beside.guest() else { return false };
    matches!(tokio::time::timeout(ANSWERS_WITHIN, guest.ping()).await, Ok(Ok(_)))
}
