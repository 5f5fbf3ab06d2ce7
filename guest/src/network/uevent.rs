//! Waiting for the kernel to announce a device, instead of looking again and again.
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket},
};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::Duration,
};

/// The kernel's own announcements, before any daemon has seen them.
const KERNEL_GROUP: u32 = 1;

pub struct Uevents(OwnedFd);

impl Uevents {
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket =
            socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkKObjectUEvent).map_err(io::Error::from)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
        Ok(Self(socket))
    }

    /// Returns after at least one announcement, or when the time is over.
    pub fn wait(&self, most: Duration) -> io::Result<()> {
        let millis = i32::try_from(most.as_millis() + 1).unwrap_or(i32::MAX);
        let mut sockets = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        match poll(&mut sockets, PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut buffer = [0; 4096];
        // What is announced does not matter: the caller looks for itself. An overrun is an announcement as well.
        while recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()).is_ok() {}
        Ok(())
    }
}
