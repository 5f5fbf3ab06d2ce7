//! A node: the root of its actors, and the handle that the edge uses.
//!
//! **Duty** of the root actor: keep the supervisors alive; one that failed is started again from the journal. **Parent**: none.
//! **Escalation**: a supervisor that keeps failing ends the node, and `Node::failed` resolves.

mod aside;
mod facade;
mod lines;
mod load;
mod outside;
mod resolve;
mod root;
mod tree;

use crate::{error::CommandError, idempotency::Idempotency};
pub use aside::is_readable;
use domain::{Generation, Labels, Name, OperationId, image::ImageSpec, ipam::Subnet, vm::VmSpec, webhook::WebhookSpec};
pub use facade::Node;
use host::secret::Secret;
pub(crate) use resolve::{place, resolve_boot};
use storage::Journal;
pub use tree::{ActorInfo, Doing, KindInfo, Tree, TreeQuery};

pub use crate::shared::Ports;

/// All that a node is started with.
pub struct Parts {
    pub journal: Journal,
    pub ports: Ports,
    pub host_name: String,
    pub subnet: Subnet,
}

/// Who asks, under which conditions.
#[derive(Debug, Clone)]
pub struct Who {
    /// For the audit: `user:admin`.
    pub actor: String,
    pub if_match: Option<IfMatch>,
    pub idempotency: Option<Idempotency>,
}

/// The generations that a change was made for; it is refused when the resource is at none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IfMatch(pub Vec<Generation>);

impl From<Generation> for IfMatch {
    fn from(only: Generation) -> IfMatch {
        IfMatch(vec![only])
    }
}

impl Who {
    /// Whether the resource is as the asker has seen it.
    pub fn check(&self, current: Generation) -> Result<(), CommandError> {
        match &self.if_match {
            Some(IfMatch(wanted)) if !wanted.contains(&current) => Err(CommandError::Stale { current }),
            Some(_) | None => Ok(()),
        }
    }

    /// Something of hearth's own.
    pub fn system(name: &str) -> Who {
        Who { actor: format!("system:{name}"), if_match: None, idempotency: None }
    }
}

/// A command that was accepted and is durable.
#[derive(Debug, Clone)]
pub struct Accepted<T> {
    /// As it was committed with the command.
    pub resource: T,
    /// What goes on; absent when the command is done already.
    pub operation: Option<OperationId>,
}

/// A VM that someone wants. Names of images are as the user wrote them.
#[derive(Debug, Clone)]
pub struct NewVm {
    pub name: Option<Name>,
    pub project: Name,
    pub labels: Labels,
    pub spec: VmSpec,
    pub start: bool,
}

/// A webhook that someone wants.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    pub name: Name,
    pub project: Name,
    pub labels: Labels,
    pub spec: WebhookSpec,
    pub secret: Secret,
    /// Events above this cursor are delivered; absent: from now on; 0: from the oldest kept.
    pub after: Option<u64>,
    pub enabled: bool,
}

#[derive(Debug, Clone)]
pub struct NewImage {
    pub name: Name,
    pub project: Name,
    pub labels: Labels,
    pub spec: ImageSpec,
}

/// What may be asked of an image.
#[derive(Debug, Clone)]
pub enum ImageCommand {
    Delete,
    Cancel { operation: OperationId },
    Update { name: Option<Name>, labels: Option<Labels>, default: Option<bool>, description: Option<Option<String>> },
}
