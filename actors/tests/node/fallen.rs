//! Supervisors that fall with their children, in whatever these were doing: each is there once again, goes on from what is durable, and
//! nothing is lost or done twice. And a webhook's actor that falls over what nobody was shown yet.

use crate::{
    gate::{At, Gate},
    lab::{self, Lab, ask, carry_out, events, image, made, row, state, story, until, until_answered, until_state, vm, who},
    slow_store::SlowStore,
};
use actors::{CommandError, Node, faults::CommitGate, view::Page};
use async_trait::async_trait;
use domain::{
    VmId, WebhookId,
    host::Command as HostCommand,
    image::ImageKind,
    operation::Status,
    vm::{Command, ReasonCode},
    webhook,
};
use std::{
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::watch;

fn lives(node: &Node, name: impl Display) -> bool {
    node.actor(&name.to_string()).is_some_and(|actor| actor.state == "running")
}

fn restarts(node: &Node, name: impl Display) -> u32 {
    node.actor(&name.to_string()).map_or(0, |actor| actor.restarts)
}

fn times(node: &Node, id: VmId, event: &str) -> usize {
    story(node.journal(), id).iter().filter(|told| *told == event).count()
}

/// Falls, and is back.
async fn fall(node: &Node, supervisor: &str) {
    let before = restarts(node, supervisor);
    assert!(node.kill_actor(supervisor));
    until(&format!("{supervisor} is back"), || lives(node, supervisor) && restarts(node, supervisor) == before + 1).await;
}

#[tokio::test]
async fn vms_go_on_whatever_their_actors_were_doing() {
    let lab = Lab::new();
    let gate = Gate::shut_at(At::Pause, lab.driver());
    let node = lab.start_with(gate.clone()).await;
    lab.add_images(&node).await;
    let (idle, failing, aside) =
        (made(&node, "idle", true).await, made(&node, "failing", true).await, made(&node, "aside", true).await);
    let (busy, stopped) = (made(&node, "busy", true).await, made(&node, "stopped", false).await);
    node.refuse_start(&aside.to_string(), true);
    node.crash_vm_actor(aside).unwrap();
    until_state(&node, aside, "failed").await;
    node.refuse_start(&aside.to_string(), false);
    let pause = ask(&node, busy, Command::Pause).await.unwrap();
    until("the driver is asked", || *gate.waiting.borrow() == 1).await;
    let machines: Vec<_> = [idle, failing, busy].map(|id| row(&node, id).record.state.machine().cloned()).into();
    // The supervisor falls with one that has just failed, and is owed a restart that nobody remembers.
    node.crash_vm_actor(failing).unwrap();
    until("it is to be restarted", || node.actor(&failing.to_string()).is_some_and(|actor| actor.state == "restarting")).await;
    node.crash_vms().unwrap();
    until("the supervisor is back", || lives(&node, "vms") && restarts(&node, "vms") == 1).await;
    for id in [idle, failing, aside, busy, stopped] {
        until(&format!("{id} has its actor"), || lives(&node, id)).await;
    }
    until("the driver is asked again", || *gate.waiting.borrow() == 2).await;
    gate.open();
    lab::done(&node, pause.operation).await;
    until("those that run are adopted", || [idle, failing].iter().all(|id| times(&node, *id, "vm-adopted") == 1)).await;
    assert_eq!([idle, failing, busy].map(|id| row(&node, id).record.state.machine().cloned()).to_vec(), machines);
    assert_eq!(
        [idle, failing, busy, stopped, aside].map(|id| state(&node, id)),
        ["running", "running", "paused", "created", "failed"]
    );
    assert_eq!(times(&node, busy, "vm-paused"), 1, "{:?}", story(node.journal(), busy));
    assert_eq!(row(&node, aside).record.reason.as_ref().map(|reason| reason.code), Some(ReasonCode::ActorFailed));
    assert_eq!(node.held(), (3, 3 * 128), "what is held is held once, and what was released stays so");
    for id in [idle, failing, aside, busy, stopped] {
        assert!(times(&node, id, "vm-started") <= 1, "{:?}", story(node.journal(), id));
        carry_out(&node, id, Command::Delete { force: true }).await;
    }
    assert_eq!((node.view().vm_count(), node.held()), (0, (0, 0)));
    node.stop().await;
}

/// Who asks for it while it waits for its turn has it at once, and its turn comes all the same.
#[tokio::test]
async fn a_supervisor_that_is_asked_for_while_it_waits_is_started_once() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let id = made(&node, "a", true).await;
    node.crash_vms().unwrap();
    until("it waits", || node.actor("vms").is_some_and(|actor| actor.state == "restarting")).await;
    node.restart_actor("vms").await.unwrap();
    until("it is back", || lives(&node, "vms") && lives(&node, id)).await;
    // The second wait of these is longer than the first of that: its turn has come by then.
    for _ in 0..2 {
        fall(&node, "images").await;
    }
    carry_out(&node, id, Command::Pause).await;
    assert_eq!(times(&node, id, "vm-adopted"), 1, "two actors own it: {:?}", story(node.journal(), id));
    assert_eq!(restarts(&node, "vms"), 1);
    node.stop().await;
}

#[tokio::test]
async fn an_import_goes_on_and_is_there_once() {
    let lab = Lab::new();
    let store = SlowStore::shut(lab.store());
    let node = lab.start_on(lab.driver(), store.clone()).await;
    let (kernel, _) = lab.files();
    let accepted = node.create_image(image("kernel", ImageKind::Kernel, &kernel), who()).await.unwrap();
    let id = accepted.resource.id;
    until("it is being imported", || *store.waiting.borrow() == 1).await;
    fall(&node, "images").await;
    until("it is being imported again", || *store.waiting.borrow() == 2).await;
    // And those who wait for its operation.
    let (asked, operation) = (node.clone(), accepted.operation.unwrap());
    let waits = tokio::spawn(async move { asked.wait(operation, lab::SOON).await });
    until("someone waits", || lives(&node, operation)).await;
    fall(&node, "operations").await;
    store.open();
    lab::done(&node, accepted.operation).await;
    let told = waits.await.unwrap().unwrap();
    assert!(
        matches!(told.status, Status::Running | Status::Succeeded),
        "how it was when its actor fell, or how it ended: {told:?}"
    );
    let told =
        events(node.journal(), 0).into_iter().filter(|(_, event)| event.id == id.to_string()).map(|(_, event)| event.event);
    assert_eq!(told.filter(|event| event == "image-ready").count(), 1);
    assert_eq!((node.view().images(&Page::first(9)).0.len(), *store.waiting.borrow()), (1, 2));
    node.stop().await;
}

#[tokio::test]
async fn a_host_stays_as_it_was() {
    let lab = Lab::new();
    let node = lab.start_with_images().await;
    let (id, host) = (made(&node, "a", true).await, node.host());
    node.command_host(host, HostCommand::Cordon, who()).await.unwrap();
    let before = node.view().host(host).unwrap();
    fall(&node, "hosts").await;
    until("it has its actor", || lives(&node, host)).await;
    assert_eq!(node.view().host(host).unwrap(), before);
    assert!(matches!(node.create_vm(vm("b", false), who()).await, Err(CommandError::HostCordoned)));
    node.command_host(host, HostCommand::Uncordon, who()).await.unwrap();
    made(&node, "b", true).await;
    assert_eq!((node.held(), times(&node, id, "vm-adopted")), ((2, 256), 0), "its VMs notice nothing");
    let registered = events(node.journal(), 0).into_iter().filter(|(_, event)| event.event == "host-registered").count();
    assert_eq!(registered, 1);
    node.stop().await;
}

/// After the next commit nothing comes back, once.
struct Between {
    armed: AtomicBool,
    hung: watch::Sender<bool>,
}

#[async_trait]
impl CommitGate for Between {
    async fn before(&self) -> Result<(), CommandError> {
        Ok(())
    }

    async fn after(&self) -> Result<(), CommandError> {
        if self.armed.swap(false, Ordering::SeqCst) {
            self.hung.send_replace(true);
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

fn durable(node: &Node) -> Vec<WebhookId> {
    let stored = node.journal().load(storage::schema::WEBHOOKS).unwrap();
    stored.decode::<webhook::Webhook>().good.into_iter().map(|(_, webhook)| webhook.id).collect()
}

fn shown(node: &Node) -> Vec<WebhookId> {
    node.view().webhooks(&Page::first(9)).0.iter().map(|webhook| webhook.id).collect()
}

/// Lets what `asks` begins become durable, and kills the actor of the one webhook, or its supervisor with it, before anybody is shown it.
async fn between(node: &Node, gate: &Between, with_supervisor: bool, asks: impl Future<Output = ()> + Send + 'static) {
    let before = (durable(node), restarts(node, "webhooks"));
    gate.armed.store(true, Ordering::SeqCst);
    let asked = tokio::spawn(asks);
    until("it is durable", || *gate.hung.borrow()).await;
    gate.hung.send_replace(false);
    let changed: Vec<WebhookId> = durable(node).into_iter().chain(before.0).collect();
    assert!(node.kill_actor(&if with_supervisor { "webhooks".to_owned() } else { changed[0].to_string() }));
    asked.abort();
    let back = u32::from(with_supervisor);
    until("the supervisor is there", || lives(node, "webhooks") && restarts(node, "webhooks") == before.1 + back).await;
}

#[tokio::test]
async fn a_webhook_is_what_is_durable_though_it_was_not_shown() {
    for with_supervisor in [true, false] {
        let lab = Lab::new();
        let gate = Arc::new(Between { armed: AtomicBool::new(false), hung: watch::Sender::new(false) });
        let node = Node::start_with_gate(lab.parts(lab.driver(), Arc::new(lab.store())), gate.clone()).await.unwrap();
        let asked = node.clone();
        between(&node, &gate, with_supervisor, async move { drop(asked.create_webhook(lab::webhook("w"), who()).await) }).await;
        until("it is shown", || !shown(&node).is_empty()).await;
        let [id] = durable(&node)[..] else { panic!("it is durable") };
        assert_eq!(shown(&node), [id]);
        until("it has its actor", || lives(&node, id)).await;
        let taken = node.create_webhook(lab::webhook("w"), who()).await;
        assert!(matches!(taken, Err(CommandError::NameTaken { .. })), "{taken:?}");
        let asked = node.clone();
        let delete = async move { drop(asked.command_webhook(id, webhook::Command::Delete, None, who()).await) };
        between(&node, &gate, with_supervisor, delete).await;
        assert!(durable(&node).is_empty());
        until("it is shown no more", || shown(&node).is_empty()).await;
        assert!(node.actor(&id.to_string()).is_none(), "nor in the tree");
        until_answered("its name is free", async || node.create_webhook(lab::webhook("w"), who()).await.ok()).await;
        node.stop().await;
    }
}
