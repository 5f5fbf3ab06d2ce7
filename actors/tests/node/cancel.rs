//! Operations that are cancelled: what they did is undone, they end as cancelled, a crash in the middle changes neither; how far they are
//! is shown as they go; and the same command twice at once has one effect.

use crate::{
    gate::{self, At, Gate},
    lab::{self, Lab, ask, carry_out, ended, events, made, name, row, state, story, until, until_answered, until_state, vm, who},
    slow_store::SlowStore,
};
use actors::{
    CommandError, Node, Who,
    idempotency::{Idempotency, Outcome, Record, TABLE},
};
use domain::{
    OperationId,
    event::Kind,
    image::ImageKind,
    operation::{Amount, NotCancellable, Operation},
    vm::{Command, StopMode, actions::Refused},
};
use std::sync::Arc;

fn shown(node: &Node, id: Option<OperationId>) -> Arc<Operation> {
    node.view().operation(id.unwrap()).expect("the operation is known")
}

async fn cancel(node: &Node, id: Option<OperationId>) -> Result<Arc<Operation>, CommandError> {
    node.cancel(id.unwrap(), who()).await.map(|accepted| accepted.resource)
}

fn why(error: &CommandError) -> Option<NotCancellable> {
    match error {
        CommandError::NotCancellable(why)
        | CommandError::Vm(Refused::NotCancellable(why))
        | CommandError::Image(domain::image::Refused::NotCancellable(why)) => Some(*why),
        _ => None,
    }
}

/// Ended as cancelled, durably, and told once.
async fn is_cancelled(node: &Node, id: Option<OperationId>) {
    let operation = ended(node, id).await;
    assert_eq!(operation.status.as_str(), "cancelled", "{operation:?}");
    let kept = node.journal().get(storage::schema::OPERATIONS, &operation.id.to_string()).unwrap().unwrap();
    assert_eq!(storage::envelope::decode::<Operation>(&kept).unwrap(), *operation);
    let all = events(node.journal(), 0);
    let ends = all.iter().filter(|(_, event)| event.id == operation.id.to_string() && event.event != "operation-started");
    assert_eq!(ends.map(|(_, event)| event.event.as_str()).collect::<Vec<_>>(), ["operation-cancelled"]);
    assert_eq!(why(&cancel(node, id).await.unwrap_err()), Some(NotCancellable::Ended));
}

#[tokio::test]
async fn a_create_whose_disk_is_being_made_is_undone() {
    let lab = Lab::new();
    let gate = Gate::shut_at(At::PrepareDisk, lab.driver());
    let node = lab.start_with(gate.clone()).await;
    lab.add_images(&node).await;
    let accepted = node.create_vm(vm("a", true), who()).await.unwrap();
    let (id, operation) = (accepted.resource.id, accepted.operation);
    until("the disk is being made", || *gate.waiting.borrow() == 1).await;
    assert_eq!(node.cancellable(&shown(&node, operation)), Ok(()));
    let seen = cancel(&node, operation).await.unwrap();
    assert!(!seen.status.is_final(), "what is not undone yet is not told to be: {seen:?}");
    assert_eq!(node.cancellable(&shown(&node, operation)), Err(NotCancellable::Already));
    assert_eq!(why(&cancel(&node, operation).await.unwrap_err()), Some(NotCancellable::Already));
    gate.open();
    is_cancelled(&node, operation).await;
    assert!(node.view().vm(id).is_none() && node.journal().get(storage::schema::VMS, &id.to_string()).unwrap().is_none());
    until("all is given back", || node.held() == (0, 0)).await;
    assert!(!lab.dir.path().join("vms").join(id.to_string()).exists(), "its folder is gone");
    until_answered("the name is free", async || node.create_vm(vm("a", false), who()).await.ok()).await;
    node.stop().await;
}

#[tokio::test]
async fn a_start_is_taken_back_while_the_process_is_made() {
    let lab = Lab::new();
    let gate = Gate::shut(lab.driver());
    let node = lab.start_with(gate.clone()).await;
    lab.add_images(&node).await;
    let id = made(&node, "a", false).await;
    let operation = ask(&node, id, Command::Start).await.unwrap().operation;
    until("the process is being made", || *gate.waiting.borrow() == 1).await;
    cancel(&node, operation).await.unwrap();
    gate.open();
    is_cancelled(&node, operation).await;
    assert_eq!((state(&node, id), node.held()), ("stopped", (0, 0)));
    carry_out(&node, id, Command::Start).await;
    node.stop().await;
}

#[tokio::test]
async fn a_pause_is_turned_round() {
    let lab = Lab::new();
    let gate = Gate::shut_at(At::Pause, lab.driver());
    let node = lab.start_with(gate.clone()).await;
    lab.add_images(&node).await;
    let id = made(&node, "a", true).await;
    let operation = ask(&node, id, Command::Pause).await.unwrap().operation;
    until("it is being paused", || *gate.waiting.borrow() == 1).await;
    cancel(&node, operation).await.unwrap();
    gate.open();
    is_cancelled(&node, operation).await;
    assert_eq!(state(&node, id), "running");
    let machine = row(&node, id).record.state.machine().cloned().unwrap();
    let found = host::vmm::Vmm::inspect(gate.as_ref(), id, &machine).await.unwrap();
    assert_eq!(found, domain::vm::Inspection::Running, "and its machine runs too");
    node.stop().await;
}

#[tokio::test]
async fn a_stop_is_taken_back_as_long_as_the_guest_has_not_heard_of_it() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let id = made(&node, "a", true).await;
    // The guest's agent is there: it hears at once.
    let heard = made(&node, "b", true).await;
    let operation = ask(&node, heard, Command::Stop(StopMode::Graceful { deadline_ms: 60_000 })).await.unwrap().operation;
    let refused = cancel(&node, operation).await.map_err(|error| why(&error));
    assert!(
        matches!(refused, Err(Some(NotCancellable::GuestAsked | NotCancellable::MachineEnded | NotCancellable::Ended))),
        "{refused:?}"
    );
    node.stop().await;
    drop(node);

    let gate = Gate::shut_at(At::Guest, lab.driver());
    let node = lab.start_with(gate.clone()).await;
    until("nobody has reached the guest", || *gate.waiting.borrow() >= 1).await;
    let operation = ask(&node, id, lab::graceful()).await.unwrap().operation;
    assert_eq!((state(&node, id), node.cancellable(&shown(&node, operation))), ("stopping", Ok(())));
    let ended = cancel(&node, operation).await.unwrap();
    assert_eq!(ended.status.as_str(), "cancelled", "there was nothing to undo");
    is_cancelled(&node, operation).await;
    assert_eq!(state(&node, id), "running");
    gate.open();
    until_answered("the guest is there again", async || node.guest(id).await.ok()).await;
    assert_eq!(state(&node, id), "running", "it never heard of it");
    carry_out(&node, id, lab::graceful()).await;
    node.stop().await;
}

#[tokio::test]
async fn hearth_ends_in_the_middle_of_a_cancellation_and_goes_on_with_it() {
    for at in [At::PrepareDisk, At::Launch] {
        let lab = Lab::new();
        let gate = Gate::shut_at(at, lab.driver());
        let node = lab.start_with(gate.clone()).await;
        lab.add_images(&node).await;
        let accepted = node.create_vm(vm("a", true), who()).await.unwrap();
        until("the driver is asked", || *gate.waiting.borrow() == 1).await;
        cancel(&node, accepted.operation).await.unwrap();
        node.stop().await;
        drop((node, gate));

        let node = lab.start().await;
        is_cancelled(&node, accepted.operation).await;
        assert!(node.view().vm(accepted.resource.id).is_none());
        assert_eq!(node.held(), (0, 0));
        assert!(!lab.dir.path().join("vms").join(accepted.resource.id.to_string()).exists());
        node.stop().await;
    }
}

#[tokio::test]
async fn an_import_tells_how_far_it_is_and_is_given_up() {
    let lab = Lab::new();
    let store = SlowStore::shut(lab.store());
    let node = lab.start_on(lab.driver(), store.clone()).await;
    let (kernel, _) = lab.files();
    let accepted = node.create_image(lab::image("kernel", ImageKind::Kernel, &kernel), who()).await.unwrap();
    let operation = accepted.operation;
    let half = Amount { done_bytes: 500, total_bytes: 1000 };
    until("half of it is told", || shown(&node, operation).amount == Some(half)).await;
    assert_eq!(shown(&node, operation).progress, 52);
    assert_eq!(
        node.view().image(accepted.resource.id).unwrap().generation,
        accepted.resource.generation,
        "the image is as it was"
    );
    cancel(&node, operation).await.unwrap();
    is_cancelled(&node, operation).await;
    assert!(node.view().image(accepted.resource.id).is_none());
    assert!(!host::image::ImageStore::path(store.as_ref(), accepted.resource.id).exists());
    // Its name is free, and an import that is let through goes through.
    store.open();
    let again = until_answered("the name is free", async || {
        node.create_image(lab::image("kernel", ImageKind::Kernel, &kernel), who()).await.ok()
    })
    .await;
    lab::done(&node, again.operation).await;
    node.stop().await;
}

#[tokio::test]
async fn an_import_that_begins_again_does_not_count_back() {
    let lab = Lab::new();
    let node = lab.start_on(lab.driver(), SlowStore::shut(lab.store())).await;
    let (kernel, _) = lab.files();
    let accepted = node.create_image(lab::image("kernel", ImageKind::Kernel, &kernel), who()).await.unwrap();
    until("half of it is told", || shown(&node, accepted.operation).progress == 52).await;
    node.stop().await;
    drop(node);
    let store = SlowStore::shut(lab.store());
    let node = lab.start_on(lab.driver(), store.clone()).await;
    until("it is imported again", || *store.waiting.borrow() == 1).await;
    let seen = shown(&node, accepted.operation);
    assert_eq!((seen.progress, seen.amount.map(|amount| amount.done_bytes)), (52, Some(500)), "kept over the restart");
    cancel(&node, accepted.operation).await.unwrap();
    is_cancelled(&node, accepted.operation).await;
    node.stop().await;
}

#[tokio::test]
async fn a_cancellation_is_kept_for_its_key_and_has_a_condition() {
    let lab = Lab::new();
    let (gate, node, accepted) = gate::launching(&lab).await;
    let operation = accepted.operation;
    let current = shown(&node, operation).generation;
    let stale = Who { if_match: Some(domain::Generation(current.0 + 7).into()), ..who() };
    let answer = node.cancel(operation.unwrap(), stale).await;
    assert!(matches!(answer, Err(CommandError::Stale { current: told }) if told == current), "{answer:?}");
    let key = Idempotency { key: "once".into(), fingerprint: [3; 32] };
    node.cancel(operation.unwrap(), Who { if_match: Some(current.into()), idempotency: Some(key), ..who() }).await.unwrap();
    let bytes = node.journal().get(TABLE, "once").unwrap().expect("kept with the decision");
    let outcome = Outcome::Accepted { kind: Kind::Operation, id: operation.unwrap().to_string(), operation };
    assert_eq!(storage::envelope::decode::<Record>(&bytes).unwrap().outcome, outcome);
    gate.open();
    is_cancelled(&node, operation).await;
    node.stop().await;
}

#[tokio::test]
async fn of_many_same_commands_at_once_one_has_an_effect() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let id = made(&node, "a", false).await;
    let many = async |command: Command| {
        let answers = futures_util::future::join_all((0..16).map(|_| ask(&node, id, command.clone()))).await;
        let accepted: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()?.operation).collect();
        assert_eq!(accepted.len(), 1, "{command:?}: {answers:?}");
        assert!(answers.iter().all(|answer| matches!(answer, Ok(_) | Err(CommandError::Vm(_)))), "{answers:?}");
        lab::done(&node, Some(accepted[0])).await;
    };
    many(Command::Start).await;
    many(Command::Pause).await;
    many(Command::Resume).await;
    many(Command::Stop(StopMode::Force)).await;
    let told = story(node.journal(), id);
    for event in ["vm-starting", "vm-pausing", "vm-resuming", "vm-stopping", "vm-stopped"] {
        assert_eq!(told.iter().filter(|seen| *seen == event).count(), 1, "{event}: {told:?}");
    }
    let deletes = futures_util::future::join_all((0..16).map(|_| ask(&node, id, Command::Delete { force: true }))).await;
    assert_eq!(deletes.iter().filter(|answer| answer.is_ok()).count(), 1, "{deletes:?}");
    until_state(&node, id, "none").await;
    node.stop().await;
}

#[tokio::test]
async fn a_stopped_vm_is_deleted_on_a_full_host_too() {
    let lab = Lab { mem_mib: 200, ..Lab::new() };
    let node = lab.start_with_images().await;
    made(&node, "a", true).await;
    let stopped = made(&node, "b", false).await;
    carry_out(&node, stopped, Command::Delete { force: false }).await;
    assert_eq!(node.held(), (1, 128));
    assert!(node.view().find_vm(&name("default"), &name("b")).is_none());
    node.stop().await;
}
