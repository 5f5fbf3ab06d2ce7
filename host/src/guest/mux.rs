//! The mux client: one session over one byte stream. Two tasks own the stream's halves; handles share [`state::Shared`] with them.
//!
//! ```text
//!  Guest (clones) --- control queue --\                       /--> pending requests (oneshot)
//!  ExecLink       --- data queue -----> writer ==> stream ==> reader --> streams (events, by credit)
//!                     (control first)                         \--> watches (metrics, addresses)
//! ```
//! The reader never waits for a consumer: credit bounds what can arrive. The session ends for all when either task ends.
mod client;
mod connection;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod hello;
mod link;
mod reader;
mod state;
mod writer;

pub use client::Guest;
