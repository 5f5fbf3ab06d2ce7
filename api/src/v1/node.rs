//! The live actors of a node: `GET /v1/node/tree`.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NodeTree {
    /// All actors, in numbers.
    #[serde(default)]
    pub kinds: Vec<ActorKind>,
    /// The root and the supervisors, and of the others those that somebody should look at; with `all` every one.
    pub actors: Vec<ActorView>,
    /// There are more: ask again with this `cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ActorKind {
    /// The supervisor's name: `vms`, `images`, `hosts`, `operations`.
    pub kind: String,
    pub actors: u64,
    /// Stuck in a handler; they are about to be loaded again.
    pub stalled: u64,
    /// Whose effect takes longer than it should.
    pub overdue: u64,
    /// Waiting for their turn after a failure.
    pub restarting: u64,
    /// Set aside because they kept failing.
    pub quarantined: u64,
    /// Of those that are there.
    pub restarts: u64,
    /// Messages that wait in all their mailboxes.
    pub mailbox: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ActorView {
    pub name: String,
    pub parent: Option<String>,
    /// `running`, `stalled`, `overdue`, `restarting` or `quarantined`.
    pub state: String,
    pub restarts: u32,
    pub last_error: Option<String>,
    /// Messages that wait.
    #[serde(default)]
    pub mailbox: u64,
    /// The message that it handles just now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Doing>,
    /// What its handler waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<Doing>,
    /// What is carried out for it beside its mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Doing>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Doing {
    pub what: String,
    /// For so long already.
    pub for_ms: u64,
}
