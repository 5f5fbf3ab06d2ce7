//! Nobody is answered before the journal has settled: not that it was done, and not that it may have been. A commit that fails leaves
//! nothing behind. One table of commands of every kind, held at the one place where decisions become durable.

use crate::lab::{self, Lab, image, made, name, until, vm, who};
use actors::{CommandError, ImageCommand, Node, faults::CommitGate};
use async_trait::async_trait;
use domain::{
    HostId, Labels,
    host::Command as HostCommand,
    image::ImageKind,
    vm::{Change, Command},
    webhook,
};
use host::secret::FileSecrets;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing is on the disk; then it is, or never will be.
    Before { fails: bool },
    /// It is on the disk, and nobody knows.
    After,
}

/// Holds the next commit at a place, and who wants to know whether the journal has settled.
struct Hold {
    next: Mutex<Option<Place>>,
    settling: AtomicBool,
    held: watch::Sender<u32>,
    passes: Semaphore,
}

impl Hold {
    async fn here(&self) {
        self.held.send_modify(|held| *held += 1);
        self.passes.acquire().await.unwrap().forget();
    }

    fn takes(&self, wanted: impl Fn(Place) -> bool) -> Option<Place> {
        self.next.lock().unwrap().take_if(|place| wanted(*place))
    }

    /// Asks, and comes back once it is held.
    async fn at<T: Send + 'static>(&self, place: Place, asks: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        let before = *self.held.borrow();
        *self.next.lock().unwrap() = Some(place);
        let asked = tokio::spawn(asks);
        until("it is held", || *self.held.borrow() > before).await;
        asked
    }

    fn let_go(&self) {
        self.passes.add_permits(1);
    }
}

#[async_trait]
impl CommitGate for Hold {
    async fn before(&self) -> Result<(), CommandError> {
        let Some(place) = self.takes(|place| place != Place::After) else { return Ok(()) };
        self.here().await;
        match place {
            Place::Before { fails: true } => Err(CommandError::Storage { detail: "told to fail".into(), full: false }),
            Place::Before { fails: false } | Place::After => Ok(()),
        }
    }

    async fn after(&self) -> Result<(), CommandError> {
        if self.takes(|place| place == Place::After).is_some() {
            self.here().await;
        }
        Ok(())
    }

    async fn settle(&self) {
        if self.settling.load(Ordering::SeqCst) {
            self.here().await;
        }
    }
}

async fn started() -> (Lab, Arc<Hold>, Node) {
    let mut lab = Lab::new();
    lab.webhooks.secrets = Arc::new(FileSecrets::new(lab.dir.path().join("secrets")));
    let hold = Arc::new(Hold {
        next: Mutex::new(None),
        settling: AtomicBool::new(false),
        held: watch::Sender::new(0),
        passes: Semaphore::new(0),
    });
    let node = Node::start_with_gate(lab.parts(lab.driver(), Arc::new(lab.store())), hold.clone()).await.unwrap();
    lab.add_images(&node).await;
    made(&node, "a", false).await;
    node.create_webhook(lab::webhook("w"), who()).await.unwrap();
    (lab, hold, node)
}

fn labels() -> Option<Labels> {
    Some(Labels::from([("a".to_owned(), "b".to_owned())]))
}

/// Commands of every kind: each changes something, and each can be asked again when it was refused.
const COMMANDS: [&str; 10] = [
    "create a VM",
    "update a VM",
    "rename a VM",
    "make an image",
    "update an image",
    "cordon the host",
    "make a webhook",
    "update a webhook",
    "delete a VM",
    "start a VM",
];

async fn ask(node: Node, command: &'static str, lab: std::path::PathBuf) -> Result<(), CommandError> {
    let project = name("default");
    let find = |called: &str| node.view().find_vm(&project, &name(called)).unwrap();
    // Renamed by one of them.
    let a = || node.view().find_vm(&project, &name("a")).unwrap_or_else(|| find("b"));
    match command {
        "create a VM" => node.create_vm(vm("c", false), who()).await.map(drop),
        "update a VM" => {
            let change = Change { labels: labels().map(Box::new), ..Change::default() };
            node.command_vm(a(), Command::Update(change), who()).await.map(drop)
        }
        "rename a VM" => {
            let change = Change { name: Some(name("b")), ..Change::default() };
            node.command_vm(a(), Command::Update(change), who()).await.map(drop)
        }
        "start a VM" => node.command_vm(find("c"), Command::Start, who()).await.map(drop),
        "make an image" => node.create_image(image("i", ImageKind::Kernel, &lab.join("vmlinux")), who()).await.map(drop),
        "update an image" => {
            let kernel = node.view().find_image(&project, &name("kernel")).unwrap();
            let update = ImageCommand::Update { name: None, labels: labels(), default: None, description: None };
            node.command_image(kernel, update, who()).await.map(drop)
        }
        "cordon the host" => node.command_host(host(&node), HostCommand::Cordon, who()).await.map(drop),
        "make a webhook" => node.create_webhook(lab::webhook("v"), who()).await.map(drop),
        "update a webhook" => {
            let w = node.view().find_webhook(&project, &name("w")).unwrap();
            let change = webhook::Change { labels: labels(), ..webhook::Change::default() };
            node.command_webhook(w, webhook::Command::Update(change), None, who()).await.map(drop)
        }
        "delete a VM" => node.command_vm(a(), Command::Delete { force: false }, who()).await.map(drop),
        other => panic!("no such command: {other}"),
    }
}

fn host(node: &Node) -> HostId {
    node.view().find_host(&name("lab")).unwrap()
}

/// All that is durable: records, and how far the events go.
fn durable(node: &Node) -> (Vec<(String, String, Vec<u8>)>, u64) {
    let export = node.journal().export().unwrap();
    (export.records.clone(), export.latest)
}

/// Whoever could be answered by now has been: one that is answered too early is so within a few turns of its actor's.
async fn a_turn() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_is_answered_before_it_is_durable_and_one_that_fails_leaves_nothing() {
    let (lab, hold, node) = started().await;
    for command in COMMANDS {
        let lab = lab.dir.path().to_owned();
        until("all is at rest", || at_rest(&node)).await;
        let before = durable(&node);
        let asked = hold.at(Place::Before { fails: true }, ask(node.clone(), command, lab.clone())).await;
        a_turn().await;
        assert!(!asked.is_finished(), "{command}: answered before it is on the disk");
        hold.let_go();
        let answer = asked.await.unwrap();
        assert!(matches!(answer, Err(CommandError::Storage { .. })), "{command}: {answer:?}");
        assert!(durable(&node) == before, "{command}: something is left of a commit that failed");
        let asked = hold.at(Place::Before { fails: false }, ask(node.clone(), command, lab)).await;
        assert!(durable(&node) == before, "{command}: something went before");
        a_turn().await;
        assert!(!asked.is_finished(), "{command}: answered before it is on the disk");
        hold.let_go();
        let answer = asked.await.unwrap();
        assert!(answer.is_ok(), "{command}, asked again: {answer:?}");
        assert!(durable(&node) != before, "{command}: answered, and not on the disk");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn that_nobody_knows_is_told_once_the_journal_has_settled() {
    let (lab, hold, node) = started().await;
    let whose = |command: &str| match command {
        "create a VM" | "rename a VM" => "vms".to_owned(),
        "make an image" => "images".to_owned(),
        "update an image" => node.view().find_image(&name("default"), &name("kernel")).unwrap().to_string(),
        "cordon the host" => host(&node).to_string(),
        "make a webhook" => "webhooks".to_owned(),
        "update a webhook" => node.view().find_webhook(&name("default"), &name("w")).unwrap().to_string(),
        _ => node.view().find_vm(&name("default"), &name("a")).unwrap().to_string(),
    };
    // Those whose supervisor is killed come last: its children are then a while in coming back.
    for command in [
        "update a VM",
        "update an image",
        "cordon the host",
        "update a webhook",
        "make an image",
        "make a webhook",
        "create a VM",
    ] {
        until("all is at rest", || at_rest(&node)).await;
        let asked = hold.at(Place::After, ask(node.clone(), command, lab.dir.path().to_owned())).await;
        let held = *hold.held.borrow();
        hold.settling.store(true, Ordering::SeqCst);
        assert!(node.kill_actor(&whose(command)), "{command}");
        until("whether the journal has settled is asked", || *hold.held.borrow() > held || asked.is_finished()).await;
        assert!(!asked.is_finished(), "{command}: told that it may have failed before the journal has settled");
        hold.settling.store(false, Ordering::SeqCst);
        // Whoever else waits, such as the actor that comes after it.
        hold.passes.add_permits(100);
        let answer = asked.await.unwrap();
        assert!(matches!(answer, Err(CommandError::Restarting)), "{command}: {answer:?}");
        hold.passes.forget_permits(100);
    }
    node.stop().await;
}

fn at_rest(node: &Node) -> bool {
    let (operations, _) = node.view().operations(&actors::view::Page::first(100));
    operations.iter().all(|operation| operation.status.is_final())
}
