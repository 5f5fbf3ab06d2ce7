//! The guest agent: PID 1 of the initramfs, the keeper of the agent, and the agent, in one static binary. Which of them
//! runs is decided in [`run()`].
//!
//! ```text
//!  kernel -> /init, PID 1 (boot) -> moves into the root -> fork
//!               |                                            |
//!               | execs the image's init (stays PID 1)       +-> keeper -> agent (again after each death)
//!               | or, if the image has none: is the keeper
//! ```
//! PID 1 in the root is the image's init, because inits insist on it. Keeper and agent begin their argv with `@`, by which systemd knows
//! processes that it must not end at shutdown (systemd.io/ROOT_STORAGE_DAEMONS).
mod boot;
mod clock;
mod connection;
mod exec;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod keeper;
mod kmsg;
mod machine;
mod metrics;
mod network;
mod root_size;
mod run;
mod session;
mod shutdown;
mod transport;
mod watched;

pub use run::run;
