//! What the console's tables need of any resource, and a shared row that compares by identity.

use api::v1::{Event, EventKind, Host, Image, Labels, Operation, Vm, Webhook};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::rc::Rc;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Vm,
    Image,
    Host,
    Operation,
    Webhook,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Kind::Vm, Kind::Image, Kind::Host, Kind::Operation, Kind::Webhook];

    /// The collection's path segment.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Vm => "vms",
            Kind::Image => "images",
            Kind::Host => "hosts",
            Kind::Operation => "operations",
            Kind::Webhook => "webhooks",
        }
    }

    /// The kind that an event is about; none for the stream itself and for kinds of a newer server.
    pub fn of(event: EventKind) -> Option<Kind> {
        match event {
            EventKind::Vm => Some(Kind::Vm),
            EventKind::Image => Some(Kind::Image),
            EventKind::Host => Some(Kind::Host),
            EventKind::Operation => Some(Kind::Operation),
            EventKind::Webhook => Some(Kind::Webhook),
            EventKind::Stream | EventKind::Unknown => None,
        }
    }
}

/// What an event does to the store besides being shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// The view is out of date: list everything again.
    Resync,
    /// The resource is gone.
    Gone(Kind, String),
    /// The resource changed: fetch it.
    Changed(Kind, String),
    /// Nothing that this console shows.
    Nothing,
}

pub fn meaning(event: &Event) -> Meaning {
    if event.event == "resync" {
        return Meaning::Resync;
    }
    let Some(kind) = Kind::of(event.kind) else { return Meaning::Nothing };
    // The API's word for the end of a resource: `vm-deleted`, `image-deleted`.
    if kind != Kind::Operation && event.event.ends_with("-deleted") {
        return Meaning::Gone(kind, event.id.clone());
    }
    Meaning::Changed(kind, event.id.clone())
}

pub trait Resource {
    fn id(&self) -> &str;
    fn name(&self) -> &str;
    fn generation(&self) -> u64;
    fn labels(&self) -> Option<&Labels>;
    fn state(&self) -> &str;
}

impl Resource for Vm {
    fn id(&self) -> &str {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn generation(&self) -> u64 {
        self.generation
    }
    fn labels(&self) -> Option<&Labels> {
        Some(&self.labels)
    }
    fn state(&self) -> &str {
        self.status.state.as_str()
    }
}

impl Resource for Image {
    fn id(&self) -> &str {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn generation(&self) -> u64 {
        self.generation
    }
    fn labels(&self) -> Option<&Labels> {
        Some(&self.labels)
    }
    fn state(&self) -> &str {
        self.status.state.as_str()
    }
}

impl Resource for Host {
    fn id(&self) -> &str {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn generation(&self) -> u64 {
        self.generation
    }
    fn labels(&self) -> Option<&Labels> {
        Some(&self.labels)
    }
    fn state(&self) -> &str {
        self.status.state.as_str()
    }
}

impl Resource for Operation {
    fn id(&self) -> &str {
        &self.id
    }
    fn name(&self) -> &str {
        &self.target.name
    }
    fn generation(&self) -> u64 {
        self.generation
    }
    fn labels(&self) -> Option<&Labels> {
        None
    }
    fn state(&self) -> &str {
        self.status.as_str()
    }
}

impl Resource for Webhook {
    fn id(&self) -> &str {
        &self.id
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn generation(&self) -> u64 {
        self.generation
    }
    fn labels(&self) -> Option<&Labels> {
        Some(&self.labels)
    }
    fn state(&self) -> &str {
        self.status.state.as_str()
    }
}

/// A row that is shared, not copied, and equal only to itself: a component given the same row again need not draw.
#[derive(Debug)]
pub struct Shared<T>(Rc<T>);

impl<T> Shared<T> {
    pub fn new(value: T) -> Self {
        Shared(Rc::new(value))
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Shared(Rc::clone(&self.0))
    }
}

impl<T> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

pub type Rows<T> = BTreeMap<String, Shared<T>>;
