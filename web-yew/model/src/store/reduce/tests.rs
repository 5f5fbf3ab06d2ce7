//! The reducer, by scenario.

use crate::resource::{Kind, Resource};
use crate::store::{Connection, EVENTS_AT_MOST, How, Msg, Page, Phase, Store};
use api::problem::Problem;
use api::v1::{Event, Vm};
use serde_json::json;

fn vm(id: &str, generation: u64, state: &str) -> Vm {
    serde_json::from_value(json!({
        "id": id, "name": id, "project": "default", "labels": {}, "generation": generation,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        "spec": {"vcpus": 1, "mem_mib": 128, "image": "busybox"},
        "status": {"state": state, "host": "a", "ips": [], "restarts": 0, "actions": [], "refused": {}},
    }))
    .expect("a VM")
}

fn event(cursor: u64, kind: &str, id: &str, event: &str) -> Msg {
    let event: Event = serde_json::from_value(json!({
        "cursor": cursor, "time": "2026-01-01T00:00:00Z", "kind": kind, "id": id, "name": id, "project": "default",
        "generation": 1, "type": event, "actor": "user:admin", "data": {},
    }))
    .expect("an event");
    Msg::Event(Box::new(event))
}

fn list(rows: Vec<Vm>) -> Msg {
    Msg::Vms(Page { rows, more: None, how: How::Replace })
}

fn reduced(msgs: Vec<Msg>) -> Store {
    let mut store = Store::default();
    msgs.into_iter().for_each(|msg| store.reduce(msg));
    store
}

fn states(store: &Store) -> Vec<(String, String)> {
    store.vms.rows().map(|vm| (vm.id.clone(), vm.state().to_owned())).collect()
}

#[test]
fn a_list_replaces_and_a_page_appends() {
    let mut store = reduced(vec![list(vec![vm("a", 1, "running"), vm("b", 1, "stopped")]), list(vec![vm("b", 1, "stopped")])]);
    assert_eq!(states(&store), [("b".into(), "stopped".into())]);
    store.reduce(Msg::Vms(Page { rows: vec![vm("c", 1, "created")], more: Some("next".into()), how: How::Append }));
    assert_eq!(store.vms.len(), 2);
    assert_eq!(store.vms.more.as_deref(), Some("next"));
}

#[test]
fn an_older_answer_never_wins() {
    let mut store = reduced(vec![Msg::Vm(Box::new(vm("a", 5, "running")))]);
    store.reduce(Msg::Vm(Box::new(vm("a", 4, "starting"))));
    store.reduce(list(vec![vm("a", 3, "created")]));
    assert_eq!(states(&store), [("a".into(), "running".into())]);
    store.reduce(Msg::Vm(Box::new(vm("a", 6, "stopping"))));
    assert_eq!(states(&store), [("a".into(), "stopping".into())]);
}

#[test]
fn the_deleted_do_not_come_back() {
    let mut store = reduced(vec![list(vec![vm("a", 1, "stopped")]), event(7, "vm", "a", "vm-deleted")]);
    assert!(store.vms.is_empty());
    store.reduce(Msg::Vm(Box::new(vm("a", 2, "deleting"))));
    store.reduce(list(vec![vm("a", 2, "deleting"), vm("b", 1, "running")]));
    assert_eq!(states(&store), [("b".into(), "running".into())]);
}

#[test]
fn old_rows_stay_beside_a_new_error() {
    let problem = Problem { code: "unreachable".into(), ..Problem::default() };
    let mut store = reduced(vec![list(vec![vm("a", 1, "running")]), Msg::ListStarted(Kind::Vm)]);
    assert_eq!(store.vms.phase, Phase::Loading);
    store.reduce(Msg::ListFailed(Kind::Vm, problem.clone()));
    assert_eq!((store.vms.len(), store.vms.error.clone()), (1, Some(problem)));
    store.reduce(Msg::Connection(Connection::Lost { attempt: 1 }));
    assert_eq!(store.vms.len(), 1);
    store.reduce(list(vec![]));
    assert_eq!((store.vms.len(), store.vms.error.clone(), store.vms.pending()), (0, None, false));
}

#[test]
fn events_are_numbered_once_and_bounded() {
    let mut store = reduced(vec![event(10, "vm", "a", "vm-started"), event(10, "vm", "a", "vm-started")]);
    assert_eq!((store.events.len(), store.cursor), (1, Some(10)));
    for cursor in 11..11 + EVENTS_AT_MOST as u64 {
        store.reduce(event(cursor, "vm", "a", "vm-started"));
    }
    assert_eq!(store.events.len(), EVENTS_AT_MOST);
    assert_eq!(store.events.front().map(|e| e.cursor), Some(11));
    // The server's numbering began anew.
    store.reduce(event(3, "stream", "", "resync"));
    store.reduce(event(4, "vm", "a", "vm-started"));
    assert_eq!(store.cursor, Some(4));
}

#[test]
fn an_unchanged_row_is_the_same_row() {
    let mut store = reduced(vec![list(vec![vm("a", 1, "running")])]);
    let before = store.vms.get("a").cloned();
    store.reduce(list(vec![vm("a", 1, "running")]));
    assert_eq!(store.vms.get("a").cloned(), before);
}

#[test]
fn a_vm_is_found_by_name_too() {
    let mut named = vm("vm_1", 1, "running");
    named.name = "demo".into();
    let store = reduced(vec![Msg::Vm(Box::new(named))]);
    assert_eq!(store.vms.find("demo").map(|vm| vm.id.as_str()), Some("vm_1"));
    assert!(store.vms.find("nobody").is_none());
}
