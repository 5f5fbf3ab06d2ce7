//! What the events tell, from the first on: gapless, in order, and enough to know each resource as far as events go.
//!
//! Events tell a resource's name with each, its state where it comes to rest, and its end. On the way from one rest to another a state
//! may change without a word (a machine that is made, then let run: both are `starting`), so there only the name is compared.

use super::{Broken, Durable};
use crate::{
    Generation,
    event::{Datum, Event, Kind},
    vm::State,
};
use std::collections::BTreeMap;

/// One resource, as told last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub kind: Kind,
    pub name: String,
    pub generation: Generation,
    /// The event that told it.
    pub event: String,
    pub state: Option<String>,
    pub gone: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Story {
    last: u64,
    ended_operations: u64,
    told: BTreeMap<String, Told>,
}

impl Story {
    /// The cursor of the last event that was heard.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// How many operations have ended, ever.
    pub fn ended_operations(&self) -> u64 {
        self.ended_operations
    }

    pub fn of(&self, id: &str) -> Option<&Told> {
        self.told.get(id)
    }

    pub fn hear(&mut self, cursor: u64, event: &Event, broken: &mut Vec<Broken>) {
        if cursor != self.last + 1 {
            broken.push(Broken::Event { cursor, detail: format!("comes after {}", self.last) });
        }
        self.last = cursor;
        let data = |wanted: &str| event.data.iter().find(|(key, _)| key == wanted).map(|(_, value)| value);
        let state = match data(if event.kind == Kind::Operation { "status" } else { "state" }) {
            Some(Datum::Text(state)) => Some(state.clone()),
            _ => None,
        };
        if let Some(before) = self.told.get(&event.id) {
            if before.gone {
                broken.push(Broken::Event { cursor, detail: format!("{} of {}, which is gone", event.event, event.id) });
            }
            if event.generation < before.generation {
                let detail = format!("{} goes back to generation {}", event.id, event.generation.0);
                broken.push(Broken::Event { cursor, detail });
            }
        }
        let gone = matches!(event.event.as_str(), "vm-deleted" | "image-deleted" | "webhook-deleted");
        if event.kind == Kind::Operation && has_ended(state.as_deref()) {
            self.ended_operations += 1;
        }
        if event.event == "operation-cancelled" {
            self.is_undone(event, broken);
        }
        let told = Told {
            kind: event.kind,
            name: event.name.clone(),
            generation: event.generation,
            event: event.event.clone(),
            state,
            gone,
        };
        self.told.insert(event.id.clone(), told);
    }

    /// What a cancelled operation did is undone by the time that it is told to be cancelled, unless something stronger took over.
    fn is_undone(&self, event: &Event, broken: &mut Vec<Broken>) {
        let data = |wanted: &str| match event.data.iter().find(|(key, _)| key == wanted) {
            Some((_, Datum::Text(text))) => text.as_str(),
            _ => "",
        };
        let Some(target) = self.told.get(data("target")) else { return };
        let state = target.state.as_deref();
        let taken_over = matches!(target.event.as_str(), "vm-deleting" | "vm-stopping");
        let undone = match data("operation_kind") {
            "vm-create" | "image-create" => target.gone,
            "vm-start" => state == Some("stopped") || taken_over,
            "vm-pause" | "vm-stop" | "vm-reboot" => state == Some("running") || taken_over,
            "vm-resume" => state == Some("paused") || taken_over,
            // Nothing else can be cancelled.
            _ => false,
        };
        if !undone {
            let told = format!("{} ({})", state.unwrap_or_default(), target.event);
            broken.push(Broken::NotUndone { operation: event.id.clone(), target: data("target").to_owned(), told });
        }
    }

    /// Replayed so far, the events give what the records say.
    pub fn check(&self, durable: &Durable, broken: &mut Vec<Broken>) {
        for vm in durable.vms.values() {
            let id = vm.id.to_string();
            let at_rest =
                matches!(vm.state, State::Created | State::Running(_) | State::Paused(_) | State::Stopped | State::Failed);
            let recorded = at_rest.then(|| vm.state.name());
            self.compare(&id, vm.name.as_str(), vm.generation, recorded, broken);
        }
        for image in durable.images.values() {
            self.compare(&image.id.to_string(), image.name.as_str(), image.generation, None, broken);
        }
        for operation in durable.operations.values() {
            let id = operation.id.to_string();
            self.compare(&id, operation.target.name.as_str(), operation.generation, Some(operation.status.as_str()), broken);
        }
        for (id, told) in self.told.iter().filter(|(_, told)| !told.gone) {
            let there = match told.kind {
                Kind::Vm => id.parse().is_ok_and(|id| durable.vms.contains_key(&id)),
                Kind::Image => id.parse().is_ok_and(|id| durable.images.contains_key(&id)),
                // Old operations are forgotten without a word, once they have ended.
                Kind::Operation => {
                    has_ended(told.state.as_deref()) || id.parse().is_ok_and(|id| durable.operations.contains_key(&id))
                }
                // Hosts stay.
                Kind::Host | Kind::Webhook => true,
            };
            if !there {
                let told = told.state.clone().unwrap_or_default();
                broken.push(Broken::Told { what: id.clone(), told, recorded: "nothing".to_owned() });
            }
        }
    }

    fn compare(&self, id: &str, name: &str, generation: Generation, state: Option<&str>, broken: &mut Vec<Broken>) {
        let Some(told) = self.told.get(id) else {
            broken.push(Broken::Told { what: id.to_owned(), told: "nothing".to_owned(), recorded: name.to_owned() });
            return;
        };
        let mut differs = |told: String, recorded: String| {
            broken.push(Broken::Told { what: id.to_owned(), told, recorded });
        };
        if told.gone {
            differs("gone".to_owned(), name.to_owned());
        }
        if told.name != name {
            differs(told.name.clone(), name.to_owned());
        }
        if told.generation > generation {
            differs(format!("at generation {}", told.generation.0), format!("generation {}", generation.0));
        }
        if let Some(state) = state
            && told.state.as_deref() != Some(state)
        {
            differs(told.state.clone().unwrap_or_default(), state.to_owned());
        }
    }
}

/// Whether an operation of that status has.
fn has_ended(status: Option<&str>) -> bool {
    matches!(status, Some("succeeded" | "failed" | "cancelled"))
}
