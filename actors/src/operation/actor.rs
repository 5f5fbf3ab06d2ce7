//! The actor of one operation under way: who waits for its end.

use domain::operation::Operation;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster_derive::RactorMessage;
use std::sync::Arc;

/// More than this many wait for one operation: the rest is answered at once with how it is, and may ask again.
const WAITERS_MAX: usize = 1_024;

pub(super) struct OperationActor;

#[derive(RactorMessage)]
pub(super) enum Msg {
    /// Answered when the operation ends; the asker has a deadline of its own.
    Wait {
        operation: Arc<Operation>,
        reply_to: RpcReplyPort<Arc<Operation>>,
    },
    Ended {
        operation: Arc<Operation>,
    },
}

impl Actor for OperationActor {
    type Msg = Msg;
    type State = Vec<RpcReplyPort<Arc<Operation>>>;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Msg>, (): ()) -> Result<Self::State, ActorProcessingErr> {
        Ok(Vec::new())
    }

    async fn handle(&self, myself: ActorRef<Msg>, message: Msg, waiting: &mut Self::State) -> Result<(), ActorProcessingErr> {
        match message {
            Msg::Wait { operation, reply_to } => {
                waiting.retain(|port| !port.is_closed());
                if operation.status.is_final() || waiting.len() >= WAITERS_MAX {
                    let _ = reply_to.send(operation);
                } else {
                    waiting.push(reply_to);
                }
            }
            Msg::Ended { operation } => {
                for port in waiting.drain(..) {
                    let _ = port.send(Arc::clone(&operation));
                }
                myself.stop(None);
            }
        }
        Ok(())
    }
}
