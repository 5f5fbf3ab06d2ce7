//! The calls about the server itself.

use super::error::ClientError;
use super::http::{Client, Request};
use super::wait::Options;
use crate::v1::NodeTree;
use reqwest::Method;

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

    /// The live actors of the node.
    pub async fn node_tree(&self) -> Result<NodeTree, ClientError> {
        self.get(self.url(&["v1", "node", "tree"])?).await
    }

    /// A backup of the control plane, as a stream of bytes: check that it is whole before it is trusted.
    pub async fn backup(&self) -> Result<reqwest::Response, ClientError> {
        self.get_stream(self.url(&["v1", "backup"])?).await
    }
}
