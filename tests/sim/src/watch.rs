//! Looks at everything after each step: the records on the disk, the events, the machine, and what users were promised.
//!
//! The promises are `domain::invariant`'s; this only takes the snapshots, and holds what users heard against them.

mod hooks;

use crate::{machine::Machine, node::SimNode, users::Ack};
use actors::{decode_event, view::Page, vm::address};
use domain::{
    OperationId, VmId,
    event::Kind,
    host::Host,
    invariant::{Broken, Durable, Found, Keep, Kept, Story, apart, on_one_machine, settled},
    operation::{Operation, Status},
    vm::{State, Vm},
};
use hooks::Hooks;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::Once,
};
use storage::{
    envelope::{self, Stored},
    schema,
};

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static RUNS: Cell<bool> = const { Cell::new(false) };
}

/// Panics in actors are caught by supervision; here they are found out. Panics of tests are told as ever.
pub fn catch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if RUNS.get() {
                // The panics that a run makes on purpose.
                if info.payload().downcast_ref::<&str>() == Some(&"told to") {
                    return;
                }
                PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
            } else {
                usual(info);
            }
        }));
    });
}

/// While this thread runs what is watched.
pub(crate) fn watched<T>(run: impl FnOnce() -> T) -> T {
    RUNS.set(true);
    let result = run();
    RUNS.set(false);
    result
}

/// What is known of one node.
pub struct Watch {
    machine: Machine,
    keep: Keep,
    batches: u64,
    durable: Durable,
    found: Found,
    story: Story,
    /// Which operation and which VM a key led to.
    by_key: BTreeMap<String, String>,
    hooks: Hooks,
}

fn table<T: Stored>(machine: &Machine, table: &str, broken: &mut Vec<String>) -> Vec<T> {
    let mut records = Vec::new();
    for (key, bytes) in machine.disk.records(table) {
        match envelope::decode(&bytes) {
            Ok(record) => records.push(record),
            Err(error) => broken.push(format!("the record {key} can't be read: {error}")),
        }
    }
    records
}

impl Watch {
    pub fn new(machine: Machine, keep: Keep) -> Watch {
        let (durable, found, story) = (Durable::default(), Found::default(), Story::default());
        Watch { machine, keep, batches: 0, durable, found, story, by_key: BTreeMap::new(), hooks: Hooks::default() }
    }

    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// A snapshot, and what holds at every moment.
    pub fn look(&mut self, acks: &[Ack], broken: &mut Vec<String>) {
        let mut found = Vec::new();
        broken.append(&mut self.machine.state().broken);
        PANICS.with_borrow_mut(|panics| broken.extend(panics.drain(..).map(|panic| format!("a panic: {panic}"))));
        self.found = self.machine.found();
        if self.machine.disk.batches() != self.batches {
            self.batches = self.machine.disk.batches();
            self.read(broken);
            for (cursor, bytes) in self.machine.disk.told_after(self.story.last()) {
                match decode_event(&bytes) {
                    Ok(event) => self.story.hear(cursor, &event, &mut found),
                    Err(error) => broken.push(format!("event {cursor} can't be read: {error}")),
                }
            }
            broken.extend(self.machine.disk.told_twice().iter().map(|cursor| format!("two events have the number {cursor}")));
            self.durable.check(&mut found);
            self.story.check(&self.durable, &mut found);
            self.keep.check(&self.durable, &self.story, self.kept_events(), &mut found);
            self.one_effect_a_key(broken);
            self.hooks.look(&self.machine, broken);
        }
        on_one_machine(&self.durable, &self.found, &mut found);
        for ack in acks {
            self.kept(ack, broken);
        }
        broken.extend(found.iter().map(Broken::to_string));
    }

    fn kept_events(&self) -> Kept {
        let (oldest, latest) = self.machine.disk.events();
        Kept { oldest, latest, count: self.machine.disk.events_kept() }
    }

    fn read(&mut self, broken: &mut Vec<String>) {
        let vms = table::<Vm>(&self.machine, schema::VMS, broken);
        let images = table(&self.machine, schema::IMAGES, broken);
        let operations = table::<Operation>(&self.machine, schema::OPERATIONS, broken);
        let given = self.given(broken);
        let hosts = table::<Host>(&self.machine, schema::HOSTS, broken);
        self.durable = Durable {
            vms: vms.into_iter().map(|vm| (vm.id, vm)).collect(),
            images: images.into_iter().map(|image: domain::image::Image| (image.id, image)).collect(),
            operations: operations.into_iter().map(|operation| (operation.id, operation)).collect(),
            given,
            room_mib: hosts.first().map(|host| host.facts.vm_mem_mib),
        };
    }

    fn given(&self, broken: &mut Vec<String>) -> BTreeMap<VmId, Vec<(Ipv4Addr, [u8; 6])>> {
        let mut all = BTreeMap::new();
        for (key, bytes) in self.machine.disk.records(address::TABLE) {
            match (key.parse(), envelope::decode::<address::Given>(&bytes)) {
                (Ok(id), Ok(given)) => {
                    all.insert(id, given.entries.iter().map(|entry| (entry.address, entry.mac)).collect());
                }
                _ => broken.push(format!("the note of addresses {key} can't be read")),
            }
        }
        all
    }

    /// Each request has a key of its own, as its actor and, of a new VM, as a label.
    fn one_effect_a_key(&mut self, broken: &mut Vec<String>) {
        let operations = self.durable.operations.values().map(|operation| (operation.actor.clone(), operation.id.to_string()));
        let vms =
            self.durable.vms.values().filter_map(|vm| Some((format!("vm of {}", vm.labels.get("key")?), vm.id.to_string())));
        for (key, effect) in operations.chain(vms).filter(|(key, _)| key.contains("key-")) {
            match self.by_key.get(&key) {
                Some(earlier) if *earlier != effect => broken.push(format!("{key} had two effects: {earlier} and {effect}")),
                Some(_) => {}
                None => {
                    self.by_key.insert(key, effect);
                }
            }
        }
    }

    /// What was said yes to is there, or was undone by something that came after it and was told.
    fn kept(&self, ack: &Ack, broken: &mut Vec<String>) {
        let gone = self.story.of(&ack.id).is_some_and(|told| told.gone);
        let generation = match ack.kind {
            Kind::Vm => ack.id.parse().ok().and_then(|id| self.durable.vms.get(&id)).map(|vm| vm.generation),
            Kind::Image => ack.id.parse().ok().and_then(|id| self.durable.images.get(&id)).map(|image| image.generation),
            Kind::Operation => {
                self.kept_operation(ack, broken);
                return;
            }
            Kind::Webhook => self.hooks.generation(&ack.id),
            Kind::Host => return,
        };
        match (generation, ack.generation) {
            (None, _) if !gone => broken.push(format!("{} was acknowledged ({}) and is lost", ack.id, ack.key)),
            (Some(now), Some(then)) if now < then => {
                broken.push(format!("{} is at generation {}, {} was acknowledged ({})", ack.id, now.0, then.0, ack.key));
            }
            (Some(now), Some(then)) if now == then => {
                let same = ack.vm.as_ref().is_none_or(|vm| self.durable.vms.get(&vm.id).is_some_and(|kept| *kept == **vm));
                if !same {
                    broken.push(format!("{} is not what was acknowledged ({})", ack.id, ack.key));
                }
            }
            _ => {}
        }
        self.kept_operation(ack, broken);
    }

    /// It is known to have begun; one that was cancelled did not go on to its end.
    fn kept_operation(&self, ack: &Ack, broken: &mut Vec<String>) {
        let Some(id) = ack.operation else { return };
        match self.durable.operations.get(&id) {
            // Forgotten after its end, perhaps; that it had ended is the story's to say.
            None if self.story.of(&id.to_string()).is_none() => {
                broken.push(format!("{id} was acknowledged ({}) and is lost", ack.key));
            }
            Some(operation) if ack.kind == Kind::Operation && operation.status == Status::Succeeded => {
                broken.push(format!("{id} was cancelled ({}) and succeeded", ack.key));
            }
            _ => {}
        }
    }

    /// Nothing is under way.
    pub fn is_quiet(&self) -> bool {
        let at_rest = |state: &State| {
            matches!(state, State::Created | State::Running(_) | State::Paused(_) | State::Stopped | State::Failed)
        };
        self.durable.vms.values().all(|vm| at_rest(&vm.state))
            && self.durable.operations.values().all(|operation| operation.status.is_final())
            && self.hooks.is_quiet()
            && self.machine.starved().iter().all(|id| !self.is_running(*id))
    }

    fn is_running(&self, id: domain::VmId) -> bool {
        self.durable.vms.get(&id).is_some_and(|vm| matches!(vm.state, State::Running(_)))
    }

    /// What holds once all is quiet, the view included.
    /// `swept`: the node has started since, and nobody asked for anything.
    pub fn settled(&self, up: &SimNode, swept: bool, broken: &mut Vec<String>) {
        let mut found = Vec::new();
        settled(&self.durable, &self.machine.found(), &mut found);
        self.keep.settled(self.kept_events(), &mut found);
        self.keep.forgotten(&self.durable, &mut found);
        broken.extend(found.iter().map(Broken::to_string));
        let Some(node) = up.node() else {
            broken.push("the node is not up".to_owned());
            return;
        };
        self.hooks.settled(&self.machine, up, swept, broken);
        let (rows, _) = node.view().vms(&Page::first(10_000));
        let shown: BTreeMap<_, _> = rows.iter().map(|row| (row.record.id, row.record.as_ref())).collect();
        let kept: BTreeMap<_, _> = self.durable.vms.iter().map(|(id, vm)| (*id, vm)).collect();
        if shown != kept {
            broken.push(format!("the view shows {:?}, the journal has {:?}", brief(&shown), brief(&kept)));
        }
        let (rows, _) = node.view().operations(&Page::first(100_000));
        let shown: BTreeMap<OperationId, _> = rows.iter().map(|operation| (operation.id, &operation.status)).collect();
        let kept: BTreeMap<OperationId, _> = self.durable.operations.iter().map(|(id, one)| (*id, &one.status)).collect();
        if shown != kept {
            broken.push("the view shows other operations than the journal has".to_owned());
        }
        let held: u64 =
            self.durable.vms.values().filter(|vm| vm.state.holds_capacity()).map(|vm| u64::from(vm.held_mem_mib())).sum();
        if node.held().1 != held {
            broken.push(format!("{} MiB are held, the records say {held}", node.held().1));
        }
    }

    /// Whether this VM is one of the other nodes' too.
    pub fn apart(watches: &[Watch], broken: &mut Vec<String>) {
        let mut found = Vec::new();
        apart(watches.iter().map(|watch| (&*watch.machine.name, &watch.durable, &watch.found)), &mut found);
        broken.extend(found.iter().map(Broken::to_string));
    }
}

fn brief(vms: &BTreeMap<domain::VmId, &Vm>) -> Vec<(String, &'static str, u64)> {
    vms.values().map(|vm| (vm.id.to_string(), vm.state.name(), vm.generation.0)).collect()
}
