//! The reducer.

use super::{EVENTS_AT_MOST, Msg, Store};
use crate::resource::{Kind, Meaning, Shared, meaning};
use api::problem::Problem;
use api::v1::Event;
use std::rc::Rc;

impl Store {
    pub fn reduce(&mut self, msg: Msg) {
        match msg {
            Msg::Connection(connection) => self.connection = connection,
            Msg::Event(event) => self.event(*event),
            Msg::ListStarted(kind) => self.started(kind),
            Msg::ListFailed(kind, problem) => self.failed(kind, problem),
            Msg::Vms(page) => self.vms.listed(page),
            Msg::Images(page) => self.images.listed(page),
            Msg::Hosts(page) => self.hosts.listed(page),
            Msg::Operations(page) => self.operations.listed(page),
            Msg::Webhooks(page) => self.webhooks.listed(page),
            Msg::Vm(vm) => self.vms.put(*vm),
            Msg::Image(image) => self.images.put(*image),
            Msg::Host(host) => self.hosts.put(*host),
            Msg::Operation(operation) => self.operations.put(*operation),
            Msg::Webhook(webhook) => self.webhooks.put(*webhook),
            Msg::Gone(kind, id) => self.gone(kind, &id),
        }
    }

    fn event(&mut self, event: Event) {
        // The server sends each once and in order; after a resume the guard costs nothing and keeps a repeat from showing twice.
        // A resync may name a lower cursor: the server's numbering then began anew.
        if meaning(&event) == Meaning::Resync {
            self.cursor = Some(event.cursor);
            return;
        }
        if self.cursor.is_some_and(|newest| event.cursor <= newest) {
            return;
        }
        self.cursor = Some(event.cursor);
        if let Meaning::Gone(kind, id) = meaning(&event) {
            self.gone(kind, &id);
        }
        let events = Rc::make_mut(&mut self.events);
        events.push_back(Shared::new(event));
        if events.len() > EVENTS_AT_MOST {
            events.pop_front();
        }
    }

    fn started(&mut self, kind: Kind) {
        match kind {
            Kind::Vm => self.vms.started(),
            Kind::Image => self.images.started(),
            Kind::Host => self.hosts.started(),
            Kind::Operation => self.operations.started(),
            Kind::Webhook => self.webhooks.started(),
        }
    }

    fn failed(&mut self, kind: Kind, problem: Problem) {
        match kind {
            Kind::Vm => self.vms.failed(problem),
            Kind::Image => self.images.failed(problem),
            Kind::Host => self.hosts.failed(problem),
            Kind::Operation => self.operations.failed(problem),
            Kind::Webhook => self.webhooks.failed(problem),
        }
    }

    fn gone(&mut self, kind: Kind, id: &str) {
        match kind {
            Kind::Vm => self.vms.remove(id),
            Kind::Image => self.images.remove(id),
            Kind::Host => self.hosts.remove(id),
            Kind::Operation => self.operations.remove(id),
            Kind::Webhook => self.webhooks.remove(id),
        }
    }
}

#[cfg(test)]
mod tests;
