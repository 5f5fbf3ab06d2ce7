//! Children that can't be started or keep failing, of every kind: their supervisor lives, the others notice nothing, they are shown with the
//! reason, and come back when someone asks. And what the tree tells of those that live.

use crate::{
    gate,
    lab::{self, Lab, ask, carry_out, ended, made, row, state, story, until, until_answered, until_state, vm, who},
    slow_store::SlowStore,
};
use actors::{ActorInfo, CommandError, ImageCommand, Node, TreeQuery};
use domain::{
    image::ImageKind,
    operation::Status,
    vm::{Command, ReasonCode},
};
use std::{fmt::Display, time::Duration};

fn actor(node: &Node, name: impl Display) -> ActorInfo {
    node.actor(&name.to_string()).unwrap_or_else(|| panic!("{name} is in the tree"))
}

fn page(node: &Node, query: TreeQuery) -> (Vec<String>, Option<String>) {
    let tree = node.tree(&query);
    (tree.actors.into_iter().map(|actor| actor.name).collect(), tree.next)
}

fn usual() -> TreeQuery {
    TreeQuery { all: false, kind: None, limit: 100, after: None }
}

async fn until_quarantined(node: &Node, name: impl Display) {
    until(&format!("{name} is set aside"), || actor(node, &name).state == "quarantined").await;
}

#[tokio::test]
async fn a_vm_whose_actor_cannot_start_is_set_aside_and_comes_back_for_a_command() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let (broken, other) = (made(&node, "a", true).await, made(&node, "b", true).await);
    node.refuse_start(&broken.to_string(), true);
    node.crash_vm_actor(broken).unwrap();
    until_quarantined(&node, broken).await;
    let seen = actor(&node, broken);
    assert_eq!(seen.restarts, 5);
    assert!(seen.last_error.as_deref().is_some_and(|error| error.contains("told not to start")), "{seen:?}");
    until_state(&node, broken, "failed").await;
    assert_eq!(row(&node, broken).record.reason.as_ref().map(|reason| reason.code), Some(ReasonCode::ActorFailed));
    assert_eq!((actor(&node, "vms").restarts, actor(&node, other).restarts, state(&node, other)), (0, 0, "running"));
    carry_out(&node, other, Command::Pause).await;

    let refused = ask(&node, broken, Command::Start).await;
    assert!(matches!(&refused, Err(CommandError::SetAside { reason }) if reason.contains("told not to")), "{refused:?}");
    node.refuse_start(&broken.to_string(), false);
    let start = until_answered("it is started for a command", async || ask(&node, broken, Command::Start).await.ok()).await;
    lab::done(&node, start.operation).await;
    assert_eq!((state(&node, broken), actor(&node, broken).state), ("running", "running"));
    node.stop().await;
}

#[tokio::test]
async fn a_new_vm_whose_actor_cannot_start_is_refused_and_leaves_nothing() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    node.refuse_start("*", true);
    let refused = node.create_vm(vm("a", true), who()).await;
    assert!(matches!(refused, Err(CommandError::Restarting)), "{refused:?}");
    assert_eq!((actor(&node, "vms").restarts, node.view().vm_count(), node.held()), (0, 0, (0, 0)));
    node.refuse_start("*", false);
    made(&node, "a", true).await;
    node.stop().await;
}

#[tokio::test]
async fn an_image_whose_actor_cannot_start_is_set_aside_and_its_operation_ends() {
    let lab = Lab::new();
    let store = SlowStore::shut(lab.store());
    let node = lab.start_on(lab.driver(), store.clone()).await;
    let (kernel, _) = lab.files();
    let accepted = node.create_image(lab::image("kernel", ImageKind::Kernel, &kernel), who()).await.unwrap();
    let id = accepted.resource.id;
    until("it is being imported", || *store.waiting.borrow() == 1).await;
    assert_eq!(actor(&node, id).effect.map(|effect| effect.what), Some("import"));
    node.refuse_start(&id.to_string(), true);
    node.crash_image_actor(id);
    until_quarantined(&node, id).await;
    let operation = ended(&node, accepted.operation).await;
    assert!(matches!(&operation.status, Status::Failed(error) if error.code == "actor-failed"), "{operation:?}");
    assert_eq!((node.view().image(id).unwrap().state.name(), actor(&node, "images").restarts), ("failed", 0));
    let refused = node.command_image(id, ImageCommand::Delete, who()).await;
    assert!(matches!(refused, Err(CommandError::SetAside { .. })), "{refused:?}");
    node.refuse_start(&id.to_string(), false);
    let deleted =
        until_answered("it can be deleted", async || node.command_image(id, ImageCommand::Delete, who()).await.ok()).await;
    lab::done(&node, deleted.operation).await;
    node.stop().await;
}

#[tokio::test]
async fn a_host_that_is_set_aside_ends_no_vm_and_no_node() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let id = made(&node, "a", true).await;
    let host = node.host();
    node.refuse_start(&host.to_string(), true);
    node.restart_actor(&host.to_string()).await.unwrap();
    until_quarantined(&node, host).await;
    assert_eq!((actor(&node, "hosts").restarts, actor(&node, "hosts").state), (0, "running"));
    carry_out(&node, id, Command::Pause).await;
    made(&node, "b", true).await;
    let cordon = || node.command_host(host, domain::host::Command::Cordon, who());
    assert!(matches!(cordon().await, Err(CommandError::SetAside { .. })));
    node.refuse_start(&host.to_string(), false);
    let back = until_answered("it is back", async || cordon().await.ok()).await;
    assert!(back.cordoned);
    assert_eq!(actor(&node, host).state, "running");
    assert!(tokio::time::timeout(Duration::ZERO, node.failed()).await.is_err(), "the node goes on");
    node.stop().await;
}

#[tokio::test]
async fn an_operation_whose_actor_cannot_start_is_answered_as_it_is() {
    let lab = Lab::new();
    let store = SlowStore::shut(lab.store());
    let node = lab.start_on(lab.driver(), store.clone()).await;
    let (kernel, _) = lab.files();
    let operation = node.create_image(lab::image("kernel", ImageKind::Kernel, &kernel), who()).await.unwrap().operation.unwrap();
    let waiter = tokio::spawn({
        let node = node.clone();
        async move { node.wait(operation, lab::SOON).await }
    });
    until("someone waits, so it has an actor", || node.actor(&operation.to_string()).is_some()).await;
    node.refuse_start(&operation.to_string(), true);
    node.restart_actor(&operation.to_string()).await.unwrap();
    for _ in 0..7 {
        let seen = node.wait(operation, lab::SOON).await.unwrap();
        assert_eq!(seen.status, Status::Running, "nobody hangs over it");
    }
    assert_eq!(waiter.await.unwrap().unwrap().status, Status::Running, "who waited is told how it is");
    until_quarantined(&node, operation).await;
    assert_eq!(actor(&node, "operations").restarts, 0);
    node.refuse_start(&operation.to_string(), false);
    node.restart_actor(&operation.to_string()).await.unwrap();
    until("it has an actor again", || actor(&node, operation).state == "running").await;
    store.open();
    lab::done(&node, Some(operation)).await;
    until("its actor went with it", || node.actor(&operation.to_string()).is_none()).await;
    node.stop().await;
}

#[tokio::test]
async fn a_supervisor_that_is_stuck_is_started_again_with_all_its_children() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let id = made(&node, "a", true).await;
    node.hang_vms().unwrap();
    until("the tree shows it", || actor(&node, "vms").state == "stalled").await;
    until("the root saw it", || actor(&node, "vms").restarts == 1 && actor(&node, "vms").state == "running").await;
    let told = actor(&node, "vms").last_error.unwrap();
    assert!(told.contains("the message hang"), "{told}");
    until("its VM is adopted", || story(node.journal(), id).iter().any(|event| event == "vm-adopted")).await;
    carry_out(&node, id, Command::Pause).await;
    node.stop().await;
}

#[tokio::test]
async fn who_is_asked_to_is_started_again() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let id = made(&node, "a", true).await;
    for name in ["vms", "images", "hosts", "operations", &id.to_string()] {
        let before = actor(&node, name).restarts;
        node.restart_actor(name).await.unwrap();
        until(&format!("{name} is back"), || actor(&node, name).state == "running" && actor(&node, name).restarts > before).await;
        assert!(actor(&node, name).last_error.is_some_and(|error| error.contains("on request")));
        if name == "vms" {
            until("its VM has an actor", || node.actor(&id.to_string()).is_some_and(|actor| actor.state == "running")).await;
        }
    }
    for unknown in ["node", "nobody", "vm_01m8518g4mpkj1h161k98z9qj8"] {
        assert!(matches!(node.restart_actor(unknown).await, Err(CommandError::NoActor { .. })), "{unknown}");
    }
    until_answered("it can be paused", async || ask(&node, id, Command::Pause).await.ok()).await;
    until_state(&node, id, "paused").await;
    node.stop().await;
}

#[tokio::test]
async fn the_tree_tells_what_each_does_and_how_much_waits() {
    let lab = Lab::new();
    let (gate, node, accepted) = gate::launching(&lab).await;
    let id = accepted.resource.id;
    until("it is told", || actor(&node, id).effect.is_some_and(|effect| effect.what == "launch")).await;
    gate.open();
    lab::done(&node, accepted.operation).await;
    until("it does nothing", || actor(&node, id).effect.is_none() && actor(&node, id).message.is_none()).await;

    node.hang_vm_actor_since(id, Duration::ZERO).unwrap();
    until("it hangs", || actor(&node, id).message.is_some_and(|message| message.what == "hang")).await;
    let asked: Vec<_> = (0..5)
        .map(|_| {
            let node = node.clone();
            tokio::spawn(async move { ask(&node, id, Command::Pause).await })
        })
        .collect();
    until("five wait", || actor(&node, id).mailbox == 5).await;
    for task in asked {
        task.abort();
    }
    node.stop().await;
}

#[tokio::test]
async fn the_tree_lists_the_unusual_and_pages_the_rest() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(made(&node, &format!("vm-{n}"), false).await.to_string());
    }
    let above = ["node", "operations", "hosts", "images", "vms", "webhooks"];
    until("nobody is unusual", || page(&node, usual()).0 == above).await;
    let vms = node.tree(&usual()).kinds.into_iter().find(|kind| kind.kind == "vms").unwrap();
    assert_eq!((vms.actors, vms.quarantined), (5, 0));
    node.restart_actor(&ids[2]).await.unwrap();
    until("who was restarted is listed", || page(&node, usual()).0.contains(&ids[2])).await;

    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let (mut names, next) = page(&node, TreeQuery { all: true, kind: Some("vms".to_owned()), limit: 2, after });
        names.retain(|name| !above.contains(&name.as_str()));
        assert!(names.len() <= 2);
        seen.extend(names);
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, ids, "each once, in order");
    let (all, _) = page(&node, TreeQuery { all: true, ..usual() });
    assert_eq!(all.len(), above.len() + 1 + 2 + 5, "one host, two images, five VMs");
    node.stop().await;
}
