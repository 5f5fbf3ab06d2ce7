//! What an operation's step wants done.

use super::state::Operation;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub next: Operation,
    pub effects: Vec<Effect>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Answer everyone who waits for the end. Nothing comes back.
    WakeWaiters,
}
