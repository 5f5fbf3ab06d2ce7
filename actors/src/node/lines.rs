//! What a VM's guest printed, line by line: with when it was first seen, or since a moment.

use super::facade::{Node, not_found, vmm_error};
use crate::error::CommandError;
use domain::{VmId, event::Kind, vm};
use host::vmm::{Console, lines::LinesWanted};

impl Node {
    /// As kept; empty when there is none.
    pub async fn lines(&self, id: VmId, wanted: &LinesWanted) -> Result<Vec<u8>, CommandError> {
        self.shared.vmm.lines(id, wanted).await.map_err(vmm_error)
    }

    /// And on, for as long as the VM runs. Refused when it does not.
    pub async fn follow_lines(&self, id: VmId, wanted: &LinesWanted) -> Result<Box<dyn Console>, CommandError> {
        let row = self.shared.view.vm(id).ok_or_else(|| not_found(Kind::Vm, id.to_string()))?;
        if row.record.state.machine().is_none() {
            return Err(CommandError::Vm(vm::actions::Refused::NotRunning));
        }
        self.shared.vmm.follow_lines(id, wanted).await.map_err(vmm_error)
    }
}
