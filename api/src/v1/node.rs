//! The live actors of a node: `GET /v1/node/tree`.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NodeTree {
    pub actors: Vec<ActorView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ActorView {
    pub name: String,
    pub parent: Option<String>,
    pub state: String,
    pub restarts: u32,
    pub last_error: Option<String>,
}
