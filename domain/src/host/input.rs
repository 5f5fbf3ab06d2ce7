//! Everything that can happen to a host.

use super::state::Facts;
use crate::Labels;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    Command { command: Command, ticket: Ticket },
    Observed(Observed),
    Recovered,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Cordon,
    Uncordon,
    Update { labels: Option<Labels> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    pub actor: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// A heartbeat: the host answered, and this is what it is.
    Heartbeat(Box<Facts>),
    /// It did not answer for longer than the limit.
    Silent,
}
