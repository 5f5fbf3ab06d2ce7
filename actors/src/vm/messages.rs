//! What a VM's actor and the supervisor of all VMs can be told.

use super::perform::Outcome;
use crate::supervise::ChildInfo;
use crate::{
    error::CommandError,
    node::{Accepted, NewVm, Who},
};
use domain::{
    Attempt, Name, OperationId, VmId,
    vm::{Command, Draft, Machine, Observed, Timer, Vm},
};
use host::guest::GuestSession;
use ractor::{ActorRef, RpcReplyPort};
use ractor_cluster_derive::RactorMessage;
use std::{fmt, sync::Arc};

pub type VmRef = ActorRef<VmMsg>;
pub type Reply<T> = RpcReplyPort<Result<T, CommandError>>;

/// Large contents are boxed: an actor keeps the room of several messages for as long as it lives, and most of them are small.
#[derive(RactorMessage)]
pub enum VmMsg {
    /// The first message of a new VM: makes the record durable. Answered when it is.
    Create {
        draft: Box<Draft>,
        who: Box<Who>,
        operation: OperationId,
        reply_to: Reply<Accepted<Arc<Vm>>>,
    },
    /// Answered when the decision is durable, or refused.
    Command {
        command: Box<Command>,
        who: Box<Who>,
        reply_to: Reply<Accepted<Arc<Vm>>>,
    },
    /// The effect that was issued as `attempt` ended.
    Done {
        attempt: Attempt,
        outcome: Box<Outcome>,
    },
    Elapsed {
        attempt: Attempt,
        timer: Timer,
    },
    Observed(Box<Observed>),
    /// The guest's agent said hello on a new session.
    GuestUp {
        launch: Attempt,
        session: Arc<dyn GuestSession>,
    },
    GuestDown {
        launch: Attempt,
    },
    /// Answered with the machine and the session to its guest.
    Guest {
        reply_to: Reply<(Machine, Arc<dyn GuestSession>)>,
    },
    /// Panics on purpose: what supervision is for is tested with it.
    #[cfg(any(test, feature = "faults"))]
    Crash,
    /// Never returns from its handler, and says that it has been there for this long.
    #[cfg(any(test, feature = "faults"))]
    Hang {
        since: std::time::Duration,
    },
}

impl fmt::Display for VmMsg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VmMsg::Create { draft, operation, .. } => write!(f, "create {} {operation}", draft.id),
            VmMsg::Command { command, .. } => write!(f, "command {command:?}"),
            VmMsg::Done { attempt, .. } => write!(f, "done {}", attempt.0),
            VmMsg::Elapsed { attempt, timer } => write!(f, "elapsed {timer:?} {}", attempt.0),
            VmMsg::Observed(_) => f.write_str("observed"),
            VmMsg::GuestUp { launch, .. } => write!(f, "guest up {}", launch.0),
            VmMsg::GuestDown { launch } => write!(f, "guest down {}", launch.0),
            VmMsg::Guest { .. } => f.write_str("guest"),
            #[cfg(any(test, feature = "faults"))]
            VmMsg::Crash => f.write_str("crash"),
            #[cfg(any(test, feature = "faults"))]
            VmMsg::Hang { .. } => f.write_str("hang"),
        }
    }
}

#[derive(RactorMessage)]
pub enum VmsMsg {
    /// Resolves names, gives an address, makes the VM's actor, which answers.
    Create {
        new: Box<NewVm>,
        who: Who,
        reply_to: Reply<Accepted<Arc<Vm>>>,
    },
    /// A command that gives the VM this name: held until the VM's actor, which answers, says that it is settled.
    Rename {
        id: VmId,
        name: Name,
        command: Box<Command>,
        who: Box<Who>,
        reply_to: Reply<Accepted<Arc<Vm>>>,
    },
    /// That name of the VM is in the view, or was not taken: it is held no longer.
    NameSettled {
        id: VmId,
        name: Name,
    },
    /// The VM is no more, or never came to be.
    Gone {
        id: VmId,
    },
    /// A child's turn after its back-off.
    Respawn {
        id: VmId,
    },
    LookForStalls,
    /// The live children: id, state of the actor, restarts, last error.
    Inspect {
        reply_to: RpcReplyPort<Vec<ChildInfo<VmId>>>,
    },
    /// Panics on purpose.
    #[cfg(any(test, feature = "faults"))]
    Crash,
}
