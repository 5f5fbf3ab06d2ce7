//! What a host's step wants done.

use super::state::Host;
use crate::event::Draft as EventDraft;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub next: Host,
    pub events: Vec<EventDraft>,
    pub effects: Vec<Effect>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Look at the machine and report. `Heartbeat`, or `Silent` after the deadline.
    Probe,
    /// The ledger of memory follows the new facts.
    SetCapacity { vcpus: u32, mem_mib: u64 },
}
