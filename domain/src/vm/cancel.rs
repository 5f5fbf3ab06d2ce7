//! Which operation of a VM may be cancelled now, and why the others not. Whether one is being cancelled is no field of the record: it is,
//! exactly when the VM is on its way to somewhere else than the operation leads to.
//!
//! | operation | may be cancelled while | leads back to |
//! |---|---|---|
//! | create | the disk is made, the machine starts | nothing: the VM is removed |
//! | start | the machine starts | stopped |
//! | pause, resume | it is under way | running, paused |
//! | stop, reboot | the guest has not heard of it | running |
//! | delete | never | |

use super::state::{State, StopStage, Stopping, Vm};
use crate::{
    OperationId,
    operation::{NotCancellable, OperationKind},
};

/// Whether `operation` may be cancelled now.
pub fn admit(vm: &Vm, operation: OperationId) -> Result<(), NotCancellable> {
    let Some(in_flight) = vm.operation.filter(|in_flight| in_flight.id == operation) else {
        return Err(NotCancellable::Ended);
    };
    if under_way(vm) {
        return Err(NotCancellable::Already);
    }
    match (in_flight.kind, &vm.state) {
        (OperationKind::VmCreate, State::Creating { .. } | State::Starting(_))
        | (OperationKind::VmStart, State::Starting(_))
        | (OperationKind::VmPause, State::Pausing(_))
        | (OperationKind::VmResume, State::Resuming(_))
        | (OperationKind::VmStop | OperationKind::VmReboot, State::Stopping(Stopping { stage: StopStage::Waiting(_), .. })) => {
            Ok(())
        }
        (OperationKind::VmStop | OperationKind::VmReboot, State::Stopping(Stopping { stage: StopStage::Asking(_), .. })) => {
            Err(NotCancellable::GuestAsked)
        }
        // The machine that a reboot began with is no more.
        (OperationKind::VmStop | OperationKind::VmReboot, _) => Err(NotCancellable::MachineEnded),
        (OperationKind::VmDelete, _) => Err(NotCancellable::DeletionBegun),
        // No operation of these kinds is in flight in any other state.
        (
            OperationKind::VmCreate
            | OperationKind::VmStart
            | OperationKind::VmPause
            | OperationKind::VmResume
            | OperationKind::ImageCreate
            | OperationKind::ImageDelete,
            _,
        ) => Err(NotCancellable::Ended),
    }
}

/// Whether the operation in flight is being undone.
pub fn under_way(vm: &Vm) -> bool {
    let Some(in_flight) = vm.operation else { return false };
    match in_flight.kind {
        OperationKind::VmCreate => matches!(vm.state, State::Stopping(_) | State::Deleting),
        OperationKind::VmStart => matches!(vm.state, State::Stopping(_)),
        OperationKind::VmPause => matches!(vm.state, State::Resuming(_)),
        OperationKind::VmResume => matches!(vm.state, State::Pausing(_)),
        // These are cancelled in one step or not at all.
        OperationKind::VmStop
        | OperationKind::VmReboot
        | OperationKind::VmDelete
        | OperationKind::ImageCreate
        | OperationKind::ImageDelete => false,
    }
}

/// Whether a VM that comes to rest in `state` is where an operation of that kind leads to.
pub(super) fn reached(kind: OperationKind, state: &State) -> bool {
    match kind {
        OperationKind::VmCreate => matches!(state, State::Created | State::Running(_)),
        OperationKind::VmStart | OperationKind::VmResume | OperationKind::VmReboot => matches!(state, State::Running(_)),
        OperationKind::VmStop => matches!(state, State::Stopped),
        OperationKind::VmPause => matches!(state, State::Paused(_)),
        // Its record goes with this state.
        OperationKind::VmDelete => matches!(state, State::Deleting),
        OperationKind::ImageCreate | OperationKind::ImageDelete => false,
    }
}
