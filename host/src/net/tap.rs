//! Making a TAP device. Owns the one place where `/dev/net/tun` is opened.
//!
//! A TAP that is not yet persistent vanishes with its file. So a device is first marked, put on the bridge and set up, and kept last:
//! whatever fails or dies in between, no device without an owner's mark is left.

use nix::libc;
use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::AsRawFd,
};

const TUN: &str = "/dev/net/tun";

/// Lets a process of that uid use the persistent TAP device of that name, which nobody may have open. Errors: as of [`Fresh::create`];
/// NotFound also where there is no such device.
pub fn give(name: &str, uid: u32) -> io::Result<()> {
    if nix::net::if_::if_nametoindex(name).is_err() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "there is no such device"));
    }
    Fresh::create(name)?.give(uid)
}

/// A new TAP device that ends with this value unless [`Fresh::keep`] is called.
pub(super) struct Fresh(File);

impl Fresh {
    /// `name`: at most 15 bytes. Errors: NotFound (no TUN driver), PermissionDenied, EBUSY (a device of this name is in use).
    ///
    /// Takes the kernel's network lock for half a millisecond (measured); not worth a thread.
    pub fn create(name: &str) -> io::Result<Fresh> {
        if name.len() >= libc::IFNAMSIZ {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let file = OpenOptions::new().read(true).write(true).open(TUN)?;
        // Firecracker and QEMU open the device again with the flags they want; the kernel then takes theirs. Only a device with
        // several queues would be refused to them, so that flag is not set.
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        #[allow(unsafe_code)]
        // SAFETY: ifreq is plain C data for which all zeros is a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (target, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *target = byte as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        #[allow(unsafe_code)]
        // SAFETY: TUNSETIFF reads and writes one ifreq; the file is open and the request lives until the call returns.
        let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &mut request) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(Fresh(file)) }
    }

    /// From now on the device stays when the file is closed.
    pub fn keep(self) -> io::Result<()> {
        #[allow(unsafe_code)]
        // SAFETY: TUNSETPERSIST takes its argument by value; the file is open.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TUNSETPERSIST as _, 1 as libc::c_int) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// From now on a process of that uid may open the device, whatever rights it has.
    fn give(&self, uid: u32) -> io::Result<()> {
        #[allow(unsafe_code)]
        // SAFETY: TUNSETOWNER takes its argument by value; the file is open.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TUNSETOWNER as _, libc::c_ulong::from(uid)) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    #[cfg(test)]
    pub fn copy(&self) -> io::Result<File> {
        self.0.try_clone()
    }

    /// The guest's end, as a VMM has it: frames, each behind the 10 bytes of virtio's header.
    #[cfg(test)]
    pub fn into_file(self) -> File {
        self.0
    }
}
