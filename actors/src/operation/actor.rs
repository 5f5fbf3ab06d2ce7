//! The actor of one operation under way: who waits for its end.

use crate::supervise::Progress;
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

impl Msg {
    fn name(&self) -> &'static str {
        match self {
            Msg::Wait { .. } => "wait",
            Msg::Ended { .. } => "ended",
        }
    }
}

pub(super) struct State {
    waiting: Vec<RpcReplyPort<Arc<Operation>>>,
    progress: Arc<Progress>,
}

impl Actor for OperationActor {
    type Msg = Msg;
    type State = State;
    type Arguments = Arc<Progress>;

    async fn pre_start(&self, _: ActorRef<Msg>, progress: Arc<Progress>) -> Result<State, ActorProcessingErr> {
        Ok(State { waiting: Vec::new(), progress })
    }

    async fn handle(&self, myself: ActorRef<Msg>, message: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let _busy = state.progress.enter(message.name());
        match message {
            Msg::Wait { operation, reply_to } => {
                state.waiting.retain(|port| !port.is_closed());
                if operation.status.is_final() || state.waiting.len() >= WAITERS_MAX {
                    let _ = reply_to.send(operation);
                } else {
                    state.waiting.push(reply_to);
                }
            }
            Msg::Ended { operation } => {
                for port in state.waiting.drain(..) {
                    let _ = port.send(Arc::clone(&operation));
                }
                myself.stop(None);
            }
        }
        Ok(())
    }
}
