//! Firecracker: its API as types, and its way to a guest's vsock. Starts no process.

pub mod api;
pub mod vsock;
