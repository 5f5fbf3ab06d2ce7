//! Reaching a socket in a folder that a stranger may write to: the file itself is opened first, following no link, so that what is connected
//! to is a socket in that folder and nothing that a name was made to lead to. Its path is short however deep the folder lies.

use super::super::shared::{layout::open_folder, process};
use nix::{
    fcntl::{OFlag, openat},
    libc,
    sys::{
        inotify::{AddWatchFlags, InitFlags, Inotify},
        stat::{Mode, fstat},
    },
};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{io::unix::AsyncFd, time::Instant};

/// A socket's file, held open: its path is good for as long as this lives.
#[derive(Debug)]
pub struct Door(OwnedFd);

impl Door {
    /// Errors: NotFound; ELOOP for a link; `InvalidInput` for what is no socket.
    pub fn open(folder: &Path, name: &str) -> io::Result<Self> {
        let folder = open_folder(folder)?;
        let file = openat(folder.as_fd(), name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
        match fstat(file.as_fd())?.st_mode & libc::S_IFMT {
            libc::S_IFSOCK => Ok(Self(file)),
            libc::S_IFLNK => Err(io::Error::from_raw_os_error(libc::ELOOP)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is no socket"))),
        }
    }

    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// How often the folder is to be looked at where the kernel has no more watches to give (128 a user, by default, and others have some).
const LOOK: Duration = Duration::from_millis(5);

/// News of files that come into a folder.
pub struct Arrivals(Option<AsyncFd<OwnedFd>>);

impl Arrivals {
    /// From now on.
    pub fn of(folder: &Path) -> Self {
        let watch = || {
            let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok()?;
            // ATTRIB: bound and then listened on, a socket is first there and refuses; its mode is changed by nobody else.
            inotify.add_watch(folder, AddWatchFlags::IN_CREATE | AddWatchFlags::IN_ATTRIB).ok()?;
            process::watched(inotify.into()).ok()
        };
        Self(watch())
    }

    /// Whether there was, or may have been, news before the deadline.
    pub async fn next(&self, deadline: Instant) -> bool {
        let Some(watch) = &self.0 else {
            tokio::time::sleep_until(deadline.min(Instant::now() + LOOK)).await;
            return true;
        };
        let Ok(Ok(mut ready)) = tokio::time::timeout_at(deadline, watch.readable()).await else { return false };
        ready.clear_ready();
        let mut told = [0; 4096];
        while nix::unistd::read(watch.get_ref(), &mut told).is_ok_and(|read| read > 0) {}
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn only_a_socket_of_that_folder_is_connected_to() {
        let (ours, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let _listener = UnixListener::bind(ours.path().join("api.sock")).unwrap();
        let _other = UnixListener::bind(elsewhere.path().join("docker.sock")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("docker.sock"), ours.path().join("v.sock")).unwrap();
        std::fs::write(ours.path().join("plain"), b"").unwrap();
        let door = Door::open(ours.path(), "api.sock").unwrap();
        UnixStream::connect(door.path()).unwrap();
        assert_eq!(Door::open(ours.path(), "v.sock").unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert_eq!(Door::open(ours.path(), "plain").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(Door::open(ours.path(), "absent").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn what_arrives_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let arrivals = Arrivals::of(folder.path());
        let soon = Instant::now() + Duration::from_millis(20);
        assert!(!arrivals.next(soon).await);
        let _listener = UnixListener::bind(folder.path().join("api.sock")).unwrap();
        assert!(arrivals.next(Instant::now() + Duration::from_secs(5)).await);
    }
}
