//! A virtio-serial port. The device stays open for good; a connection is the time between the host's opening and closing of its end.
//!
//! While the host is away read() gives 0 and poll() gives HUP without end, so waiting by level would spin. The runtime itself keeps a
//! HUP as "closed for ever", which does not hold here: hence an epoll of our own, by edge, and the runtime waits for that ([`Edges`]).
use super::Transport;
use crate::{network::uevent::Uevents, watched::watch};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd};

/// The port is there before the root is; later it won't come. The keeper tries again.
const PORT_DEADLINE: Duration = Duration::from_secs(30);
const PORTS: &str = "/sys/class/virtio-ports";

pub struct Port {
    name: String,
    open: Option<Rc<File>>,
}

impl Port {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), open: None }
    }

    fn find(&self) -> Option<PathBuf> {
        let of_that_name =
            |entry: &fs::DirEntry| fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim_end() == self.name);
        let entry = fs::read_dir(PORTS).ok()?.flatten().find(of_that_name)?;
        Some(Path::new("/dev").join(entry.file_name()))
    }

    /// Blocks, before anything else runs.
    fn open(&self) -> io::Result<File> {
        let deadline = Instant::now() + PORT_DEADLINE;
        let uevents = Uevents::open()?;
        loop {
            if let Some(path) = self.find()
                && path.exists()
            {
                return OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no virtio-serial port for the agent"));
            }
            uevents.wait(left)?;
        }
    }
}

impl Transport for Port {
    type Reader = Half;
    type Writer = Half;

    async fn accept(&mut self) -> io::Result<(Half, Half)> {
        let file = match &self.open {
            Some(file) => Rc::clone(file),
            None => Rc::clone(self.open.insert(Rc::new(self.open()?))),
        };
        let reader = Half { edges: Edges::new(&file, libc::EPOLLIN)?, file: Rc::clone(&file) };
        let writer = Half { edges: Edges::new(&file, libc::EPOLLOUT)?, file };
        // Registered before the first look, so that an edge between is kept.
        while !host_is_there(&reader.file)? {
            std::future::poll_fn(|cx| reader.edges.poll(cx)).await?;
        }
        Ok((reader, writer))
    }
}

fn host_is_there(file: &File) -> io::Result<bool> {
    let mut ports = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    poll(&mut ports, PollTimeout::ZERO)?;
    Ok(!ports[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP)))
}

/// An epoll with one member, by edge: readable exactly when something has happened since the last look.
struct Edges(AsyncFd<OwnedFd>);

impl Edges {
    fn new(file: &File, events: libc::c_int) -> io::Result<Self> {
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
    fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            if guard.try_io(|epoll| take_edge(epoll.get_ref())).is_ok() {
                return Poll::Ready(Ok(()));
            }
        }
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

/// One direction of the port.
pub struct Half {
    edges: Edges,
    file: Rc<File>,
}

impl AsyncRead for Half {
    /// No bytes means that the host has closed its end.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            match (&*self.file).read(buf.initialize_unfilled()) {
                Ok(got) => {
                    buf.advance(got);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.edges.poll(cx))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Half {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match (&*self.file).write(bytes) {
                Ok(put) => return Poll::Ready(Ok(put)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.edges.poll(cx))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
