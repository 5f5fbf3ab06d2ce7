//! One host's actor.

use crate::{
    commit::{Commit, Subject},
    error::{CommandError, chain},
    node::Who,
    operation::OperationsRef,
    shared::{Shared, now},
    supervise::{Address, Progress},
};
use domain::{
    Name,
    capacity::Capacity,
    event::Kind,
    host::{self, Command, Effect, Facts, Host, Input, Observed, Step, Ticket},
};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster_derive::RactorMessage;
use std::{sync::Arc, time::Duration};
use storage::schema;
use tokio::task::JoinSet;

/// How often the machine is looked at. What it looks at changes when someone plugs something in.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// A look takes milliseconds; a machine that takes longer than this is not well.
const PROBE_DEADLINE: Duration = Duration::from_secs(8);

pub(super) struct HostActor;

#[derive(RactorMessage)]
pub(super) enum HostMsg {
    Command { command: Command, who: Who, reply_to: RpcReplyPort<Result<Arc<Host>, CommandError>> },
    Probe,
    Observed(Observed),
}

impl HostMsg {
    fn name(&self) -> &'static str {
        match self {
            HostMsg::Command { .. } => "command",
            HostMsg::Probe => "probe",
            HostMsg::Observed(_) => "observed",
        }
    }
}

pub(super) struct Args {
    pub shared: Arc<Shared>,
    pub operations: OperationsRef,
    pub name: Name,
    pub progress: Arc<Progress>,
    /// What was found before the actor starts, so that the first VM knows how much room there is.
    pub facts: Facts,
}

pub(super) struct State {
    args: Args,
    record: Option<Arc<Host>>,
    tasks: JoinSet<()>,
}

impl Actor for HostActor {
    type Msg = HostMsg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<HostMsg>, args: Args) -> Result<State, ActorProcessingErr> {
        args.shared.may_start(&args.shared.host)?;
        let myself = Address::new(myself, Arc::clone(&args.progress));
        // Not as it is shown: an actor before this one may have been killed between the disk and the view.
        let (shared, id) = (Arc::clone(&args.shared), args.shared.host);
        let record = shared.stored(schema::HOSTS, id.to_string(), shared.view.host(id)).await;
        if let Some(record) = &record {
            shared.view.put_host(Arc::clone(record));
        }
        let facts = args.facts.clone();
        let mut state = State { args, record, tasks: JoinSet::new() };
        match &state.record {
            None => {
                let step = host::register(state.args.shared.host, state.args.name.clone(), facts, now());
                commit(&mut state, &myself, step, None).await.map_err(|error| ActorProcessingErr::from(chain(&error)))?;
            }
            Some(_) => {
                drive(&mut state, &myself, Input::Recovered).await?;
                drive(&mut state, &myself, Input::Observed(Observed::Heartbeat(Box::new(facts)))).await?;
            }
        }
        myself.send_interval(HEARTBEAT, || HostMsg::Probe);
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<HostMsg>, message: HostMsg, state: &mut State) -> Result<(), ActorProcessingErr> {
        let _busy = state.args.progress.enter(message.name());
        let myself = Address::new(myself, Arc::clone(&state.args.progress));
        match message {
            HostMsg::Command { command, who, reply_to } => {
                let _ = reply_to.send(self::command(state, &myself, command, &who).await);
            }
            HostMsg::Probe => probe(state, &myself),
            HostMsg::Observed(observed) => drive(state, &myself, Input::Observed(observed)).await?,
        }
        Ok(())
    }
}

async fn command(state: &mut State, myself: &Address<HostMsg>, command: Command, who: &Who) -> Result<Arc<Host>, CommandError> {
    let record = state.record.clone().ok_or(CommandError::Restarting)?;
    who.check(record.generation)?;
    let ticket = Ticket { actor: who.actor.clone() };
    let step = host::step(&record, Input::Command { command, ticket }, now()).map_err(CommandError::Host)?;
    commit(state, myself, step, Some(who)).await
}

async fn drive(state: &mut State, myself: &Address<HostMsg>, input: Input) -> Result<(), ActorProcessingErr> {
    let Some(record) = state.record.clone() else { return Ok(()) };
    let Ok(step) = host::step(&record, input, now()) else { return Ok(()) };
    commit(state, myself, step, None).await.map_err(|error| ActorProcessingErr::from(chain(&error)))?;
    Ok(())
}

async fn commit(state: &mut State, myself: &Address<HostMsg>, step: Step, who: Option<&Who>) -> Result<Arc<Host>, CommandError> {
    let next = Arc::new(step.next);
    if state.record.as_ref() != Some(&next) {
        let shared = Arc::clone(&state.args.shared);
        let subject = Subject {
            kind: Kind::Host,
            id: next.id.to_string(),
            name: &next.name,
            project: &next.name,
            generation: next.generation,
        };
        let mut commit = Commit::new();
        commit.put(schema::HOSTS, next.id.to_string(), next.as_ref())?;
        commit.events(&subject, step.events)?;
        if let Some(who) = who {
            commit.answer(who, Kind::Host, next.id.to_string(), None)?;
        }
        let show = || {
            shared.view.put_host(Arc::clone(&next));
            state.record = Some(Arc::clone(&next));
        };
        let operations = state.args.operations.clone();
        let _waits = state.args.progress.waits_for("the journal");
        commit.write_with(&shared, &operations, show).await?;
    }
    for effect in step.effects {
        match effect {
            Effect::Probe => probe(state, myself),
            Effect::SetCapacity { vcpus, mem_mib } => {
                state.args.shared.ledger().set_capacity(Capacity { vcpus, mem_mib });
            }
        }
    }
    Ok(next)
}

/// Looks at the machine, beside the mailbox; at most one look at a time.
fn probe(state: &mut State, myself: &Address<HostMsg>) {
    while state.tasks.try_join_next().is_some() {}
    if !state.tasks.is_empty() {
        return;
    }
    let (myself, shared) = (myself.clone(), Arc::clone(&state.args.shared));
    myself.progress().performs("probe", PROBE_DEADLINE + PROBE_DEADLINE);
    state.tasks.spawn(async move {
        let observed = match tokio::time::timeout(PROBE_DEADLINE, shared.probe.facts()).await {
            Ok(facts) => Observed::Heartbeat(Box::new(facts)),
            Err(_) => Observed::Silent,
        };
        myself.progress().performed();
        let _ = myself.cast(HostMsg::Observed(observed));
    });
}
