//! Actors that fail, hang or wait: who is loaded again, who is set aside, and that the others notice nothing.

use crate::{
    gate,
    lab::{self, Lab, ask, carry_out, ended, made, row, state, story, until, until_answered, until_state, vm, who},
};
use actors::{ActorInfo, CommandError, Node};
use domain::{
    VmId,
    operation::Status,
    vm::{Change, Command, ReasonCode, StopMode},
};
use std::time::Duration;
use tokio::sync::watch;

async fn actor(node: &Node, id: VmId) -> ActorInfo {
    node.actor(&id.to_string()).expect("every VM has an actor")
}

/// Crashes it once its actor is there, and waits until it is counted and lives again.
async fn crash(node: &Node, id: VmId) {
    let before = actor(node, id).await.restarts;
    until_answered("there is an actor to crash", async || node.crash_vm_actor(id).ok()).await;
    until_answered("it is loaded again", async || {
        let now = actor(node, id).await;
        (now.restarts > before && now.state == "running").then_some(())
    })
    .await;
}

fn adoptions(node: &Node, id: VmId) -> usize {
    story(node.journal(), id).iter().filter(|event| *event == "vm-adopted").count()
}

#[tokio::test]
async fn a_panic_ends_one_actor_and_no_machine() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let (broken, other) = (made(&node, "a", true).await, made(&node, "b", true).await);
    let machine = row(&node, broken).record.state.machine().cloned();
    crash(&node, broken).await;
    until("it is adopted", || adoptions(&node, broken) == 1).await;
    assert_eq!(row(&node, broken).record.state.machine().cloned(), machine, "the same machine");
    until_answered("its guest is connected again", async || node.guest(broken).await.ok()).await;
    let seen = actor(&node, broken).await;
    assert!(seen.last_error.as_deref().is_some_and(|error| error.contains("told to")), "{seen:?}");
    assert_eq!((actor(&node, other).await.restarts, adoptions(&node, other)), (0, 0));
    assert_eq!(node.held(), (2, 256), "nothing is counted twice");
    carry_out(&node, broken, lab::graceful()).await;
    node.stop().await;
}

#[tokio::test]
async fn who_fails_six_times_is_set_aside_and_can_be_deleted() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let (broken, other) = (made(&node, "a", true).await, made(&node, "b", true).await);
    for _ in 0..5 {
        crash(&node, broken).await;
    }
    until_answered("there is an actor to crash", async || node.crash_vm_actor(broken).ok()).await;
    until_state(&node, broken, "failed").await;
    let reason = row(&node, broken).record.reason.clone().unwrap();
    assert_eq!(reason.code, ReasonCode::ActorFailed, "{reason:?}");
    assert_eq!(node.held(), (1, 128));
    assert_eq!(state(&node, other), "running");
    assert_eq!(actor(&node, other).await.restarts, 0);
    carry_out(&node, other, Command::Pause).await;
    let deleted =
        until_answered("it can be deleted", async || ask(&node, broken, Command::Delete { force: false }).await.ok()).await;
    lab::done(&node, deleted.operation).await;
    assert!(node.view().vm(broken).is_none());
    // Its name is free; what ran of it was ended.
    until_answered("the name is free", async || node.create_vm(vm("a", true), who()).await.ok()).await;
    node.stop().await;
}

#[tokio::test]
async fn a_supervisor_that_fails_comes_back_with_all_its_vms() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let mut ids = Vec::new();
    for called in ["a", "b", "c"] {
        ids.push(made(&node, called, called != "c").await);
    }
    node.crash_vms().unwrap();
    until("the running ones are adopted", || ids[..2].iter().all(|id| adoptions(&node, *id) == 1)).await;
    assert_eq!(state(&node, ids[2]), "created");
    let taken = until_answered("names are known", async || match node.create_vm(vm("a", false), who()).await {
        Err(CommandError::Restarting) => None,
        answer => Some(answer),
    })
    .await;
    assert!(matches!(taken, Err(CommandError::NameTaken { .. })), "{taken:?}");
    assert_eq!(node.held(), (2, 256));
    for id in ids {
        carry_out(&node, id, Command::Delete { force: true }).await;
    }
    assert_eq!((node.view().vm_count(), node.held()), (0, (0, 0)));
    node.stop().await;
}

#[tokio::test]
async fn a_launch_that_never_ends_blocks_nobody() {
    let lab = Lab::new();
    let (gate, node, accepted) = gate::launching(&lab).await;
    let id = accepted.resource.id;
    // The mailbox is free: an update is carried out, and so is a VM that needs no launch.
    let labels = [("while".to_owned(), "waiting".to_owned())].into();
    ask(&node, id, Command::Update(Change { labels: Some(Box::new(labels)), ..Change::default() })).await.unwrap();
    made(&node, "b", false).await;
    let stop = ask(&node, id, Command::Stop(StopMode::Force)).await.unwrap();
    assert_eq!(state(&node, id), "stopping");
    gate.open();
    lab::done(&node, stop.operation).await;
    assert!(matches!(&ended(&node, accepted.operation).await.status, Status::Failed(error) if error.code == "superseded"));
    assert_eq!((state(&node, id), node.held()), ("stopped", (0, 0)));
    node.stop().await;
}

#[tokio::test]
async fn an_actor_that_hangs_is_loaded_again() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let (stuck, other) = (made(&node, "a", true).await, made(&node, "b", true).await);
    node.hang_vm_actor(stuck).unwrap();
    until("the supervisor saw it", || adoptions(&node, stuck) == 1).await;
    carry_out(&node, stuck, Command::Pause).await;
    let told = actor(&node, stuck).await.last_error.unwrap_or_default();
    assert!(told.contains("stuck in a handler: the message hang since 12"), "what it did is told: {told}");
    assert_eq!((actor(&node, stuck).await.restarts, actor(&node, other).await.restarts), (1, 0));
    node.stop().await;
}

/// Actors that are killed in the middle of a commit: it may reach the disk all the same, and who is loaded again must know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_durable_is_lost_when_actors_are_killed_while_they_commit() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let mut ids = Vec::new();
    for n in 0..VMS_THAT_COMMIT {
        ids.push(made(&node, &format!("vm-{n}"), false).await);
    }
    let stop = watch::Sender::new(false);
    let writers: Vec<_> = ids.iter().map(|id| tokio::spawn(write(node.clone(), *id, stop.subscribe()))).collect();
    let creator = tokio::spawn(create_all_the_time(node.clone(), stop.subscribe()));
    for crash in 1..=CRASHES {
        node.crash_vms().unwrap();
        // What is told to one that is just dying is lost, and would count for nothing.
        let again = || node.actor("vms").is_some_and(|actor| actor.restarts == crash && actor.state == "running");
        until("the supervisor is started again", again).await;
        let before = node.journal().stats().commits;
        until("work goes on", || node.journal().stats().commits > before + 200).await;
    }
    stop.send_replace(true);
    let mut answered = Vec::new();
    for writer in writers {
        answered.push(writer.await.unwrap());
    }
    creator.await.unwrap();
    // The last VMs that were created still move by themselves, and a record is durable a moment before it is shown.
    let agrees = || {
        let stored = node.journal().load(storage::schema::VMS).unwrap().decode::<domain::vm::Vm>().good;
        let shown = |record: &domain::vm::Vm| node.view().vm(record.id).is_some_and(|row| *row.record == *record);
        stored.iter().all(|(_, record)| shown(record)) && node.view().vm_count() == stored.len()
    };
    until("what is shown is what is durable, and all of it", agrees).await;
    for (id, round) in ids.iter().zip(answered) {
        let found: u32 = row(&node, *id).record.labels["round"].parse().unwrap();
        assert!(found >= round, "{id}: round {round} was answered, {found} is there");
    }
    node.crash_vms().unwrap();
    let told = tokio::time::timeout(lab::SOON, node.failed()).await.expect("a supervisor that keeps failing ends the node");
    assert!(told.contains("Vms"), "{told}");
    node.stop().await;
}

const VMS_THAT_COMMIT: u32 = 24;
/// As many as a supervisor is allowed; the sixth ends the node.
const CRASHES: u32 = 5;

/// Updates one after the other until told to stop; gives the last that was answered.
async fn write(node: Node, id: VmId, mut stop: watch::Receiver<bool>) -> u32 {
    let (mut answered, mut round) = (0, 0);
    while !*stop.borrow_and_update() {
        round += 1;
        let labels = [("round".to_owned(), round.to_string())].into();
        match ask(&node, id, Command::Update(Change { labels: Some(Box::new(labels)), ..Change::default() })).await {
            Ok(_) => answered = round,
            // Nobody is there to answer: not again in the same moment.
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    answered
}

async fn create_all_the_time(node: Node, mut stop: watch::Receiver<bool>) {
    let mut n = 0;
    while !*stop.borrow_and_update() {
        n += 1;
        if node.create_vm(vm(&format!("new-{n}"), false), who()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
