//! The way out: one POST to a receiver, and where signing secrets are kept.

use async_trait::async_trait;
use domain::{Timestamp, WebhookId, event::Event};
use host::secret::{Secret, SecretError, SecretStore, is_swept};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// One attempt at a delivery.
#[derive(Debug, Clone)]
pub struct Post {
    pub url: String,
    pub secret: Secret,
    pub webhook: WebhookId,
    /// The same for every attempt at a delivery; 0 for a test.
    pub number: u64,
    /// 1 for the first.
    pub attempt: u32,
    /// What is signed as the time of the attempt.
    pub at: Timestamp,
    /// From connecting to the answer's end.
    pub timeout: Duration,
    pub content: Content,
}

#[derive(Debug, Clone)]
pub enum Content {
    /// In order; one that can't be read is absent, its number is not.
    Events(Vec<(u64, Option<Event>)>),
    /// Events up to and with this cursor are no longer kept.
    Resync { cursor: u64 },
    /// Somebody wants to see whether the receiver answers.
    Test { cursor: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx.
    Taken { status: u16 },
    /// 410.
    Gone,
    /// `code` is stable: `http-status`, `redirect`, `timeout`, `connect`, `tls`, `broken`, … `detail` names no part of the URL.
    Failed { code: &'static str, detail: String, status: Option<u16>, retry_after_s: Option<u32> },
}

/// Carries a POST out. Never fails by itself: everything that happens is an outcome. Cancel: it may have arrived.
#[async_trait]
pub trait Deliver: Send + Sync + 'static {
    async fn post(&self, post: Post) -> Outcome;
}

/// What webhooks need of the machine.
#[derive(Clone)]
pub struct WebhookPorts {
    pub deliver: Arc<dyn Deliver>,
    pub secrets: Arc<dyn SecretStore>,
}

impl WebhookPorts {
    /// For nodes that are not about webhooks: nothing is delivered, secrets last as long as the process.
    pub fn none() -> WebhookPorts {
        WebhookPorts { deliver: Arc::new(Nowhere), secrets: Arc::new(InMemory::default()) }
    }

    pub fn with(deliver: Arc<dyn Deliver>) -> WebhookPorts {
        WebhookPorts { deliver, ..WebhookPorts::none() }
    }
}

struct Nowhere;

#[async_trait]
impl Deliver for Nowhere {
    async fn post(&self, _: Post) -> Outcome {
        Outcome::Failed { code: "no-way-out", detail: "this node delivers nothing".to_owned(), status: None, retry_after_s: None }
    }
}

#[derive(Default)]
struct InMemory(Mutex<HashMap<String, Secret>>);

impl InMemory {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Secret>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SecretStore for InMemory {
    async fn put(&self, owner: &str, secret: Secret) -> Result<(), SecretError> {
        self.lock().insert(owner.to_owned(), secret);
        Ok(())
    }

    async fn get(&self, owner: &str) -> Result<Secret, SecretError> {
        self.lock().get(owner).cloned().ok_or(SecretError::Missing { owner: owner.to_owned() })
    }

    async fn remove(&self, owner: &str) -> Result<(), SecretError> {
        self.lock().remove(owner);
        Ok(())
    }

    async fn sweep(&self, named: &[String], unread: &[String]) -> Result<Vec<String>, SecretError> {
        let mut secrets = self.lock();
        let unknown: Vec<String> = secrets.keys().filter(|name| is_swept(name, named, unread)).cloned().collect();
        secrets.retain(|name, _| !is_swept(name, named, unread));
        Ok(unknown)
    }
}
