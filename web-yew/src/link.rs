//! The line to the server: requests, sockets, and the live view of both.

pub mod history;
pub mod http;
pub mod lists;
pub mod live;
pub mod read;
pub mod samples;
pub mod socket;
pub mod stream;
