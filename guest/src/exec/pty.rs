//! Terminals: a pair of descriptors, of which the agent keeps the master.
use crate::watched::watch;
use api::guest::TtySize;
use nix::pty::{OpenptyResult, openpty};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsRawFd, OwnedFd},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd};

/// The master's side; clones share it.
#[derive(Clone)]
pub struct Terminal(Rc<AsyncFd<File>>);

/// The agent's side and the process'.
pub fn open(size: TtySize) -> io::Result<(Terminal, OwnedFd)> {
    let OpenptyResult { master, slave } = openpty(&window(size), None)?;
    let flags = nix::fcntl::OFlag::O_NONBLOCK;
    nix::fcntl::fcntl(&master, nix::fcntl::FcntlArg::F_SETFL(flags))?;
    for side in [&master, &slave] {
        nix::fcntl::fcntl(side, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    }
    Ok((Terminal(Rc::new(watch(File::from(master), Interest::READABLE | Interest::WRITABLE)?)), slave))
}

impl Terminal {
    /// The kernel tells the foreground process by SIGWINCH.
    pub fn resize(&self, size: TtySize) -> io::Result<()> {
        #[allow(unsafe_code)]
        // SAFETY: the descriptor is open and the argument is the structure that TIOCSWINSZ reads.
        let done = unsafe { libc::ioctl(self.0.get_ref().as_raw_fd(), libc::TIOCSWINSZ as _, &window(size)) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

const fn window(size: TtySize) -> libc::winsize {
    libc::winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 }
}

impl AsyncRead for Terminal {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            if let Ok(got) = guard.try_io(|master| master.get_ref().read(buf.initialize_unfilled())) {
                return Poll::Ready(got.map(|got| buf.advance(got)));
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            if let Ok(put) = guard.try_io(|master| master.get_ref().write(bytes)) {
                return Poll::Ready(put);
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
