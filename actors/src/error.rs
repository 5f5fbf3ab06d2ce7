//! Why a command was not carried out, and why a node did not start. What users read is made of these by the edge.

use domain::{
    Generation,
    capacity::Full,
    event::Kind,
    operation::NotCancellable,
    vm::{actions, spec::SpecProblem},
};

#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Vm(actions::Refused),
    #[error(transparent)]
    Image(domain::image::Refused),
    #[error(transparent)]
    Host(domain::host::Refused),
    #[error(transparent)]
    NotCancellable(NotCancellable),
    #[error(transparent)]
    Webhook(domain::webhook::Refused),
    #[error("the webhook's secret can't be kept: {detail}")]
    Secret { detail: String },
    #[error("there is no {} {reference}", kind.as_str())]
    NotFound { kind: Kind, reference: String },
    #[error("there is a {} named {name} already", kind.as_str())]
    NameTaken { kind: Kind, name: String },
    #[error("the resource is at generation {}", current.0)]
    Stale { current: Generation },
    #[error(transparent)]
    NoCapacity(Full),
    #[error("the host is cordoned")]
    HostCordoned,
    #[error("the specification is impossible")]
    Invalid(Vec<SpecProblem>),
    #[error("{field} names no image: {reference}")]
    UnknownImage { field: &'static str, reference: String },
    #[error("no kernel is named, and there is no default kernel")]
    NoDefaultKernel,
    #[error("the image {reference} is {state}")]
    ImageNotReady { field: &'static str, reference: String, state: &'static str },
    /// By a VM, or by the host itself.
    #[error("{holder} has the MAC {mac}")]
    MacTaken { mac: domain::vm::Mac, holder: String },
    #[error("all {room} addresses of the network are given")]
    AddressesExhausted { room: u32 },
    #[error("too many commands wait for the disk")]
    Busy,
    #[error("the journal can't be written: {detail}")]
    Storage { detail: String, full: bool },
    #[error("no answer in time; the command may have been carried out")]
    Timeout,
    #[error("the resource's actor is being restarted; the command may have been carried out")]
    Restarting,
    #[error("the resource's actor was set aside because it kept failing: {reason}")]
    SetAside { reason: String },
    #[error("there is no actor {name}")]
    NoActor { name: String },
    #[error("the guest can't be reached: {detail}")]
    GuestUnavailable { detail: String },
    #[error(transparent)]
    Guest(host::guest::GuestFault),
    #[error("{detail}")]
    Vmm { detail: String },
    #[error("the server is shutting down")]
    Stopping,
}

impl From<storage::CommitError> for CommandError {
    fn from(error: storage::CommitError) -> Self {
        match error {
            storage::CommitError::Busy { .. } => CommandError::Busy,
            other => CommandError::Storage { full: chain(&other).contains("No space left"), detail: chain(&other) },
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the journal can't be read: {0}")]
    Journal(storage::ReadError),
    #[error("the journal can't be written: {0}")]
    Commit(CommandError),
    #[error("the actors can't be started: {0}")]
    Spawn(String),
    #[error("the host's name {0:?} can't be made a name")]
    HostName(String),
}

/// An error with all its causes, for a log or a reason; `Display` of an error never repeats its source.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
