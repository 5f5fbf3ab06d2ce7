//! The supervisor of all operations' actors. A failed child is simply gone: who waited sees the operation as it is, and who waits next starts
//! another, within the budget.

use super::actor::{Msg as OperationMsg, OperationActor};
use crate::{
    shared::Shared,
    supervise::{Address, Progress, Roster, STALL_CHECK, Trouble, Verdict, exit_of, jitter},
    view::Page,
};
use domain::{
    OperationId,
    mutant::{self, Mutant},
    operation::Operation,
};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use ractor_cluster_derive::RactorMessage;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use storage::{Batch, schema};

/// How many ended operations are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepEnded {
    /// The newest; never fewer.
    pub newest: usize,
    /// Forgotten in groups, so that not every end costs a commit of its own: as many more may be there meanwhile.
    pub at_once: usize,
}

/// At 2,000 creates a second 10,000 are still some seconds; events are kept far longer.
pub const KEEP_ENDED: KeepEnded = KeepEnded { newest: 10_000, at_once: 256 };

pub(crate) struct Operations;

#[derive(RactorMessage)]
pub(crate) enum OperationsMsg {
    Ended {
        operation: Arc<Operation>,
    },
    /// Answered with the ended operation, or as it is when nobody can wait for its end; dropped when there is none.
    Wait {
        id: OperationId,
        reply_to: RpcReplyPort<Arc<Operation>>,
    },
    /// An actor of an operation that was set aside may be started again.
    Restart {
        id: OperationId,
    },
    LookForStalls,
}

impl OperationsMsg {
    fn name(&self) -> &'static str {
        match self {
            OperationsMsg::Ended { .. } => "ended",
            OperationsMsg::Wait { .. } => "wait",
            OperationsMsg::Restart { .. } => "restart",
            OperationsMsg::LookForStalls => "look for stalls",
        }
    }
}

pub(crate) struct Args {
    pub shared: Arc<Shared>,
    pub roster: Roster<OperationId>,
    pub progress: Arc<Progress>,
}

pub(crate) struct State {
    shared: Arc<Shared>,
    progress: Arc<Progress>,
    children: Roster<OperationId>,
    running: HashMap<OperationId, Address<OperationMsg>>,
    ended: VecDeque<OperationId>,
}

impl Actor for Operations {
    type Msg = OperationsMsg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        args.roster.clear();
        // In the order of their ids, which is that of their beginnings.
        let (all, _) = args.shared.view.operations(&Page::first(usize::MAX - 1));
        let ended = all.iter().filter(|operation| operation.status.is_final()).map(|operation| operation.id).collect();
        Address::new(myself, Arc::clone(&args.progress)).send_interval(STALL_CHECK, || OperationsMsg::LookForStalls);
        Ok(State { shared: args.shared, progress: args.progress, children: args.roster, running: HashMap::new(), ended })
    }

    async fn handle(&self, myself: ActorRef<Self::Msg>, message: Self::Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let _busy = state.progress.enter(message.name());
        match message {
            OperationsMsg::Ended { operation } => {
                match state.running.remove(&operation.id) {
                    Some(actor) => {
                        let _ = actor.cast(OperationMsg::Ended { operation: Arc::clone(&operation) });
                    }
                    // One that was set aside goes with its operation.
                    None => state.children.forget(operation.id),
                }
                state.ended.push_back(operation.id);
                forget(state).await;
            }
            OperationsMsg::Wait { id, reply_to } => match state.shared.view.operation(id) {
                None => {}
                Some(operation) if operation.status.is_final() => {
                    let _ = reply_to.send(operation);
                }
                Some(operation) => match child(state, &myself, id).await {
                    Some(actor) => {
                        let _ = actor.cast(OperationMsg::Wait { operation, reply_to });
                    }
                    None => {
                        let _ = reply_to.send(operation);
                    }
                },
            },
            OperationsMsg::Restart { id } => {
                if state.children.pardon(id, "started again on request") == Some(false) {
                    child(state, &myself, id).await;
                }
            }
            OperationsMsg::LookForStalls => {
                // What ended while nobody was here to be told was counted at the start, and may be too many.
                forget(state).await;
                for trouble in state.children.look() {
                    match trouble {
                        Trouble::Stalled { key, dump } => {
                            tracing::error!(operation = %key, dump, "the operation's actor is stuck")
                        }
                        Trouble::Overdue { .. } => {}
                    }
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let Some(exit) = exit_of(event) else { return Ok(()) };
        let Some(id) = state.children.ended(exit.actor) else { return Ok(()) };
        state.running.remove(&id);
        if exit.in_order || state.shared.view.operation(id).is_none_or(|operation| operation.status.is_final()) {
            state.children.forget(id);
        } else {
            failed(state, id, &exit.error);
        }
        Ok(())
    }
}

fn failed(state: &State, id: OperationId, error: &str) {
    match state.children.failed(id, error, jitter()) {
        Verdict::RestartAfter(_) => tracing::error!(operation = %id, error, "the operation's actor failed"),
        Verdict::Quarantine => tracing::error!(operation = %id, error, "the operation's actor keeps failing and is set aside"),
    }
}

/// Its actor, if it can have one.
async fn child(state: &mut State, myself: &ActorRef<OperationsMsg>, id: OperationId) -> Option<Address<OperationMsg>> {
    if let Some(actor) = state.running.get(&id) {
        return Some(actor.clone());
    }
    if state.children.quarantined(id).is_some() {
        return None;
    }
    let progress: Arc<Progress> = Arc::default();
    if let Err(error) = state.shared.may_start(&id) {
        failed(state, id, &error);
        return None;
    }
    match Actor::spawn_linked(None, OperationActor, Arc::clone(&progress), myself.get_cell()).await {
        Ok((actor, _)) => {
            let actor = Address::new(actor, Arc::clone(&progress));
            state.children.started(id, actor.cell(), progress);
            state.running.insert(id, actor.clone());
            Some(actor)
        }
        Err(error) => {
            failed(state, id, &error.to_string());
            None
        }
    }
}

/// Old ends are forgotten: from the view at once, from the journal in groups.
async fn forget(state: &mut State) {
    let KeepEnded { newest, at_once } = state.shared.keep_ended;
    let too_many = if mutant::on(Mutant::ForgetsTooMany) { newest } else { newest + at_once };
    while state.ended.len() >= too_many {
        forget_some(state, at_once).await;
    }
}

async fn forget_some(state: &mut State, count: usize) {
    let mut batch = Batch::default();
    for id in state.ended.drain(..count) {
        state.shared.view.drop_operation(id);
        batch = batch.delete(schema::OPERATIONS, id.to_string());
    }
    let _waits = state.progress.waits_for("the journal");
    if let Err(error) = state.shared.journal.commit(batch).await {
        // They stay on the disk and are forgotten after the next start.
        tracing::warn!(%error, "old operations could not be removed from the journal");
    }
}
