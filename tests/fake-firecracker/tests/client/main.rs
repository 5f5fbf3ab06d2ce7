//! hearth's client of Firecracker's API against the stand-in, where every request is held to Firecracker's own API document; and against the
//! real one where there is one.
#![allow(clippy::unwrap_used)]

mod bad_days;
mod document;
mod life;
mod process;
mod real;
