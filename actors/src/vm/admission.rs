//! Whether a command may be carried out on what is recorded. Asked by the VM's actor, and before it by who gives what the command needs, so
//! that nothing is given for a command that the actor refuses.

use crate::{error::CommandError, node::Who};
use domain::{
    host::Offer,
    vm::{self, Command, Vm},
};

/// Errors: it was meant for another generation, would make a specification that is none, or is refused as [`vm::admit`] says.
pub(super) fn admit(record: &Vm, command: &Command, who: &Who, offer: Option<Offer>) -> Result<(), CommandError> {
    who.check(record.generation)?;
    if let Command::Update(change) = command {
        let problems = vm::spec::check(&change.applied(&record.spec));
        if !problems.is_empty() {
            return Err(CommandError::Invalid(problems));
        }
    }
    vm::admit(record, command, offer).map_err(CommandError::Vm)
}
