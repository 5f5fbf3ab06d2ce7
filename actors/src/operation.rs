//! Operations: one actor for each that is under way and that somebody waits for. It owns who waits, and is made when the first does: most
//! operations end without, and an actor costs more than all else that an operation does in memory.
//!
//! The record itself changes in the same batch as its target's, by the target's actor (docs/adr/0004); the actor here is told. Parent of
//! the operations' actors: [`supervisor::Operations`], which also owns how many ended operations are kept. Mailboxes are bounded by the
//! number of commands under way, which the edge bounds.

mod actor;
pub(crate) mod supervisor;

use crate::{shared::Shared, supervise::Address};
use domain::{OperationId, operation::Operation};
use ractor::Message;
use std::sync::{Arc, PoisonError, RwLock};
use storage::{envelope, schema};
pub(crate) use supervisor::{Args as OperationsArgs, Operations, OperationsMsg};
pub use supervisor::{KEEP_ENDED, KeepEnded};

/// Where an actor is now; it may have been replaced since one last looked.
pub(crate) struct Slot<M>(Arc<RwLock<Option<Address<M>>>>);

impl<M> Clone for Slot<M> {
    fn clone(&self) -> Self {
        Slot(Arc::clone(&self.0))
    }
}

impl<M> Default for Slot<M> {
    fn default() -> Self {
        Slot(Arc::default())
    }
}

impl<M: Message> Slot<M> {
    pub fn get(&self) -> Option<Address<M>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set(&self, actor: Option<Address<M>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = actor;
    }

    /// Tells, if someone is there; an actor that is being restarted reads the journal instead.
    pub fn tell(&self, message: M) {
        if let Some(actor) = self.get() {
            let _ = actor.cast(message);
        }
    }
}

pub(crate) type OperationsRef = Slot<OperationsMsg>;

impl OperationsRef {
    /// A committed change: into the view, and to those who wait.
    pub(crate) fn changed(&self, shared: &Shared, operation: Arc<Operation>) {
        shared.view.put_operation(Arc::clone(&operation));
        if operation.status.is_final() {
            self.tell(OperationsMsg::Ended { operation });
        }
    }

    /// Shows the operation as the journal has it: who committed it may have been killed before it could be shown.
    pub(crate) fn refresh(&self, shared: &Shared, id: OperationId) {
        let stored = shared.journal.get(schema::OPERATIONS, &id.to_string()).ok().flatten();
        let Some(stored) = stored.and_then(|bytes| envelope::decode::<Operation>(&bytes).ok()) else { return };
        if shared.view.operation(id).is_none_or(|shown| *shown != stored) {
            self.changed(shared, Arc::new(stored));
        }
    }
}
