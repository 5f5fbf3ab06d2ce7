//! The harness of the end-to-end suites in `tests/`: the built binary, real guests, a real browser. Owns processes, temporary folders,
//! waiting and looking for remains; asserts nothing about hearth beyond that its server starts.
//!
//! Everything waits on a condition with a deadline. What a machine lacks is said aloud and counted ([`machine`]), never passed over.

pub mod browser;
pub mod command;
pub mod console;
pub mod dice;
pub mod disk;
pub mod events;
pub mod guest;
pub mod images;
pub mod load;
pub mod look;
pub mod machine;
pub mod mmds;
pub mod raw;
pub mod remains;
pub mod scenario;
pub mod server;
pub mod ssh;
pub mod stage;
pub mod terminal;
pub mod wait;

pub use guest::{Guest, small};
pub use machine::{Machine, Need};
pub use scenario::{scenario, scenario_within};
pub use server::{Options, Server};
pub use wait::{PATIENCE, until, within};
