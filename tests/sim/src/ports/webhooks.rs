//! The way out to receivers, and the folder of secrets, of a simulated machine.

use crate::{
    machine::Machine,
    ports::as_fate_has_it,
    receivers::{answer, receive},
};
use actors::webhook::{Deliver, Outcome, Post, WebhookPorts};
use async_trait::async_trait;
use host::secret::{Secret, SecretError, SecretStore, is_swept};
use std::sync::Arc;

pub fn webhooks(machine: &Machine) -> WebhookPorts {
    WebhookPorts { deliver: Arc::new(Receiver(machine.clone())), secrets: Arc::new(Secrets(machine.clone())) }
}

struct Receiver(Machine);

#[async_trait]
impl Deliver for Receiver {
    /// It may arrive, be answered, and the answer be lost; or hang, arrived or not, until the caller gives up.
    async fn post(&self, post: Post) -> Outcome {
        let deed = || {
            let answer = answer(&self.0);
            receive(&self.0, &post, &answer);
            answer
        };
        let lost =
            || Outcome::Failed { code: "broken", detail: "the connection broke".to_owned(), status: None, retry_after_s: None };
        self.0.tell(format_args!("{} delivery {} sets out", post.webhook, post.number));
        as_fate_has_it(self.0.fate(), deed).await.unwrap_or_else(lost)
    }
}

struct Secrets(Machine);

fn failed(owner: &str) -> SecretError {
    SecretError::File { path: owner.into(), source: std::io::Error::other("a simulated failure") }
}

#[async_trait]
impl SecretStore for Secrets {
    async fn put(&self, owner: &str, secret: Secret) -> Result<(), SecretError> {
        let deed = || drop(self.0.state().secrets.insert(owner.to_owned(), secret));
        as_fate_has_it(self.0.fate(), deed).await.ok_or_else(|| failed(owner))
    }

    async fn get(&self, owner: &str) -> Result<Secret, SecretError> {
        let look = || self.0.state().secrets.get(owner).cloned();
        self.0.tell(format_args!("the secret {owner} is read"));
        let found = as_fate_has_it(self.0.fate(), look).await.ok_or_else(|| failed(owner))?;
        found.ok_or_else(|| SecretError::Missing { owner: owner.to_owned() })
    }

    async fn remove(&self, owner: &str) -> Result<(), SecretError> {
        let deed = || drop(self.0.state().secrets.remove(owner));
        as_fate_has_it(self.0.fate(), deed).await.ok_or_else(|| failed(owner))
    }

    async fn sweep(&self, named: &[String], unread: &[String]) -> Result<Vec<String>, SecretError> {
        let mut state = self.0.state();
        let unknown: Vec<String> = state.secrets.keys().filter(|name| is_swept(name, named, unread)).cloned().collect();
        state.secrets.retain(|name, _| !unknown.contains(name));
        Ok(unknown)
    }
}
