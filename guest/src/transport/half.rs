//! One direction of a connection over a descriptor, and how bytes pass over it: tried first, waited for second.
use super::edges::Edges;
use std::{
    fs::File,
    io::{self, Read, Write},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One direction of a connection.
pub struct Half {
    edges: Edges,
    file: Rc<File>,
}

impl Half {
    /// Both directions of what `file` is the last or the only handle of; it must not block.
    pub fn pair(file: Rc<File>) -> io::Result<(Self, Self)> {
        let reader = Self { edges: Edges::new(&*file, libc::EPOLLIN)?, file: Rc::clone(&file) };
        let writer = Self { edges: Edges::new(&*file, libc::EPOLLOUT)?, file };
        Ok((reader, writer))
    }

    /// Returns when something has happened since the last look or since the half was made.
    pub async fn changed(&self) -> io::Result<()> {
        self.edges.next().await
    }
}

impl AsyncRead for Half {
    /// No bytes mean that the host has closed its end.
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
