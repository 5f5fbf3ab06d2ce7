//! Firecracker: its API as types, its way to a guest's vsock, and the try whether a guest boots with it here.

pub mod api;
pub mod programs;
pub mod selftest;
pub mod vsock;
