//! Waiting for a descriptor by edge, with an epoll of our own that the runtime waits for. The runtime's own way does not do here:
//!
//! - a virtio port's HUP, which it keeps as "closed for ever", goes away when the host comes back;
//! - a vsock connection that dies with a snapshot's restore has an error and nothing else (net/vmw_vsock/virtio_transport.c,
//!   `virtio_vsock_reset_sock`: no shutdown, so neither IN nor HUP), and an error alone wakes no reader of the runtime's.
use crate::watched::watch;
use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    task::{Context, Poll, ready},
};
use tokio::io::{Interest, unix::AsyncFd};

/// An epoll with one member, by edge: readable exactly when something has happened to it since the last look.
pub struct Edges(AsyncFd<OwnedFd>);

impl Edges {
    pub fn new(file: &impl AsRawFd, events: libc::c_int) -> io::Result<Self> {
        let mut event = libc::epoll_event { events: (events | libc::EPOLLET) as u32, u64: 0 };
        #[allow(unsafe_code)]
        // SAFETY: the descriptor is new, checked, and owned by nobody else; the event outlives the call.
        let epoll = unsafe {
            let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if epoll < 0 {
                return Err(io::Error::last_os_error());
            }
            let epoll = OwnedFd::from_raw_fd(epoll);
            if libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, file.as_raw_fd(), &mut event) < 0 {
                return Err(io::Error::last_os_error());
            }
            epoll
        };
        Ok(Self(watch(epoll, Interest::READABLE)?))
    }

    /// Ready after an edge, which is used up by it. One waiter at a time.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            if guard.try_io(|epoll| take_edge(epoll.get_ref())).is_ok() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// The same, to be awaited.
    pub async fn next(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }
}

fn take_edge(epoll: &OwnedFd) -> io::Result<()> {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    #[allow(unsafe_code)]
    // SAFETY: there is room for the one event that is asked for, and no waiting.
    let got = unsafe { libc::epoll_wait(epoll.as_raw_fd(), &mut event, 1, 0) };
    match got {
        1 => Ok(()),
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Err(io::Error::last_os_error()),
    }
}
