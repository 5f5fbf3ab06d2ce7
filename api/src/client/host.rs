//! The calls about hosts.

use super::error::ClientError;
use super::http::{Client, json};
use super::page::{ListQuery, Pages};
use super::wait::{Accepted, Options};
use crate::v1::{Host, HostMetrics, PatchHost};
use reqwest::Method;

pub struct Hosts<'a>(&'a Client);

impl Client {
    pub fn hosts(&self) -> Hosts<'_> {
        Hosts(self)
    }
}

impl Hosts<'_> {
    pub fn list(&self, query: ListQuery) -> Pages<Host> {
        Pages::new(self.0, "hosts", query)
    }

    /// By id or name.
    pub async fn get(&self, id: &str) -> Result<Host, ClientError> {
        self.0.get(self.0.url(&["v1", "hosts", id])?).await
    }

    pub async fn patch(&self, id: &str, patch: &PatchHost, options: &Options) -> Result<Accepted<Host>, ClientError> {
        self.0.change(Method::PATCH, self.0.url(&["v1", "hosts", id])?, json(patch), options).await
    }

    /// Places no new VMs there from now on.
    pub async fn cordon(&self, id: &str, options: &Options) -> Result<Accepted<Host>, ClientError> {
        self.0.change(Method::POST, self.0.url(&["v1", "hosts", id, "cordon"])?, None, options).await
    }

    pub async fn uncordon(&self, id: &str, options: &Options) -> Result<Accepted<Host>, ClientError> {
        self.0.change(Method::POST, self.0.url(&["v1", "hosts", id, "uncordon"])?, None, options).await
    }

    /// The newest sample.
    pub async fn metrics(&self, id: &str) -> Result<HostMetrics, ClientError> {
        self.0.get(self.0.url(&["v1", "hosts", id, "metrics"])?).await
    }
}
