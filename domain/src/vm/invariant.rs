//! What is true of every VM's record at any time. Used by `debug_assert!`, the property tests and the simulator alike.

use super::{
    state::{State, StopStage, Vm},
    step::RESTARTS_MAX,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("a VM at rest has an operation in flight")]
    OperationAtRest,
    #[error("a machine comes from an attempt that was never issued")]
    MachineFromTheFuture,
    #[error("more restarts than the budget allows")]
    Restarts,
    #[error("its network interfaces are not one for each that is asked for, nor none with a note why")]
    Network,
    #[error("a failed VM does not say why")]
    FailedWithoutReason,
    #[error("two drives have one number, or one that was not given out")]
    Drives,
    #[error("an effect was tried more often than its limit")]
    Tries,
}

pub fn check(vm: &Vm) -> Result<(), Broken> {
    let at_rest = match &vm.state {
        State::Created | State::Running(_) | State::Paused(_) | State::Stopped | State::Failed => true,
        State::Creating { .. }
        | State::Starting(_)
        | State::Pausing(_)
        | State::Resuming(_)
        | State::Stopping(_)
        | State::Snapshotting(_)
        | State::Restoring
        | State::Deleting => false,
    };
    if at_rest && vm.operation.is_some() {
        return Err(Broken::OperationAtRest);
    }
    if vm.state.machine().is_some_and(|machine| machine.launch > vm.attempt) {
        return Err(Broken::MachineFromTheFuture);
    }
    if vm.restarts.in_window > RESTARTS_MAX {
        return Err(Broken::Restarts);
    }
    // None with the reason, or one for each that is asked for without.
    let as_asked = match (vm.nics.len(), &vm.network_note) {
        (0, Some(_)) => true,
        (count, None) => count == vm.spec.networks.len(),
        (_, Some(_)) => false,
    };
    if !as_asked {
        return Err(Broken::Network);
    }
    if vm.state == State::Failed && vm.reason.is_none() {
        return Err(Broken::FailedWithoutReason);
    }
    if !vm.spec.devices.drives.are_apart() {
        return Err(Broken::Drives);
    }
    if let State::Stopping(stopping) = &vm.state {
        let limit = match stopping.stage {
            StopStage::Asking(_) | StopStage::Waiting(_) => 0,
            // The last failure ends in `Failed`.
            StopStage::Killing(_) | StopStage::Cleaning => super::step::TRIES_MAX - 1,
        };
        if stopping.tries > limit {
            return Err(Broken::Tries);
        }
    }
    Ok(())
}
