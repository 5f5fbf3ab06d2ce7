//! The supervisor of all operations' actors. A failed child is simply gone: who waited sees the operation as it is.

use super::actor::{Msg as OperationMsg, OperationActor};
use crate::shared::Shared;
use domain::{OperationId, operation::Operation};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use ractor_cluster_derive::RactorMessage;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use storage::{Batch, schema};

/// Ended operations that are kept, the newest. At 2,000 creates a second that is still some seconds; events are kept far longer.
pub const KEEP_ENDED: usize = 10_000;
/// Forgotten in groups, so that not every end costs a commit of its own.
const FORGET_AT_ONCE: usize = 256;

pub(crate) struct Operations;

#[derive(RactorMessage)]
pub(crate) enum OperationsMsg {
    Ended {
        operation: Arc<Operation>,
    },
    /// Answered with the ended operation; dropped when there is none.
    Wait {
        id: OperationId,
        reply_to: RpcReplyPort<Arc<Operation>>,
    },
}

pub(crate) struct State {
    shared: Arc<Shared>,
    running: HashMap<OperationId, ActorRef<OperationMsg>>,
    actors: HashMap<ActorId, OperationId>,
    ended: VecDeque<OperationId>,
}

impl Actor for Operations {
    type Msg = OperationsMsg;
    type State = State;
    /// The ids of the ended operations, oldest first.
    type Arguments = (Arc<Shared>, Vec<OperationId>);

    async fn pre_start(&self, _: ActorRef<Self::Msg>, (shared, ended): Self::Arguments) -> Result<State, ActorProcessingErr> {
        Ok(State { shared, running: HashMap::new(), actors: HashMap::new(), ended: ended.into() })
    }

    async fn handle(&self, myself: ActorRef<Self::Msg>, message: Self::Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match message {
            OperationsMsg::Ended { operation } => {
                if let Some(actor) = state.running.remove(&operation.id) {
                    let _ = actor.cast(OperationMsg::Ended { operation: Arc::clone(&operation) });
                }
                state.ended.push_back(operation.id);
                forget(state).await;
            }
            OperationsMsg::Wait { id, reply_to } => match state.shared.view.operation(id) {
                None => {}
                Some(operation) if operation.status.is_final() => {
                    let _ = reply_to.send(operation);
                }
                Some(operation) => {
                    let actor = child(state, &myself, id).await?;
                    let _ = actor.cast(OperationMsg::Wait { operation, reply_to });
                }
            },
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let ended = match event {
            SupervisionEvent::ActorTerminated(cell, ..) => cell,
            SupervisionEvent::ActorFailed(cell, error) => {
                tracing::error!(%error, "an operation's actor failed");
                cell
            }
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ProcessGroupChanged(_)
            | SupervisionEvent::PidLifecycleEvent(_) => return Ok(()),
        };
        if let Some(id) = state.actors.remove(&ended.get_id()) {
            state.running.remove(&id);
        }
        Ok(())
    }
}

async fn child(
    state: &mut State,
    myself: &ActorRef<OperationsMsg>,
    id: OperationId,
) -> Result<ActorRef<OperationMsg>, ActorProcessingErr> {
    if let Some(actor) = state.running.get(&id) {
        return Ok(actor.clone());
    }
    let (actor, _) = Actor::spawn_linked(None, OperationActor, (), myself.get_cell()).await?;
    state.actors.insert(actor.get_id(), id);
    state.running.insert(id, actor.clone());
    Ok(actor)
}

/// Old ends are forgotten: from the view at once, from the journal in groups.
async fn forget(state: &mut State) {
    if state.ended.len() < KEEP_ENDED + FORGET_AT_ONCE {
        return;
    }
    let mut batch = Batch::default();
    for id in state.ended.drain(..FORGET_AT_ONCE) {
        state.shared.view.drop_operation(id);
        batch = batch.delete(schema::OPERATIONS, id.to_string());
    }
    if let Err(error) = state.shared.journal.commit(batch).await {
        // They stay on the disk and are forgotten after the next start.
        tracing::warn!(%error, "old operations could not be removed from the journal");
    }
}
