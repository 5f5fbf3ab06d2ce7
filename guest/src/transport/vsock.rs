//! A vsock listener, for machines without virtio-serial (Firecracker). Owns the address and who may come: the host alone, since any process
//! of the guest can connect to a port of its own machine.
//!
//! After a snapshot's restore the device tells the guest that all connections are dead; the listener is not one of them and goes on.
use super::listener::Listener;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, VsockAddr, bind, getpeername, listen as listen_on, socket};
use std::{io, os::fd::AsRawFd};

/// Connections that wait: the host's retries of a busy moment. The kernel resets what is beyond.
const BACKLOG: i32 = 8;

/// Fails with `AddrInUse` while somebody else listens there, with EAFNOSUPPORT in a kernel without vsock.
pub fn listen(port: u32) -> io::Result<Listener> {
    listen_for(port, libc::VMADDR_CID_HOST)
}

/// Connections from the machine `peer` only.
fn listen_for(port: u32, peer: u32) -> io::Result<Listener> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Vsock, SockType::Stream, flags, None)?;
    bind(socket.as_raw_fd(), &VsockAddr::new(libc::VMADDR_CID_ANY, port))?;
    listen_on(&socket, Backlog::new(BACKLOG)?)?;
    Ok(Listener::new(
        socket,
        Box::new(move |accepted| getpeername::<VsockAddr>(accepted.as_raw_fd()).is_ok_and(|address| address.cid() == peer)),
    ))
}

#[cfg(test)]
mod tests;
