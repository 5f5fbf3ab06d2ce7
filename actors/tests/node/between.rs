//! Actors that are killed when their decision is on the disk and nobody was told yet: who comes after them goes on from what is durable.

use crate::lab::{Lab, ask, carry_out, image, made, name, row, state, until, until_answered, vm, who};
use actors::{CommandError, ImageCommand, Node, faults::CommitGate};
use async_trait::async_trait;
use domain::{
    VmId,
    host::Command as HostCommand,
    image::ImageKind,
    operation::Status,
    vm::{Change, Command, ReasonCode, State, StopMode, Vm},
};
use std::{
    fmt::Display,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};
use storage::{Journal, envelope};
use tokio::sync::watch;

/// After the next commit nothing comes back, once.
struct Between {
    armed: AtomicBool,
    /// Not the next one, but that which stops this VM.
    stops: OnceLock<(Journal, VmId)>,
    hung: watch::Sender<u32>,
}

#[async_trait]
impl CommitGate for Between {
    async fn before(&self) -> Result<(), CommandError> {
        Ok(())
    }

    async fn after(&self) -> Result<(), CommandError> {
        let is_it = self.stops.get().is_none_or(|(journal, vm)| {
            let stored = journal.get(storage::schema::VMS, &vm.to_string()).unwrap().unwrap();
            envelope::decode::<Vm>(&stored).unwrap().state == State::Stopped
        });
        if is_it && self.armed.swap(false, Ordering::SeqCst) {
            self.hung.send_modify(|hung| *hung += 1);
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

impl Between {
    /// Lets what `asks` begins become durable, and kills `whose` actor there.
    async fn kill(&self, node: &Node, whose: impl Display, asks: impl Future<Output = ()> + Send + 'static) {
        let before = *self.hung.borrow();
        self.armed.store(true, Ordering::SeqCst);
        let asked = tokio::spawn(asks);
        until("it is durable", || *self.hung.borrow() > before).await;
        assert!(node.kill_actor(&whose.to_string()));
        // Who asked hears that nobody knows; or nothing, when there was nobody to tell.
        asked.abort();
    }
}

async fn started(lab: &Lab) -> (Arc<Between>, Node) {
    let gate = Arc::new(Between { armed: AtomicBool::new(false), stops: OnceLock::new(), hung: watch::Sender::new(0) });
    let parts = lab.parts(lab.driver(), Arc::new(lab.store()));
    let node = Node::start_with_gate(parts, gate.clone()).await.unwrap();
    (gate, node)
}

#[tokio::test]
async fn a_deletion_of_an_image_goes_on() {
    let lab = Lab::new();
    let (gate, node) = started(&lab).await;
    let (_, rootfs) = lab.add_images(&node).await;
    let asked = node.clone();
    gate.kill(&node, rootfs, async move { drop(asked.command_image(rootfs, ImageCommand::Delete, who()).await) }).await;
    until("the image is deleted", || node.view().image(rootfs).is_none()).await;
    until("every operation has ended", || all_ended(&node)).await;
    let (_, file) = lab.files();
    until_answered("the name is free", async || node.create_image(image("rootfs", ImageKind::Rootfs, &file), who()).await.ok())
        .await;
    node.stop().await;
}

#[tokio::test]
async fn an_image_that_is_not_shown_yet_is_imported() {
    for kills_the_supervisor in [true, false] {
        let lab = Lab::new();
        let (gate, node) = started(&lab).await;
        let (kernel, _) = lab.files();
        let (asked, new) = (node.clone(), image("kernel", ImageKind::Kernel, &kernel));
        let create = async move { drop(asked.create_image(new, who()).await) };
        gate.armed.store(true, Ordering::SeqCst);
        let asked = tokio::spawn(create);
        until("it is durable", || *gate.hung.borrow() == 1).await;
        let stored = node.journal().load(storage::schema::IMAGES).unwrap().decode::<domain::image::Image>().good;
        assert!(node.kill_actor(if kills_the_supervisor { "images" } else { &stored[0].0 }));
        asked.abort();
        let found = until_answered("it is there", async || node.view().find_image(&name("default"), &name("kernel"))).await;
        until("it is ready", || node.view().image(found).is_some_and(|image| image.state.name() == "ready")).await;
        let (operations, _) = node.view().operations(&actors::view::Page::first(10));
        let statuses: Vec<&Status> = operations.iter().map(|operation| &operation.status).collect();
        assert_eq!(statuses, [&Status::Succeeded], "its operation is known, and ends");
        let taken = node.create_image(image("kernel", ImageKind::Kernel, &kernel), who()).await;
        assert!(matches!(taken, Err(CommandError::NameTaken { .. })), "{taken:?}");
        node.stop().await;
    }
}

#[tokio::test]
async fn a_cordon_stays() {
    let lab = Lab::new();
    let (gate, node) = started(&lab).await;
    lab.add_images(&node).await;
    let (asked, host) = (node.clone(), node.host());
    gate.kill(&node, host, async move { drop(asked.command_host(host, HostCommand::Cordon, who()).await) }).await;
    let refused = until_answered("the host's actor is there again", async || match node.create_vm(vm("a", false), who()).await {
        Err(CommandError::HostCordoned) => Some(()),
        _ => None,
    });
    refused.await;
    node.stop().await;
}

#[tokio::test]
async fn a_vm_that_is_stopped_and_not_shown_so_holds_no_memory() {
    let lab = Lab::new();
    let (gate, node) = started(&lab).await;
    lab.add_images(&node).await;
    let id = made(&node, "a", true).await;
    assert_eq!(node.held(), (1, 128));
    assert!(gate.stops.set((node.journal().clone(), id)).is_ok());
    let asked = node.clone();
    gate.kill(&node, id, async move { drop(ask(&asked, id, Command::Stop(StopMode::Force)).await) }).await;
    until("it is shown as stopped", || state(&node, id) == "stopped").await;
    until("its memory is given back", || node.held() == (0, 0)).await;
    node.stop().await;
}

#[tokio::test]
async fn a_vm_that_is_not_shown_yet_is_made() {
    let lab = Lab::new();
    let (gate, node) = started(&lab).await;
    lab.add_images(&node).await;
    let asked = node.clone();
    gate.armed.store(true, Ordering::SeqCst);
    let create = tokio::spawn(async move { drop(asked.create_vm(vm("a", true), who()).await) });
    until("it is durable", || *gate.hung.borrow() == 1).await;
    let stored = node.journal().load(storage::schema::VMS).unwrap().decode::<domain::vm::Vm>().good;
    let id = stored[0].1.id;
    // It can't be loaded yet: until then nobody else may have what is its.
    node.refuse_start(&id.to_string(), true);
    assert!(node.kill_actor(&id.to_string()));
    create.abort();
    until("it was tried", || node.actor(&id.to_string()).is_some_and(|actor| actor.restarts >= 2)).await;
    let taken = node.create_vm(vm("a", false), who()).await;
    assert!(matches!(taken, Err(CommandError::NameTaken { .. })), "{taken:?}");
    assert_eq!(node.held(), (1, 128), "its memory is held");
    node.refuse_start(&id.to_string(), false);
    until("it runs", || node.view().vm(id).is_some_and(|row| row.record.state.name() == "running")).await;
    until("every operation has ended", || all_ended(&node)).await;
    let other = made(&node, "b", false).await;
    let address = |id| row(&node, id).record.nics.first().map(|nic| nic.address);
    assert_ne!(address(other), address(id), "its address is held");
    assert_eq!(node.held(), (1, 128));
    node.stop().await;
}

#[tokio::test]
async fn a_new_name_is_held_until_it_is_known_whether_it_was_taken() {
    let lab = Lab::new();
    let (gate, node) = started(&lab).await;
    lab.add_images(&node).await;
    let id = made(&node, "a", false).await;
    let asked = node.clone();
    let rename = Command::Update(Change { name: Some(name("b")), ..Change::default() });
    node.refuse_start(&id.to_string(), true);
    gate.kill(&node, id, async move { drop(ask(&asked, id, rename).await) }).await;
    until("it was tried", || node.actor(&id.to_string()).is_some_and(|actor| actor.restarts >= 2)).await;
    let taken = node.create_vm(vm("b", false), who()).await;
    assert!(matches!(taken, Err(CommandError::NameTaken { .. })), "{taken:?}");
    node.refuse_start(&id.to_string(), false);
    until("it is loaded", || row(&node, id).record.name == name("b")).await;
    // The name that it had is free.
    until_answered("the old name is free", async || node.create_vm(vm("a", false), who()).await.ok()).await;
    node.stop().await;
}

/// The sixth failure, and with it the quarantine, comes over a decision that was not shown.
#[tokio::test]
async fn who_is_set_aside_keeps_what_was_durable() {
    let lab = Lab::new();
    let (gate, node) = started(&lab).await;
    lab.add_images(&node).await;
    let id = made(&node, "a", false).await;
    for restarts in 1..=5 {
        assert!(node.kill_actor(&id.to_string()));
        until("it is loaded again", || {
            node.actor(&id.to_string()).is_some_and(|actor| actor.restarts == restarts && actor.state == "running")
        })
        .await;
    }
    let asked = node.clone();
    let labels = [("kept".to_owned(), "yes".to_owned())].into();
    let update = Command::Update(Change { labels: Some(Box::new(labels)), ..Change::default() });
    gate.kill(&node, id, async move { drop(ask(&asked, id, update).await) }).await;
    until("it is set aside", || state(&node, id) == "failed").await;
    let record = row(&node, id).record;
    assert_eq!(record.labels.get("kept").map(String::as_str), Some("yes"), "{record:?}");
    assert_eq!(record.reason.as_ref().map(|reason| reason.code), Some(ReasonCode::ActorFailed));
    carry_out(&node, id, Command::Delete { force: false }).await;
    node.stop().await;
}

fn all_ended(node: &Node) -> bool {
    let (operations, _) = node.view().operations(&actors::view::Page::first(1_000));
    operations.iter().all(|operation| operation.status.is_final())
}
