//! A listening stream socket of any family. Owns the order of connections: the newest one counts, because the host never has two, and an
//! older one may have died without a word (its machine was copied, its end was killed). Who may come is the maker's question.
use super::{Transport, edges::Edges, half::Half};
use nix::{
    errno::Errno,
    sys::socket::{SockFlag, accept4},
};
use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    rc::Rc,
    time::Duration,
};

/// accept() fails for a moment where a connection died in the queue or where the kernel is short of something. One that goes on failing is
/// of no use: another agent, with another socket, is.
const MOST_FAILURES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// Says of an accepted socket whether its peer may come.
type Admits = Box<dyn Fn(BorrowedFd<'_>) -> bool>;

pub struct Listener {
    socket: OwnedFd,
    admits: Admits,
    /// Made at the first accept: before there is no runtime.
    edges: Option<Edges>,
    /// Came while another was on.
    next: Option<OwnedFd>,
}

impl Listener {
    /// The socket listens and does not block.
    pub fn new(socket: OwnedFd, admits: Admits) -> Self {
        Self { socket, admits, edges: None, next: None }
    }

    /// The next connection whose peer may come; the others are closed. Cancel: nothing is lost.
    async fn admitted(&mut self) -> io::Result<OwnedFd> {
        let edges = match &mut self.edges {
            Some(edges) => edges,
            none => none.insert(Edges::new(&self.socket, libc::EPOLLIN)?),
        };
        let mut failures = 0;
        loop {
            match accept4(self.socket.as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK) {
                Ok(accepted) => {
                    #[allow(unsafe_code)]
                    // SAFETY: accept4 has just made it, so it is open and nobody else's.
                    let accepted = unsafe { OwnedFd::from_raw_fd(accepted) };
                    if (self.admits)(accepted.as_fd()) {
                        return Ok(accepted);
                    }
                    drop(accepted);
                    // Somebody in the guest who tries without end must not stop the agent.
                    tokio::task::yield_now().await;
                }
                Err(Errno::EAGAIN) => edges.next().await?,
                Err(Errno::EINTR) => {}
                Err(error) if failures == MOST_FAILURES => return Err(error.into()),
                Err(_) => {
                    failures += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

impl Transport for Listener {
    type Reader = Half;
    type Writer = Half;

    async fn accept(&mut self) -> io::Result<(Half, Half)> {
        let accepted = match self.next.take() {
            Some(accepted) => accepted,
            None => self.admitted().await?,
        };
        Half::pair(Rc::new(File::from(accepted)))
    }

    async fn newer(&mut self) {
        if self.next.is_none() {
            match self.admitted().await {
                Ok(accepted) => self.next = Some(accepted),
                // No reason to end the connection that is on: the next accept says it again.
                Err(_) => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests;
