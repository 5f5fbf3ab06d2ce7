//! Ends a guest that has come to its end and stands still: an image's own init that powers off leaves its processor halted, and Firecracker
//! would let it stand for ever.

use super::super::shared::{layout::CONSOLE_LOG, process};
use super::ending;
use nix::sys::{
    inotify::{AddWatchFlags, InitFlags, Inotify},
    signal::Signal,
};
use std::{io, os::fd::OwnedFd, path::PathBuf, time::Duration};
use tokio::task::AbortHandle;

/// A talkative guest's console is looked at no more often than this.
const LOOK: Duration = Duration::from_millis(100);

/// Watches until the handle's abort or the process's end. To be called within a runtime. `pidfd`: the process that is ended.
pub fn watch(pidfd: OwnedFd, folder: PathBuf) -> AbortHandle {
    let watch = async move {
        if let Err(error) = until_halted(&pidfd, folder).await {
            tracing::debug!(%error, "a guest that powers off by itself will not be noticed");
        }
    };
    tokio::spawn(watch).abort_handle()
}

async fn until_halted(pidfd: &OwnedFd, folder: PathBuf) -> io::Result<()> {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    inotify.add_watch(&folder.join(CONSOLE_LOG), AddWatchFlags::IN_MODIFY)?;
    let changes = process::watched(inotify.into()).map_err(io::Error::other)?;
    loop {
        let looked_at = folder.clone();
        let words =
            tokio::task::spawn_blocking(move || ending::last_words_of_guest(&looked_at)).await.map_err(io::Error::other)?;
        if words.is_ok_and(|words| ending::stands_still(&words)) {
            tracing::debug!(folder = %folder.display(), "the guest stands still after its end");
            return process::signal(pidfd, Signal::SIGKILL);
        }
        changes.readable().await?.clear_ready();
        let mut told = [0; 4096];
        while nix::unistd::read(changes.get_ref(), &mut told).is_ok_and(|read| read > 0) {}
        // A bound on how often the log is read, not a wait for something.
        tokio::time::sleep(LOOK).await;
    }
}
