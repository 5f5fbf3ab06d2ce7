//! What all supervisors share: who is who, how a child's end is read, restarts with back-off and a budget, quarantine, stalls, mailboxes.
//!
//! ```text
//!            starts              ends, within the budget
//!  (none) ----------> running ---------------------------> restarting --> running
//!                        |                                     |
//!                        |  ends, budget spent                 | can't be started, budget spent
//!                        +------------> quarantined <----------+
//!                                            | someone asks for it: a new budget
//!                                            +--> running
//! ```
//! A supervisor never dies of a child. The roster is written by its supervisor alone and read by everyone, so that a supervisor that is stuck
//! can be looked at too.

mod address;
mod budget;
mod exit;
mod names;
mod progress;
mod roster;

pub(crate) use address::Address;
pub(crate) use budget::{Backoff, Verdict, jitter};
pub(crate) use exit::exit_of;
pub(crate) use names::{Key, Names};
pub(crate) use progress::{Going, Progress, Seen};
pub(crate) use roster::{ChildInfo, Roster, Summary, Trouble};

use std::time::Duration;

/// A handler decides and commits. One that takes longer than this will not come back.
pub const STALL_AFTER: Duration = Duration::from_secs(60);
/// How often a supervisor looks for stalls.
pub const STALL_CHECK: Duration = Duration::from_secs(5);
