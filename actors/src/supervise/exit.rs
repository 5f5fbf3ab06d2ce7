//! How a child's end is read: the one place that knows ractor's events.

use ractor::{ActorId, SupervisionEvent};

/// A child that is no more.
#[derive(Debug)]
pub struct Exit {
    pub actor: ActorId,
    pub error: String,
    /// It stopped by itself and left its state; one that failed or was killed did not.
    pub in_order: bool,
}

/// ractor's reason for an actor that was killed. It then gives its state all the same, unless it was still starting.
const KILLED: &str = "killed";

/// `None`: nobody has ended.
pub fn exit_of(event: SupervisionEvent) -> Option<Exit> {
    match event {
        SupervisionEvent::ActorFailed(cell, error) => {
            Some(Exit { actor: cell.get_id(), error: error.to_string(), in_order: false })
        }
        SupervisionEvent::ActorTerminated(cell, left, reason) => {
            let in_order = left.is_some() && reason.as_deref() != Some(KILLED);
            Some(Exit { actor: cell.get_id(), error: reason.unwrap_or_default(), in_order })
        }
        SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) | SupervisionEvent::PidLifecycleEvent(_) => {
            None
        }
    }
}
