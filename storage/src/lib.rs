//! The journal: the one place where a node's states and events become durable, together and in order.
//!
//! Owns the directory of the journal, its lock, the grouping of commits, the numbering of events and the envelope
//! in which records lie on disk. It knows keys and bytes, not what they mean: which type lies under which table is
//! said elsewhere, through [`envelope::Stored`]. It does not own policy (what to do with an unreadable record, when to
//! answer "busy" to a user) and starts no task on anybody's runtime (but for a simulation's).

pub mod backup;
pub mod envelope;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod schema;
#[cfg(feature = "simulation")]
pub mod simulation;
mod space;

mod batch;
mod error;
mod journal;
pub mod offline;
mod raw;

pub use batch::{Batch, Digest, Key, MAX_BATCH_BYTES, MAX_KEY_BYTES, MAX_TABLE_BYTES, MAX_VALUE_BYTES, Table, digest};
pub use error::{CommitError, OpenError, ReadError, StoreFault};
pub use journal::{
    Committed, Event, Export, Journal, Loaded, Losses, Options, READ_LIMIT, Rescued, SET_ASIDE, SetAside, Split, Stats,
};
pub use space::{DISK_FACTOR, DISK_FLOOR_BYTES, disk_bound};
