//! The calls about webhooks.

use super::error::ClientError;
use super::http::{Client, json};
use super::page::{ListQuery, Pages};
use super::wait::{Accepted, Options};
use crate::v1::{CreateWebhook, DeadLetter, List, PatchWebhook, Redeliver, Webhook, WebhookTest};
use reqwest::Method;

pub struct Webhooks<'a>(&'a Client);

impl Client {
    pub fn webhooks(&self) -> Webhooks<'_> {
        Webhooks(self)
    }
}

impl Webhooks<'_> {
    pub fn list(&self, query: ListQuery) -> Pages<Webhook> {
        Pages::new(self.0, "webhooks", query)
    }

    /// By id or name.
    pub async fn get(&self, id: &str) -> Result<Webhook, ClientError> {
        self.0.get(self.0.url(&["v1", "webhooks", id])?).await
    }

    /// The answer holds the secret, this once.
    pub async fn create(&self, create: &CreateWebhook, options: &Options) -> Result<Accepted<Webhook>, ClientError> {
        self.0.change(Method::POST, self.0.url(&["v1", "webhooks"])?, json(create), options).await
    }

    pub async fn patch(&self, id: &str, patch: &PatchWebhook, options: &Options) -> Result<Accepted<Webhook>, ClientError> {
        self.0.change(Method::PATCH, self.0.url(&["v1", "webhooks", id])?, json(patch), options).await
    }

    pub async fn delete(&self, id: &str, options: &Options) -> Result<Accepted<Webhook>, ClientError> {
        self.0.change(Method::DELETE, self.0.url(&["v1", "webhooks", id])?, None, options).await
    }

    /// Oldest first.
    pub async fn dead_letters(&self, id: &str) -> Result<List<DeadLetter>, ClientError> {
        self.0.get(self.0.url(&["v1", "webhooks", id, "dead-letters"])?).await
    }

    pub async fn redeliver(&self, id: &str, which: &Redeliver, options: &Options) -> Result<Accepted<Webhook>, ClientError> {
        self.0.change(Method::POST, self.0.url(&["v1", "webhooks", id, "redeliver"])?, json(which), options).await
    }

    /// Sends a test and answers how it ended.
    pub async fn test(&self, id: &str, options: &Options) -> Result<Accepted<WebhookTest>, ClientError> {
        self.0.change(Method::POST, self.0.url(&["v1", "webhooks", id, "test"])?, None, options).await
    }
}
