//! The edge over a real node with the simulated driver: what clients and checks rely on, asked as a client would.

mod bench;
mod document;
mod events;
mod input;
mod outcome;
