//! Events: what changed, for whom it matters, in the words of the API. The journal numbers them.

use crate::{Generation, Name, OperationId, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    Vm,
    Host,
    Image,
    Operation,
    Webhook,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Vm => "vm",
            Kind::Host => "host",
            Kind::Image => "image",
            Kind::Operation => "operation",
            Kind::Webhook => "webhook",
        }
    }
}

/// What a machine's step says happened; the actor adds whose it is and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Kebab-case, past: `vm-started`.
    pub name: &'static str,
    pub actor: Option<String>,
    pub operation: Option<OperationId>,
    pub data: Vec<(&'static str, Datum)>,
}

/// A value in an event's data. The journal's format has no self-describing values, hence the enum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Datum {
    Text(String),
    Number(u64),
    Flag(bool),
}

/// An event as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub time: Timestamp,
    pub kind: Kind,
    pub id: String,
    pub name: String,
    pub project: Name,
    pub generation: Generation,
    pub event: String,
    pub actor: String,
    pub operation: Option<OperationId>,
    pub data: Vec<(String, Datum)>,
}
