//! A strict stand-in for Firecracker, for tests alone: it takes nothing that its API document does not allow, in no phase in which Firecracker
//! would not, and says so in Firecracker's words. There is no guest behind it. The document is not part of the repository (`HEARTH_FIRECRACKER_API`).
//!
//! ```text
//!  socket -> serve (HTTP) -> document (path, method, schema) -> machine (phase, devices, files) -> answer
//!                 \-- fault: hang, garbage, close, exit, instead of an answer
//! ```

pub mod document;
pub mod fault;
pub mod machine;
pub mod schema;
pub mod serve;
pub mod vsock;
