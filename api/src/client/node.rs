//! The calls about the server itself.

use super::error::ClientError;
use super::http::Client;
use crate::v1::NodeTree;

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

    /// The live actors of the node.
    pub async fn node_tree(&self) -> Result<NodeTree, ClientError> {
        self.get(self.url(&["v1", "node", "tree"])?).await
    }
}
