//! The calls about the server itself.

use super::error::ClientError;
use super::http::{Client, Request, decode};
use super::wait::Options;
use crate::v1::{ActorView, NodeTree};
use reqwest::Method;

/// Which of the live actors are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeQuery {
    pub all: bool,
    pub kind: Option<String>,
    pub cursor: Option<String>,
    pub limit: Option<u32>,
}

impl Client {
    /// Whether the server lives.
    pub async fn healthz(&self) -> Result<(), ClientError> {
        self.get_stream(self.url(&["healthz"])?).await.map(|_response| ())
    }

    /// Whether it has recovered and serves.
    pub async fn readyz(&self) -> Result<(), ClientError> {
        self.get_stream(self.url(&["readyz"])?).await.map(|_response| ())
    }

    /// The OpenAPI document.
    pub async fn openapi(&self) -> Result<serde_json::Value, ClientError> {
        self.get(self.url(&["openapi.json"])?).await
    }

    /// Asks the server to stop every guest and then itself; it answers at once.
    pub async fn node_down(&self) -> Result<(), ClientError> {
        let options = Options::default();
        self.send(Request::new(Method::POST, self.url(&["v1", "node", "down"])?, None, &options)).await.map(|_response| ())
    }

    /// A page of the live actors of the node: those that somebody should look at, or all.
    pub async fn node_tree(&self, query: &TreeQuery) -> Result<NodeTree, ClientError> {
        let mut url = self.url(&["v1", "node", "tree"])?;
        if query.all {
            url.query_pairs_mut().append_pair("all", "true");
        }
        for (key, value) in [("kind", &query.kind), ("cursor", &query.cursor)] {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(key, value);
            }
        }
        if let Some(limit) = query.limit {
            url.query_pairs_mut().append_pair("limit", &limit.to_string());
        }
        self.get(url).await
    }

    /// Starts an actor again: one that was set aside, waits for its turn, or lives.
    pub async fn restart_actor(&self, name: &str) -> Result<ActorView, ClientError> {
        let options = Options::default();
        let url = self.url(&["v1", "node", "actors", name, "restart"])?;
        decode(self.send(Request::new(Method::POST, url, None, &options)).await?).await
    }

    /// A backup of the control plane, as a stream of bytes: check that it is whole before it is trusted. `secrets`: with those of webhooks.
    pub async fn backup(&self, secrets: bool) -> Result<reqwest::Response, ClientError> {
        let mut url = self.url(&["v1", "backup"])?;
        if !secrets {
            url.query_pairs_mut().append_pair("secrets", "false");
        }
        self.get_stream(url).await
    }
}
