//! The edge over a real node with the simulated driver: what clients and checks rely on, asked as a client would.

// Helpers of tests are tests; clippy only sees the functions.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bench;
mod cancel;
mod capabilities;
mod conditions;
mod credentials;
mod devices;
mod document;
mod driver;
mod events;
mod given;
mod input;
mod interfaces;
mod keys;
mod leftover;
mod looks;
mod outcome;
mod ports;
mod streams;
mod strict;
mod webhooks;
