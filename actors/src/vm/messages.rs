//! What a VM's actor and the supervisor of all VMs can be told.

use super::perform::Outcome;
use crate::{
    error::CommandError,
    node::{Accepted, NewVm, Who},
    supervise::Address,
};
use domain::{
    Attempt, Name, OperationId, VmId,
    vm::{Command, Draft, Machine, Observed, Timer, Vm},
};
use host::guest::GuestSession;
use ractor::{ActorId, RpcReplyPort};
use ractor_cluster_derive::RactorMessage;
use std::sync::Arc;

pub type VmRef = Address<VmMsg>;
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
    /// The VMM holds that launch's machine: the host's disk is full.
    Full {
        launch: Attempt,
    },
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

impl VmMsg {
    /// For the tree and for the dump of who is stuck; never with what it carries.
    pub fn name(&self) -> &'static str {
        match self {
            VmMsg::Create { .. } => "create",
            VmMsg::Command { command, .. } => match command.as_ref() {
                Command::Start => "command start",
                Command::Stop(_) => "command stop",
                Command::Pause => "command pause",
                Command::Resume => "command resume",
                Command::Reboot(_) => "command reboot",
                Command::Delete { .. } => "command delete",
                Command::Update(_) => "command update",
                Command::Cancel { .. } => "command cancel",
            },
            VmMsg::Done { .. } => "effect ended",
            VmMsg::Elapsed { .. } => "timer",
            VmMsg::Full { .. } => "disk full",
            VmMsg::Observed(_) => "machine observed",
            VmMsg::GuestUp { .. } => "guest up",
            VmMsg::GuestDown { .. } => "guest down",
            VmMsg::Guest { .. } => "guest asked for",
            #[cfg(any(test, feature = "faults"))]
            VmMsg::Crash => "crash",
            #[cfg(any(test, feature = "faults"))]
            VmMsg::Hang { .. } => "hang",
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
    /// A command that gives the VM a name or interfaces: both are held until the VM's actor, which answers, says that they are settled.
    Update {
        id: VmId,
        command: Box<Command>,
        who: Box<Who>,
        reply_to: Reply<Accepted<Arc<Vm>>>,
    },
    /// That name of the VM is in the view, or was not taken: it is held no longer. As the two below, from the VM's actor; what comes from one that
    /// is no more is passed over.
    NameSettled {
        id: VmId,
        name: Name,
        from: ActorId,
    },
    /// The VM's interfaces are in the view as they were changed, or were not changed: what else was held for them is free.
    InterfacesSettled {
        id: VmId,
        from: ActorId,
    },
    /// The VM was loaded again and is in the view as it is durable: names and interfaces that were held for what its actor before was told are held no longer.
    Loaded {
        id: VmId,
        from: ActorId,
    },
    /// The VM is no more, or never came to be.
    Gone {
        id: VmId,
    },
    /// A child's turn after its back-off.
    Respawn {
        id: VmId,
    },
    /// Someone wants the VM's actor started again, whatever became of it. Answered when it lives, or with why it does not.
    Restart {
        id: VmId,
        reply_to: Reply<()>,
    },
    LookForStalls,
    /// Never returns from its handler, and says that it has been there for this long.
    #[cfg(any(test, feature = "faults"))]
    Hang {
        since: std::time::Duration,
    },
    /// Panics on purpose.
    #[cfg(any(test, feature = "faults"))]
    Crash,
}

impl VmsMsg {
    pub fn name(&self) -> &'static str {
        match self {
            VmsMsg::Create { .. } => "create",
            VmsMsg::Update { .. } => "update",
            VmsMsg::NameSettled { .. } => "name settled",
            VmsMsg::InterfacesSettled { .. } => "interfaces settled",
            VmsMsg::Loaded { .. } => "loaded",
            VmsMsg::Gone { .. } => "gone",
            VmsMsg::Respawn { .. } => "respawn",
            VmsMsg::Restart { .. } => "restart",
            VmsMsg::LookForStalls => "look for stalls",
            #[cfg(any(test, feature = "faults"))]
            VmsMsg::Hang { .. } => "hang",
            #[cfg(any(test, feature = "faults"))]
            VmsMsg::Crash => "crash",
        }
    }
}
