//! What is true of a node, of its machine and of all nodes together, whatever crashed, failed or came twice.
//!
//! Each check takes plain snapshots: the durable records, and what is found on the machine. Whoever can make such snapshots may check:
//! the simulator after each of its steps, a test, a program that looks at a journal offline. What is true of one record alone is said by
//! the `invariant` of its own machine.
//!
//! Two kinds: [`Durable::check`], [`on_one_machine`] and [`apart`] hold at every moment; [`settled`] once faults have stopped and all
//! that was asked for had its time.

mod deed;
mod durable;
mod found;
mod kept;
mod story;
#[cfg(test)]
mod tests;

pub use deed::Deed;
pub use durable::Durable;
pub use found::{Found, Phase, Process, apart, on_one_machine, settled};
pub use kept::{Keep, Kept};
pub use story::{Story, Told};

/// One broken promise, in a sentence with what was seen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("the record of {what}: {detail}")]
    Record { what: String, detail: String },
    #[error("{what} is given twice: to {one} and to {other}")]
    GivenTwice { what: String, one: String, other: String },
    #[error("the operation {operation} {detail}")]
    Operation { operation: String, detail: String },
    #[error("VMs hold {held_mib} MiB of {room_mib}")]
    Oversold { held_mib: u64, room_mib: u64 },
    #[error("{vm} has two machines: {one} and {other}")]
    TwoMachines { vm: String, one: String, other: String },
    #[error("{what} without a durable reason: {detail}")]
    NoReason { what: String, detail: String },
    #[error("{what} belongs to no record")]
    Unowned { what: String },
    #[error("{vm} is recorded as {recorded}, and is {found}")]
    NotMet { vm: String, recorded: String, found: String },
    #[error("the operation {operation} was cancelled, and {target} is {told}")]
    NotUndone { operation: String, target: String, told: String },
    #[error("{there} {what} are kept, {wanted} are to be")]
    Kept { what: &'static str, there: u64, wanted: u64 },
    #[error("event {cursor}: {detail}")]
    Event { cursor: u64, detail: String },
    #[error("the events tell of {what} that it is {told}, its record says {recorded}")]
    Told { what: String, told: String, recorded: String },
}
