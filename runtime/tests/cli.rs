//! The command line as a process against a small server that keeps to the contract: what is printed where, and the exit codes.

// The helpers of tests fail by panicking, too.
#![allow(clippy::unwrap_used)]

#[path = "cli/double.rs"]
mod double;
#[path = "cli/guest.rs"]
mod guest;
#[path = "cli/plain.rs"]
mod plain;
#[path = "cli/ports.rs"]
mod ports;
#[path = "cli/pty.rs"]
mod pty;
#[path = "cli/streams.rs"]
mod streams;
