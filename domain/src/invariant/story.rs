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
    pub state: Option<String>,
    pub gone: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Story {
    last: u64,
    told: BTreeMap<String, Told>,
}

impl Story {
    /// The cursor of the last event that was heard.
    pub fn last(&self) -> u64 {
        self.last
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
        let gone = matches!(event.event.as_str(), "vm-deleted" | "image-deleted");
        let told = Told { kind: event.kind, name: event.name.clone(), generation: event.generation, state, gone };
        self.told.insert(event.id.clone(), told);
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
                // Hosts stay; old operations are forgotten without a word.
                Kind::Host | Kind::Operation | Kind::Webhook => true,
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
