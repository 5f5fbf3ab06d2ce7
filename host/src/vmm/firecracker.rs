//! Firecracker: its API as types, its way to a guest's vsock, and its jail. Starts no process.

pub mod api;
pub mod jail;
pub mod vsock;
