//! The one state of the console: tables of resources by id, the newest events, and the connection. It changes by [`Msg`] alone, in
//! [`Store::reduce`]; who fetches what is decided elsewhere (`refetch`).
//!
//! Old data stays beside a new error and while disconnected: a table is never emptied because something failed.

mod reduce;
mod table;

pub use table::{Phase, Table};

use crate::resource::{Kind, Shared};
use api::problem::Problem;
use api::v1::{Event, Host, Image, Operation, Vm, Webhook};
use std::collections::VecDeque;
use std::rc::Rc;

/// What the pages about recent events can look back on without asking the server.
pub const EVENTS_AT_MOST: usize = 500;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Store {
    pub vms: Table<Vm>,
    pub images: Table<Image>,
    pub hosts: Table<Host>,
    pub operations: Table<Operation>,
    pub webhooks: Table<Webhook>,
    /// Newest last.
    pub events: Rc<VecDeque<Shared<Event>>>,
    /// The newest event's number; the stream resumes after it.
    pub cursor: Option<u64>,
    pub connection: Connection,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Connection {
    #[default]
    Connecting,
    Live,
    /// Attempts made since it was lost.
    Lost {
        attempt: u32,
    },
}

/// A page of a list, or several put together.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    pub rows: Vec<T>,
    /// Where the next page begins, if there is one.
    pub more: Option<String>,
    pub how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// What is not in it is gone.
    Replace,
    /// It follows what is there.
    Append,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Msg {
    Connection(Connection),
    Event(Box<Event>),
    ListStarted(Kind),
    ListFailed(Kind, Problem),
    Vms(Page<Vm>),
    Images(Page<Image>),
    Hosts(Page<Host>),
    Operations(Page<Operation>),
    Webhooks(Page<Webhook>),
    Vm(Box<Vm>),
    Image(Box<Image>),
    Host(Box<Host>),
    Operation(Box<Operation>),
    Webhook(Box<Webhook>),
    Gone(Kind, String),
}

impl Store {
    /// Operations that run, newest first.
    pub fn running_operations(&self) -> Vec<Shared<Operation>> {
        let mut running: Vec<_> =
            self.operations.rows().filter(|op| op.status == api::v1::OperationStatus::Running).cloned().collect();
        crate::order::by_greatest(&mut running, |op| op.created_at);
        running
    }
}
