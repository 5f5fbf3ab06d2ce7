//! Names that are about to be taken: nobody else gets one between the look and the commit, however many changes are on their way.

use crate::lab::{self, Lab, image, name, who};
use actors::{CommandError, ImageCommand, Node, faults::CommitGate};
use async_trait::async_trait;
use domain::{
    image::ImageKind,
    webhook::{Change, Command},
};
use futures_util::poll;
use host::secret::FileSecrets;
use std::{future::Future, pin::pin, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::timeout};

/// Lets so many commits through, one after the other.
struct Turnstile(Semaphore);

impl Turnstile {
    const OPEN: usize = 1 << 20;

    fn shut(&self) {
        self.0.forget_permits(Self::OPEN);
    }
}

#[async_trait]
impl CommitGate for Turnstile {
    async fn before(&self) -> Result<(), CommandError> {
        self.0.acquire().await.unwrap().forget();
        Ok(())
    }

    async fn after(&self) -> Result<(), CommandError> {
        Ok(())
    }
}

async fn started(lab: &Lab) -> (Arc<Turnstile>, Node) {
    let gate = Arc::new(Turnstile(Semaphore::new(Turnstile::OPEN)));
    let node = Node::start_with_gate(lab.parts(lab.driver(), Arc::new(lab.store())), gate.clone()).await.unwrap();
    (gate, node)
}

/// One that is called otherwise twice; the first change is through, the second still on its way.
async fn each_keeps_its_own<T>(
    gate: &Turnstile,
    rename: impl AsyncFn(&'static str) -> Result<(), CommandError>,
    create: impl AsyncFn(&'static str) -> Result<T, CommandError>,
) {
    gate.shut();
    let (mut first, mut second) = (pin!(rename("b")), pin!(rename("c")));
    assert!(poll!(first.as_mut()).is_pending());
    assert!(poll!(second.as_mut()).is_pending());
    is_taken(create("b")).await;
    is_taken(create("c")).await;
    gate.0.add_permits(1);
    first.await.unwrap();
    is_taken(create("c")).await;
    gate.0.add_permits(Turnstile::OPEN);
    second.await.unwrap();
    is_taken(create("c")).await;
    assert!(create("b").await.is_ok(), "nobody is called so any more");
}

async fn is_taken<T>(created: impl Future<Output = Result<T, CommandError>>) {
    let answer =
        timeout(Duration::from_secs(20), created).await.expect("it waits for the disk, as one that may be created").map(drop);
    assert!(matches!(answer, Err(CommandError::NameTaken { .. })), "{answer:?}");
}

#[tokio::test]
async fn images_on_their_way_to_two_names_keep_both() {
    let lab = Lab::new();
    let (gate, node) = started(&lab).await;
    let (kernel, _) = lab.add_images(&node).await;
    let rename = async |to| {
        let change = ImageCommand::Update { name: Some(name(to)), labels: None, default: None, description: None };
        node.command_image(kernel, change, who()).await.map(drop)
    };
    let (file, _) = lab.files();
    each_keeps_its_own(&gate, rename, async |called| node.create_image(image(called, ImageKind::Kernel, &file), who()).await)
        .await;
    node.stop().await;
}

#[tokio::test]
async fn webhooks_on_their_way_to_two_names_keep_both() {
    let mut lab = Lab::new();
    lab.webhooks.secrets = Arc::new(FileSecrets::new(lab.dir.path().join("secrets")));
    let (gate, node) = started(&lab).await;
    let create = async |called| node.create_webhook(lab::webhook(called), who()).await;
    let webhook = create("a").await.unwrap().resource.id;
    let rename = async |to| {
        let change = Change { name: Some(name(to)), ..Change::default() };
        node.command_webhook(webhook, Command::Update(change), None, who()).await.map(drop)
    };
    each_keeps_its_own(&gate, rename, create).await;
    node.stop().await;
}
