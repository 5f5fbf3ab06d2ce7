//! Firecracker's API as types: what can be said in which phase of a process, and what comes back. Owns one exchange on the API's socket and the
//! shapes that cross it; not the process, its jail, or when something is said.
//!
//! ```text
//!  Fresh --configure--> Configuring --start--> Running <--resume/pause--> Paused
//!    \------------------------load (a snapshot)--------------^---------------^
//! ```
//! A phase is a type, so what Firecracker would refuse for its phase does not compile; what depends on values is refused before it is sent.
//! After a failed change of phase nobody knows the phase: the handle is gone, and [`Found::at`] asks.
//!
//! Source: Firecracker's API document 1.16.1 and its `docs/api_requests`.

mod error;
mod exchange;
pub mod model;
mod phase;

pub use error::{ApiError, Invalid};
pub use exchange::Socket;
pub use phase::{Configuring, Found, Fresh, Microvm, Paused, Running, Started};
