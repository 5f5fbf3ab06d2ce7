//! What commands do to VMs and images, through the node: lives, names, conditions, capacity, addresses, repeated requests.

use crate::lab::{self, Lab, ask, carry_out, done, graceful, made, name, row, state, story, until, vm, who};
use actors::{
    CommandError, ImageCommand, Who,
    idempotency::{Idempotency, Outcome, Record, TABLE},
};
use domain::{
    Generation, Labels, OperationId,
    vm::{Change, Command, StopMode},
};
use std::time::Duration;

fn rename(to: &str) -> Command {
    Command::Update(Change { name: Some(name(to)), ..Change::default() })
}

#[tokio::test]
async fn a_vm_lives_and_its_events_tell_it() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let id = made(&node, "a", true).await;
    assert_eq!(node.held(), (1, 128));
    assert!(node.guest(id).await.is_ok());
    carry_out(&node, id, Command::Pause).await;
    carry_out(&node, id, Command::Resume).await;
    carry_out(&node, id, graceful()).await;
    assert_eq!((state(&node, id), node.held()), ("stopped", (0, 0)));
    assert!(matches!(node.guest(id).await, Err(CommandError::Vm(_))), "a stopped VM has no guest");
    carry_out(&node, id, Command::Start).await;
    let refused = ask(&node, id, Command::Delete { force: false }).await;
    assert!(matches!(refused, Err(CommandError::Vm(_))), "a running VM is not deleted without force");
    carry_out(&node, id, Command::Delete { force: true }).await;
    assert!(node.view().vm(id).is_none());
    assert!(node.journal().get("vms", &id.to_string()).unwrap().is_none());
    assert_eq!(node.held(), (0, 0));
    let story = story(node.journal(), id);
    let told: Vec<&str> = story.iter().map(String::as_str).collect();
    let positions = ["vm-created", "vm-starting", "vm-started", "vm-paused", "vm-resumed", "vm-stopped", "vm-deleted"]
        .map(|wanted| told.iter().position(|event| *event == wanted).unwrap_or_else(|| panic!("{wanted} in {told:?}")));
    assert!(positions.is_sorted(), "{told:?}");
    assert_eq!(told.iter().filter(|event| **event == "vm-started").count(), 2, "{told:?}");
    node.stop().await;
}

#[tokio::test]
async fn a_name_belongs_to_one_and_is_free_after_a_rename_or_a_deletion() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let first = made(&node, "a", false).await;
    let taken = node.create_vm(vm("a", false), who()).await;
    assert!(matches!(taken, Err(CommandError::NameTaken { .. })), "{taken:?}");
    carry_out_rename(&node, first, "b").await;
    let second = made(&node, "a", false).await;
    assert!(matches!(ask(&node, second, rename("b")).await, Err(CommandError::NameTaken { .. })));
    assert_eq!(node.view().find_vm(&name("default"), &name("b")), Some(first));
    assert_eq!(node.view().find_vm(&name("default"), &name("a")), Some(second));
    carry_out(&node, first, Command::Delete { force: false }).await;
    carry_out_rename(&node, second, "b").await;
    made(&node, "a", false).await;
    node.stop().await;
}

/// An update has no operation: it is done with its answer.
async fn carry_out_rename(node: &actors::Node, id: domain::VmId, to: &str) {
    let accepted = ask(node, id, rename(to)).await.unwrap();
    assert_eq!((accepted.operation, accepted.resource.name.as_str()), (None, to));
}

#[tokio::test]
async fn of_many_who_want_a_name_at_once_one_gets_it() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let tries = (0..32).map(|_| node.create_vm(vm("a", false), who()));
    let answers = futures_util::future::join_all(tries).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let refused = answers.iter().filter(|answer| matches!(answer, Err(CommandError::NameTaken { .. }))).count();
    assert_eq!((refused, node.view().vm_count()), (31, 1));
    node.stop().await;
}

#[tokio::test]
async fn a_stale_or_refused_command_changes_nothing() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let id = made(&node, "a", false).await;
    let before = (row(&node, id).record, node.journal().latest());
    let stale = Who { if_match: Some(Generation(before.0.generation.0 + 1).into()), ..who() };
    let answer = node.command_vm(id, rename("b"), stale).await;
    assert!(matches!(answer, Err(CommandError::Stale { current }) if current == before.0.generation), "{answer:?}");
    assert!(matches!(ask(&node, id, Command::Pause).await, Err(CommandError::Vm(_))));
    let bad = Command::Update(Change { vcpus: Some(0), ..Change::default() });
    assert!(matches!(ask(&node, id, bad).await, Err(CommandError::Invalid(_))));
    let unknown = domain::VmId::from_bits(1);
    assert!(matches!(ask(&node, unknown, Command::Start).await, Err(CommandError::NotFound { .. })));
    assert_eq!((row(&node, id).record, node.journal().latest()), before);
    // The name that was held for the stale rename is free again.
    made(&node, "b", false).await;
    let fresh = Who { if_match: Some(before.0.generation.into()), ..who() };
    assert!(node.command_vm(id, rename("c"), fresh).await.is_ok());
    node.stop().await;
}

#[tokio::test]
async fn an_image_in_use_is_not_deleted() {
    let lab = Lab::new();
    let node = lab.start().await;
    let (_, rootfs) = lab.add_images(&node).await;
    let id = made(&node, "a", false).await;
    assert_eq!(node.users_of(rootfs, 10), (1, vec![id]));
    let used = node.command_image(rootfs, ImageCommand::Delete, who()).await;
    assert!(matches!(used, Err(CommandError::Image(domain::image::Refused::InUse))), "{used:?}");
    // Refused means as before: VMs boot from it.
    let other = made(&node, "b", true).await;
    for id in [id, other] {
        carry_out(&node, id, Command::Delete { force: true }).await;
    }
    until("nobody uses the image", || node.users_of(rootfs, 1).0 == 0).await;
    let accepted = node.command_image(rootfs, ImageCommand::Delete, who()).await.unwrap();
    done(&node, accepted.operation).await;
    assert!(node.view().image(rootfs).is_none());
    let gone = node.create_vm(vm("c", false), who()).await;
    assert!(matches!(gone, Err(CommandError::UnknownImage { .. })), "{gone:?}");
    node.stop().await;
}

#[tokio::test]
async fn capacity_is_refused_and_given_back() {
    let lab = Lab { mem_mib: 300, ..Lab::new() };
    let node = lab.start_with_images().await;
    let (first, _second) = (made(&node, "a", true).await, made(&node, "b", true).await);
    let full = node.create_vm(vm("c", true), who()).await;
    assert!(matches!(full, Err(CommandError::NoCapacity(_))), "{full:?}");
    assert_eq!((node.view().vm_count(), node.held().1), (2, 256), "a refusal leaves nothing");
    // One that does not run needs no room, and its name was not kept by the refusal.
    let third = lab::until_answered("the refused name is free", async || match node.create_vm(vm("c", false), who()).await {
        Err(CommandError::NameTaken { .. }) => None,
        created => Some(created.unwrap()),
    })
    .await;
    done(&node, third.operation).await;
    let third = third.resource.id;
    assert!(matches!(ask(&node, third, Command::Start).await, Err(CommandError::NoCapacity(_))));
    assert_eq!(state(&node, third), "created");
    carry_out(&node, first, Command::Stop(StopMode::Force)).await;
    carry_out(&node, third, Command::Start).await;
    let impossible = Command::Update(Change { mem_mib: Some(1), ..Change::default() });
    assert!(matches!(ask(&node, first, impossible).await, Err(CommandError::Invalid(_))));
    assert_eq!(node.held(), (2, 256));
    node.stop().await;
}

/// What a running VM is given it holds until its next launch, for its guest may keep it.
#[tokio::test]
async fn memory_that_a_running_vm_is_given_is_held() {
    let lab = Lab { mem_mib: 600, ..Lab::new() };
    let node = lab.start_with_images().await;
    let mut roomy = vm("a", true);
    roomy.spec.devices.mem_max_mib = Some(601);
    let larger = node.create_vm(roomy.clone(), who()).await;
    assert!(matches!(&larger, Err(CommandError::Invalid(problems)) if problems[0].field == "spec.mem_max_mib"), "{larger:?}");
    roomy.spec.devices.mem_max_mib = Some(512);
    let accepted =
        lab::until_answered("the refused name is free", async || node.create_vm(roomy.clone(), who()).await.ok()).await;
    done(&node, accepted.operation).await;
    let (id, _other) = (accepted.resource.id, made(&node, "b", true).await);
    let memory = |mem_mib| Command::Update(Change { mem_mib: Some(mem_mib), ..Change::default() });
    assert_eq!(node.held().1, 256);
    let full = ask(&node, id, memory(500)).await;
    assert!(matches!(full, Err(CommandError::NoCapacity(_))), "{full:?}");
    assert_eq!((node.held().1, row(&node, id).record.spec.mem_mib), (256, 128), "a refusal leaves nothing");
    let beyond = ask(&node, id, memory(513)).await;
    assert!(matches!(beyond, Err(CommandError::Invalid(_))), "{beyond:?}");
    for (mem_mib, held) in [(400, 528), (200, 528), (300, 528)] {
        ask(&node, id, memory(mem_mib)).await.unwrap();
        assert_eq!(node.held().1, held, "{mem_mib}");
    }
    carry_out(&node, id, Command::Reboot(StopMode::Force)).await;
    assert_eq!(node.held().1, 428, "it began anew with what it was to have");
    carry_out(&node, id, Command::Stop(StopMode::Force)).await;
    assert_eq!(node.held().1, 128);
    node.stop().await;
}

#[tokio::test]
async fn addresses_are_unique_and_given_back() {
    // Room for five: eight less network, gateway and broadcast.
    let lab = Lab { subnet: "10.77.0.0/29", ..Lab::new() };
    let node = lab.start_with_images().await;
    let mut ids = Vec::new();
    for called in ["a", "b", "c", "d", "e"] {
        ids.push(made(&node, called, false).await);
    }
    let mut addresses: Vec<_> = ids.iter().map(|id| row(&node, *id).record.nics[0].address).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 5);
    let full = node.create_vm(vm("f", false), who()).await;
    assert!(matches!(full, Err(CommandError::AddressesExhausted { room: 5 })), "{full:?}");
    carry_out(&node, ids[2], Command::Delete { force: false }).await;
    lab::until_answered("the address is free again", async || node.create_vm(vm("f", false), who()).await.ok()).await;
    node.stop().await;
}

#[tokio::test]
async fn a_wait_ends_with_the_operation_or_with_the_time() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    assert!(node.wait(OperationId::from_bits(1), Duration::from_secs(1)).await.is_none());
    let accepted = node.create_vm(vm("a", true), who()).await.unwrap();
    let waits = (0..8).map(|_| lab::ended(&node, accepted.operation));
    for operation in futures_util::future::join_all(waits).await {
        assert_eq!((operation.progress, operation.status.as_str()), (100, "succeeded"));
    }
    assert!(node.wait(accepted.operation.unwrap(), Duration::ZERO).await.is_some());
    node.stop().await;
}

#[tokio::test]
async fn the_answer_to_a_key_is_in_the_batch_of_its_command() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let keyed = |key: &str| Who { idempotency: Some(Idempotency { key: key.into(), fingerprint: [7; 32] }), ..who() };
    let before = node.journal().stats().commits;
    let mut unstarted = vm("a", false);
    unstarted.labels = Labels::from([("k".to_owned(), "v".to_owned())]);
    let accepted = node.create_vm(unstarted, keyed("first")).await.unwrap();
    let bytes = node.journal().get(TABLE, "first").unwrap().expect("kept as soon as the command is accepted");
    let record: Record = storage::envelope::decode(&bytes).unwrap();
    let id = accepted.resource.id;
    let outcome = Outcome::Accepted { kind: domain::event::Kind::Vm, id: id.to_string(), operation: accepted.operation };
    assert_eq!((record.fingerprint, record.outcome), ([7; 32], outcome));
    done(&node, accepted.operation).await;
    // Two commits in all, the creation with its key and the disk: the key cost none of its own.
    assert_eq!(node.journal().stats().commits - before, 2);
    let refused = node.command_vm(id, Command::Pause, keyed("second")).await;
    assert!(matches!(refused, Err(CommandError::Vm(_))));
    assert!(node.journal().get(TABLE, "second").unwrap().is_none(), "what was refused here is the edge's to keep");
    node.stop().await;
}

#[tokio::test]
async fn too_many_ended_operations_are_forgotten_after_a_start_too() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    for called in ["a", "b", "c", "d"] {
        made(&node, called, false).await;
    }
    node.stop().await;
    drop(node);
    let few = actors::operation::KeepEnded { newest: 2, at_once: 1 };
    let parts = lab.parts(lab.driver(), std::sync::Arc::new(lab.store()));
    let node = actors::Node::start_keeping(parts, few).await.unwrap();
    let kept = || node.journal().load(storage::schema::OPERATIONS).unwrap().into_iter().count();
    // Nothing ends any more: who looks for stalls does it.
    until("the oldest are forgotten", || kept() <= 2).await;
    assert_eq!((kept(), node.view().operations(&actors::view::Page::first(10)).0.len()), (2, 2));
    node.stop().await;
}
