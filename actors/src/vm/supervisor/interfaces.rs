//! Which addresses and MACs VMs have: given when a VM is made, and when its interfaces change. Here alone, so that nothing is given twice.
//!
//! A change holds what it needs until its VM's actor says that it is settled; what the VM had before stays held until then too, for the change
//! may yet fail. Where that actor falls, until the next one has loaded the VM. One at a time for each VM: then what is recorded of its
//! interfaces is what the change was made for.

use super::{Given, State};
use crate::{error::CommandError, node::Who, vm::admission};
use domain::{
    VmId,
    ipam::NotGiven,
    vm::{Command, Interface, NetworksChange, Nic, Vm, actions::Refused},
};

/// For a new VM; and why it gets none, where the machine has no network.
pub(super) fn of_new(state: &mut State, id: VmId, wanted: &[Interface]) -> Result<(Vec<Nic>, Option<String>), CommandError> {
    equip(state, id, &[], wanted)
}

/// Enters in the command what its VM is given. What its actor would refuse is given nothing.
pub(super) fn of_change(state: &mut State, record: &Vm, command: &mut Command, who: &Who) -> Result<(), CommandError> {
    let Command::Update(change) = &*command else { return Ok(()) };
    let Some(NetworksChange { wanted, .. }) = change.networks.as_deref().cloned() else { return Ok(()) };
    admission::admit(record, command, who, state.shared.view.offer(record.host))?;
    if state.changing.contains(&record.id) || state.changing_doubtful.contains(&record.id) {
        return Err(CommandError::Vm(Refused::Busy));
    }
    let (nics, note) = equip(state, record.id, &record.nics, &wanted)?;
    state.changing.insert(record.id);
    if let Some(given) = state.given.get_mut(&record.id) {
        given.nics.extend(nics.iter().cloned());
    }
    if let Command::Update(change) = command {
        change.networks = Some(Box::new(NetworksChange { wanted, nics, note }));
    }
    Ok(())
}

/// The VM's actor is no more; the change that it was told may have been carried out.
pub(super) fn doubt(state: &mut State, id: VmId) {
    if state.changing.remove(&id) {
        state.changing_doubtful.insert(id);
    }
}

/// The change was carried out, or was not.
pub(super) fn settled(state: &mut State, id: VmId) {
    if state.changing.remove(&id) {
        hold_what_it_has(state, id);
    }
}

/// The same of one that was in doubt, and of no other.
pub(super) fn settled_doubtful(state: &mut State, id: VmId) {
    if state.changing_doubtful.remove(&id) {
        hold_what_it_has(state, id);
    }
}

/// The VM has what its record says, and nothing else is held for it.
fn hold_what_it_has(state: &mut State, id: VmId) {
    let Some(row) = state.shared.view.vm(id) else { return };
    let has = &row.record.nics;
    let Some(Given { nics, .. }) = state.given.get_mut(&id) else { return };
    for nic in std::mem::replace(nics, has.clone()) {
        let address = Some(nic.address).filter(|address| has.iter().all(|nic| nic.address != *address));
        let mac = Some(nic.mac).filter(|mac| has.iter().all(|nic| nic.mac != *mac));
        state.pool.take_back(id, address, mac);
    }
}

/// The VM is no more.
pub(super) fn gone(state: &mut State, id: VmId, given: &Given) {
    state.changing.remove(&id);
    state.changing_doubtful.remove(&id);
    for nic in &given.nics {
        state.pool.take_back(id, Some(nic.address), Some(nic.mac));
    }
}

fn equip(state: &mut State, id: VmId, nics: &[Nic], wanted: &[Interface]) -> Result<(Vec<Nic>, Option<String>), CommandError> {
    match &state.shared.network_problem {
        // What it has it keeps, for when there is a network again; to it, more can be given.
        Some(problem) if nics.is_empty() && !wanted.is_empty() => Ok((Vec::new(), Some(problem.clone()))),
        _ => match state.pool.equip(id, nics, wanted) {
            Ok(nics) => Ok((nics, None)),
            Err(NotGiven::Exhausted(room)) => Err(CommandError::AddressesExhausted { room }),
            Err(NotGiven::MacTaken { mac, holder }) => {
                let name = state.shared.view.vm(holder).map(|row| row.record.name.to_string());
                Err(CommandError::MacTaken { mac, holder: format!("the VM {}", name.unwrap_or_else(|| holder.to_string())) })
            }
            Err(NotGiven::MacOfHost { mac }) => Err(CommandError::MacTaken { mac, holder: "the host's bridge".to_owned() }),
        },
    }
}
