//! Why an operation can't be cancelled. Which one can is said by the machine of its target (`vm::cancel`, `image::step`).

/// The sentence is what users read; the code is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCancellable {
    #[error("the operation has ended")]
    Ended,
    #[error("the operation is being cancelled already")]
    Already,
    #[error("the guest was asked to shut down, and that can't be taken back")]
    GuestAsked,
    #[error("the machine is being ended, or has ended, and that can't be taken back")]
    MachineEnded,
    #[error("a deletion can't be taken back")]
    DeletionBegun,
}

impl NotCancellable {
    pub const ALL: [NotCancellable; 5] = [
        NotCancellable::Ended,
        NotCancellable::Already,
        NotCancellable::GuestAsked,
        NotCancellable::MachineEnded,
        NotCancellable::DeletionBegun,
    ];

    pub fn code(self) -> &'static str {
        match self {
            NotCancellable::Ended => "operation-ended",
            NotCancellable::Already => "operation-being-cancelled",
            NotCancellable::GuestAsked => "guest-asked",
            NotCancellable::MachineEnded => "machine-ended",
            NotCancellable::DeletionBegun => "deletion-begun",
        }
    }

    /// What to do instead.
    pub fn hint(self) -> &'static str {
        match self {
            NotCancellable::Ended => "nothing needs to be done",
            NotCancellable::Already => "wait for its end",
            NotCancellable::GuestAsked | NotCancellable::MachineEnded => "wait for its end, then start the VM again",
            NotCancellable::DeletionBegun => "wait for its end",
        }
    }
}
