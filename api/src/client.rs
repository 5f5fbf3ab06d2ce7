//! The one typed client of the REST API: what the command line and the tests use to speak with a server.
//!
//! It owns addresses, the token, retries after a broken connection, idempotency keys, paging, waiting for operations, and the streams
//! (events, terminals, exec, logs, metrics). It does not own what is shown to people: a problem comes back as the server told it.
//!
//! Every call ends: connecting, answering and idling have the bounds of [`limits`]. A call dropped at an await has at most been sent;
//! nothing of it stays behind in this process.

mod connection;
mod error;
mod event;
mod exec;
mod host;
mod http;
mod image;
pub mod limits;
mod logs;
mod metrics;
mod node;
mod operation;
mod page;
mod socket;
mod terminal;
mod vm;
mod wait;
mod webhook;

pub use connection::{Connection, ConnectionEvent, ConnectionInput, GuestPort};
pub use error::ClientError;
pub use event::{EventItem, EventQuery, Events};
pub use exec::{ExecEvent, ExecInput, ExecStream};
pub use host::Hosts;
pub use http::Client;
pub use image::Images;
pub use logs::{Logs, LogsQuery};
pub use metrics::MetricsStream;
pub use node::TreeQuery;
pub use operation::Operations;
pub use page::{ListQuery, Pages};
pub use terminal::{Terminal, TerminalEvent, TerminalInput};
pub use vm::Vms;
pub use wait::{Accepted, Options};
pub use webhook::Webhooks;

#[cfg(test)]
mod tests;
