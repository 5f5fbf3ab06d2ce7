//! Everything that can happen to an image.

use super::state::Files;
use crate::{Attempt, Labels, Name, OperationId, operation::Amount};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    Command {
        command: Command,
        ticket: Ticket,
    },
    /// So much of the attempt's import is done.
    Progressed {
        attempt: Attempt,
        amount: Amount,
    },
    Finished {
        attempt: Attempt,
        result: Finished,
    },
    Recovered,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `users`: how many VMs boot from it, counted by the one who asks while no VM can be made.
    Delete {
        users: u32,
    },
    Update {
        name: Option<Name>,
        labels: Option<Labels>,
        default: Option<bool>,
        description: Option<Option<String>>,
    },
    /// The import is given up and its operation ends as cancelled.
    Cancel {
        operation: OperationId,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    pub operation: OperationId,
    pub actor: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    Imported(Files),
    /// Nothing of the import is left. `code` is stable: `source-missing`, `disk-full`, …
    ImportFailed {
        code: String,
        detail: String,
    },
    Removed,
    RemoveFailed {
        detail: String,
    },
}
