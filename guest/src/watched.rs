//! Descriptors that the runtime waits for. One place for the promise that tokio asks for.
use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Types that own their descriptor and give the same one for as long as they live.
pub trait Owning: AsRawFd {}
impl Owning for OwnedFd {}
impl Owning for std::fs::File {}

pub fn watch<T: Owning>(descriptor: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    #[allow(unsafe_code)]
    // SAFETY: an `Owning` type keeps its descriptor open and the same until the `AsyncFd`, which owns it, is dropped.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, interest) };
    Ok(registered?)
}
