//! Network interfaces: when they may change, and what follows.

use super::fixture::{machine, ticket, vm};
use crate::{
    Attempt, Timestamp,
    ipam::mac_of,
    vm::{Change, Command, Input, NetworksChange, Nic, Reason, ReasonCode, State, Vm, admit, invariant, nic::tap_of, step::step},
};
use std::net::Ipv4Addr;

fn nic(vm: &Vm, place: u8) -> Nic {
    let address = Ipv4Addr::new(10, 0, 0, place + 2);
    let tap = tap_of(vm.id, place.into());
    Nic { address, prefix: 24, gateway: Ipv4Addr::new(10, 0, 0, 1), mac: mac_of(address), tap }
}

fn to(vm: &Vm, count: u8) -> Command {
    let nics = (0..count).map(|place| nic(vm, place)).collect();
    let wanted = vec!["default".into(); count.into()];
    Command::Update(Change { networks: Some(Box::new(NetworksChange { wanted, nics, note: None })), ..Change::default() })
}

fn after(before: &Vm, command: Command) -> Vm {
    step(before, Input::Command { command, ticket: ticket(2) }, Timestamp(2)).unwrap().next.unwrap()
}

#[test]
fn they_change_while_no_machine_exists_and_the_record_follows() {
    let mut before = vm(State::Stopped);
    before.network_note = Some("no bridge".into());
    let two = after(&before, to(&before, 2));
    assert_eq!((two.spec.networks.len(), two.nics.len(), &two.network_note), (2, 2, &None));
    let none = after(&two, to(&two, 0));
    assert_eq!((none.spec.networks.len(), none.nics.len()), (0, 0));
    for (state, code) in [(State::Running(machine(Attempt(3))), "only-when-stopped"), (State::Deleting, "vm-deleting")] {
        before.state = state;
        assert_eq!(admit(&before, &to(&before, 1), None).unwrap_err().code(), code);
    }
}

/// What its last run left may use an address still: it would be given to another.
#[test]
fn they_stay_while_what_a_run_left_may_use_them() {
    let mut before = vm(State::Failed);
    assert_eq!(admit(&before, &to(&before, 1), None), Ok(()));
    for (code, refused, can_start) in [
        (ReasonCode::ActorFailed, "interfaces-in-use", true),
        (ReasonCode::CleanFailed, "interfaces-in-use", true),
        (ReasonCode::DeleteFailed, "vm-half-deleted", false),
    ] {
        before.reason = Some(Reason { code, detail: "seen".into() });
        assert_eq!(admit(&before, &to(&before, 1), None).unwrap_err().code(), refused);
        // What the refusal advises can be done.
        assert_eq!(admit(&before, &Command::Start, None).is_ok(), can_start, "{code:?}");
        assert_eq!(admit(&before, &Command::Delete { force: false }, None), Ok(()));
    }
}

#[test]
fn there_is_one_for_each_or_none_at_all() {
    let mut vm = vm(State::Stopped);
    vm.spec.networks = vec!["default".into(); 2];
    vm.nics = vec![nic(&vm, 0)];
    assert_eq!(invariant::check(&vm), Err(invariant::Broken::Network));
    vm.nics.push(nic(&vm, 1));
    assert_eq!(invariant::check(&vm), Ok(()));
    vm.network_note = Some("no bridge".into());
    assert_eq!(invariant::check(&vm), Err(invariant::Broken::Network));
    vm.nics.clear();
    assert_eq!(invariant::check(&vm), Ok(()));
    // None, and nobody says why.
    vm.network_note = None;
    assert_eq!(invariant::check(&vm), Err(invariant::Broken::Network));
    vm.spec.networks.clear();
    assert_eq!(invariant::check(&vm), Ok(()));
}
