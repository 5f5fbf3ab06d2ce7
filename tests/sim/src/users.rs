//! Users: random commands, each with a key, repeated until answered. Requests are lost, late or doubled; answers are lost.
//!
//! A request that was accepted is remembered for good: whatever happens later, it must not have been in vain ([`Ack`]). Repeating a key is
//! answered from the journal as the HTTP edge does it (`runtime/src/http/idempotency.rs`): one turn a key, the record first.

mod hooks;

use crate::{
    chance::{Chance, Faults},
    node::SimNode,
    ports::pass,
    trace::Trace,
};
use actors::{
    Accepted, CommandError, ImageCommand, NewImage, NewVm, NewWebhook, Node, Who,
    idempotency::{Idempotency, Outcome, Record, TABLE},
    view::Page,
};
use domain::{
    Generation, ImageId, Labels, Name, OperationId, VmId, WebhookId,
    event::Kind,
    image::{ImageKind, ImageSpec},
    operation::Operation,
    vm::{
        Change, Command, Devices, DriveChange, DriveName, DrivesChange, Interface, Mac, NetworksChange, RateLimitsChange,
        RestartPolicy, StopMode, Vm, VmSpec,
    },
    webhook::{self, Webhook},
};
use host::secret::Secret;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use storage::envelope;

/// What a user wants.
#[derive(Debug, Clone)]
pub enum Wish {
    Image { name: &'static str, kind: ImageKind },
    DeleteImage(ImageId),
    LabelImage(ImageId),
    Vm(Box<NewVm>),
    Command { vm: VmId, command: Command, if_match: Option<Generation> },
    Cordon(bool),
    Cancel { operation: OperationId, if_match: Option<Generation> },
    Webhook(Box<NewWebhook>),
    CommandWebhook { id: WebhookId, command: webhook::Command, secret: Option<Secret>, if_match: Option<Generation> },
}

/// What a node said.
#[derive(Debug, Clone)]
pub enum Answer {
    Accepted {
        kind: Kind,
        id: String,
        operation: Option<OperationId>,
        generation: Option<Generation>,
        vm: Option<Arc<Vm>>,
    },
    Refused(String),
    /// It may have been carried out or not: asked again.
    Unknown(String),
}

/// A change that a node said yes to.
#[derive(Debug, Clone)]
pub struct Ack {
    pub key: String,
    pub kind: Kind,
    pub id: String,
    pub operation: Option<OperationId>,
    pub generation: Option<Generation>,
    pub vm: Option<Arc<Vm>>,
}

type Slot = Arc<Mutex<Vec<Answer>>>;

struct Request {
    key: String,
    node: usize,
    wish: Wish,
    next_try_at: u64,
    tries: u64,
    slot: Slot,
}

/// Requests of one key take turns, as long as the process lives.
#[derive(Default)]
struct Turns(Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>);

pub struct Users {
    chance: Chance,
    faults: Faults,
    trace: Trace,
    trouble: u64,
    left: u64,
    pub asked: u64,
    /// Cancellations that were accepted.
    pub cancelled: u64,
    /// Operations that somebody wants back as soon as they were accepted.
    regretted: Vec<(usize, OperationId)>,
    next_ask_at: u64,
    open: Vec<Request>,
    turns: BTreeMap<usize, (u64, Arc<Turns>)>,
    /// By node.
    pub acks: BTreeMap<usize, Vec<Ack>>,
    pub broken: Vec<String>,
}

/// How long a user waits before asking again: longer than the node may take to say that it does not know.
const PATIENCE_MS: u64 = 35_000;
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

impl Users {
    pub fn new(seed: u64, commands: u64, trouble: u64, nodes: usize, faults: Faults, trace: Trace) -> Users {
        let mut users = Users {
            chance: Chance::new(seed, "users"),
            faults,
            trace,
            trouble,
            left: commands,
            asked: 0,
            cancelled: 0,
            regretted: Vec::new(),
            next_ask_at: 2_000,
            open: Vec::new(),
            turns: BTreeMap::new(),
            acks: BTreeMap::new(),
            broken: Vec::new(),
        };
        for node in 0..nodes {
            users.ask(node, Wish::Image { name: "kernel", kind: ImageKind::Kernel }, 0);
            users.ask(node, Wish::Image { name: "rootfs", kind: ImageKind::Rootfs }, 0);
        }
        users
    }

    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Every request has its answer.
    pub fn is_answered(&self) -> bool {
        self.open.is_empty()
    }

    pub fn ask_no_more(&mut self) {
        self.left = 0;
    }

    fn ask(&mut self, node: usize, wish: Wish, now: u64) {
        let key = format!("key-{}", self.asked);
        self.asked += 1;
        self.trace.line(now, "users", format_args!("{key} to node {node}: {wish:?}"));
        self.open.push(Request { key, node, wish, next_try_at: now, tries: 0, slot: Slot::default() });
    }

    /// Asks what is to be asked by now, and hears what was answered.
    pub fn turn(&mut self, nodes: &[SimNode], now: u64) {
        while self.left > 0 && self.next_ask_at <= now {
            self.left -= 1;
            self.next_ask_at += match self.chance.draw() % 10 {
                0..5 => self.chance.between(0, 200),
                5..9 => self.chance.between(200, 8_000),
                _ => self.chance.between(8_000, 120_000),
            };
            let index = (self.chance.draw() % nodes.len() as u64) as usize;
            if let Some(wish) = self.wish(nodes[index].node()) {
                self.ask(index, wish, now);
            }
        }
        self.hear(now);
        for (node, operation) in std::mem::take(&mut self.regretted) {
            self.ask(node, Wish::Cancel { operation, if_match: None }, now);
        }
        for index in 0..self.open.len() {
            if self.open[index].next_try_at <= now {
                self.send(index, nodes, now);
            }
        }
    }

    fn hear(&mut self, now: u64) {
        let mut open = std::mem::take(&mut self.open);
        open.retain_mut(|request| {
            let answers = std::mem::take(&mut *request.slot.lock().unwrap_or_else(PoisonError::into_inner));
            let mut keeps = true;
            for answer in answers {
                self.trace.line(now, "users", format_args!("{} was answered {}", request.key, shown(&answer)));
                self.note(request.node, &request.key, &answer);
                // Whether the node said it counts, not whether it was heard.
                if self.faults.inject(&mut self.chance, self.trouble) {
                    request.next_try_at = now + self.chance.between(0, PATIENCE_MS);
                } else {
                    match answer {
                        Answer::Accepted { .. } | Answer::Refused(_) => keeps = false,
                        Answer::Unknown(_) => request.next_try_at = now + self.chance.between(50, 5_000),
                    }
                }
            }
            keeps
        });
        open.append(&mut self.open);
        self.open = open;
    }

    fn note(&mut self, node: usize, key: &str, answer: &Answer) {
        let Answer::Accepted { kind, id, operation, generation, vm } = answer else { return };
        self.cancelled += u64::from(*kind == Kind::Operation);
        let acks = self.acks.entry(node).or_default();
        if let Some(earlier) = acks.iter().find(|ack| ack.key == key)
            && (earlier.id != *id || earlier.operation != *operation)
        {
            let (one, other) = (&earlier.id, id);
            self.broken.push(format!("{key} had two outcomes: {one} {:?} and {other} {operation:?}", earlier.operation));
        }
        let (kind, id, operation, generation) = (*kind, id.clone(), *operation, *generation);
        if let Some(begun) = operation.filter(|_| self.left > 0 && kind == Kind::Vm && self.chance.hits(180)) {
            self.regretted.push((node, begun));
        }
        acks.push(Ack { key: key.to_owned(), kind, id, operation, generation, vm: vm.clone() });
    }

    fn send(&mut self, index: usize, nodes: &[SimNode], now: u64) {
        let request = &mut self.open[index];
        request.tries += 1;
        request.next_try_at = now + PATIENCE_MS;
        let Some(node) = nodes[request.node].node().cloned() else {
            // Nobody listens: refused at once, asked again soon.
            request.next_try_at = now + 1_000;
            return;
        };
        let (life, turns) = self.turns.entry(request.node).or_default();
        if *life != nodes[request.node].life() {
            (*life, *turns) = (nodes[request.node].life(), Arc::default());
        }
        if self.faults.inject(&mut self.chance, self.trouble) {
            self.trace.line(now, "users", format_args!("{} is lost on its way", request.key));
            return;
        }
        let copies = if self.faults.inject(&mut self.chance, self.trouble) { 2 } else { 1 };
        for _ in 0..copies {
            let late = self.faults.inject(&mut self.chance, self.trouble);
            let late_ms = self.chance.between(1, 20_000);
            let (node, turns, slot) = (node.clone(), Arc::clone(turns), Arc::clone(&request.slot));
            let (key, wish) = (request.key.clone(), request.wish.clone());
            nodes[request.node].spawn(async move {
                pass(if late { late_ms } else { 0 }).await;
                let answer = once(&node, &turns, &key, wish).await;
                slot.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
            });
        }
    }

    /// What comes to a user's mind, also what can't be.
    fn wish(&mut self, node: Option<&Node>) -> Option<Wish> {
        let rows = node.map_or_else(Vec::new, |node| node.view().vms(&Page::first(100)).0);
        let held: Vec<VmId> = rows.iter().filter(|row| row.hold.is_some()).map(|row| row.record.id).collect();
        let vms: Vec<Arc<Vm>> = rows.into_iter().map(|row| row.record).collect();
        let chance = &mut self.chance;
        // Whoever sees that the disk is full may well want the guest to wait until it was looked at.
        if let Some(&vm) = chance.one_of(&held)
            && chance.hits(300)
        {
            return Some(Wish::Command { vm, command: Command::Pause, if_match: None });
        }
        if chance.hits(220)
            && let Some(node) = node
            && let Some(wish) = cancel(chance, node)
        {
            return Some(wish);
        }
        if chance.hits(150)
            && let Some(node) = node
            && let Some(wish) = hooks::wish(chance, node, self.asked)
        {
            return Some(wish);
        }
        if chance.hits(130) {
            let with_machine: Vec<_> = vms.iter().filter(|vm| vm.state.machine().is_some()).collect();
            if let Some(vm) = chance.one_of(&with_machine) {
                return Some(Wish::Command { vm: vm.id, command: Command::Update(tuned(chance)), if_match: None });
            }
        }
        let kind = chance.draw() % 100;
        if kind < 22 || (vms.is_empty() && !(22..32).contains(&kind)) {
            return Some(Wish::Vm(Box::new(new_vm(chance, self.asked))));
        }
        if kind < 30 {
            let images = node.map_or_else(Vec::new, |node| node.view().images(&Page::first(100)).0);
            // The kernel stays; a root file system is made again under another name by nobody, so it goes only where none is used.
            let image = images.iter().find(|image| image.name.as_str().starts_with("extra"));
            return Some(match image {
                Some(image) if kind < 26 => Wish::LabelImage(image.id),
                Some(image) => Wish::DeleteImage(image.id),
                None => Wish::Image { name: "extra", kind: ImageKind::Rootfs },
            });
        }
        if kind < 32 {
            return Some(Wish::Cordon(kind == 30));
        }
        let vm = chance.one_of(&vms)?.clone();
        let command = match kind {
            32..45 => Command::Start,
            45..52 => Command::Stop(StopMode::Graceful { deadline_ms: chance.between(1, 60) * 1_000 }),
            52..57 => Command::Stop(StopMode::Force),
            57..64 => Command::Pause,
            64..71 => Command::Resume,
            71..76 => Command::Reboot(StopMode::Graceful { deadline_ms: 20_000 }),
            76..78 => Command::Reboot(StopMode::Force),
            78..82 => Command::Delete { force: false },
            82..87 => Command::Delete { force: true },
            87..92 => {
                let name = chance.one_of(&NAMES).and_then(|name| name.parse().ok());
                Command::Update(Change { name, ..Change::default() })
            }
            92..95 => {
                let mut labels = vm.labels.clone();
                labels.insert("n".to_owned(), self.asked.to_string());
                Command::Update(Change { labels: Some(Box::new(labels)), ..Change::default() })
            }
            95 => Command::Update(tuned(chance)),
            96 => Command::Update(Change { drives: Some(Box::new(drives(chance))), ..Change::default() }),
            97..99 => {
                let networks = Some(Box::new(NetworksChange::to(interfaces(chance))));
                Command::Update(Change { networks, ..Change::default() })
            }
            _ => Command::Update(Change { mem_mib: Some(64 * chance.between(1, 6) as u32), ..Change::default() }),
        };
        let if_match = chance.hits(150).then_some(vm.generation);
        Some(Wish::Command { vm: vm.id, command, if_match })
    }
}

/// What a machine takes over while it runs.
fn tuned(chance: &mut Chance) -> Change {
    if chance.hits(300) {
        // At times more than its memory has.
        return Change { balloon_mib: Some(24 * chance.between(0, 3) as u32), ..Change::default() };
    }
    if chance.hits(300) {
        // At times of a VM that has no network.
        let metadata = chance.hits(700).then(|| format!("{{\"n\":{}}}", chance.between(1, 9)).into_boxed_str());
        return Change { metadata: Some(metadata), ..Change::default() };
    }
    if chance.hits(300) {
        // At times less than it began with, or more than it may have.
        return Change { mem_mib: Some(64 * chance.between(1, 8) as u32), ..Change::default() };
    }
    if chance.hits(300) {
        // At times less than it is.
        return Change { disk_mib: Some(chance.between(1, 9)), ..Change::default() };
    }
    let disk_mib_per_s = Some(chance.hits(700).then(|| chance.between(1, 100) as u32));
    Change { rate_limits: RateLimitsChange { disk_mib_per_s, ..RateLimitsChange::default() }, ..Change::default() }
}

/// Added, grown or taken away, whether or not there is one of that name.
fn drives(chance: &mut Chance) -> DrivesChange {
    let name: DriveName = if chance.hits(500) { "data" } else { "logs" }.parse().expect("a name");
    let mut change = DrivesChange::default();
    if chance.hits(300) {
        change.remove.push(name);
    } else {
        let size_mib = chance.hits(900).then(|| chance.between(1, 4));
        change.set.push(DriveChange { name, size_mib, read_only: chance.hits(200).then_some(true) });
    }
    change
}

/// Mostly one that is under way; now and then one that has ended. The kernel and the root file system are left to come: without them a run
/// has no VMs.
fn cancel(chance: &mut Chance, node: &Node) -> Option<Wish> {
    let (all, _) = node.view().operations(&Page::first(10_000));
    let ended = chance.hits(80);
    let wanted = |operation: &&Arc<Operation>| {
        let spared = operation.target.kind == Kind::Image && !operation.target.name.as_str().starts_with("extra");
        operation.status.is_final() == ended && !spared
    };
    let all: Vec<&Arc<Operation>> = all.iter().filter(wanted).collect();
    let operation = *chance.one_of(&all)?;
    let if_match = chance.hits(100).then_some(operation.generation);
    Some(Wish::Cancel { operation: operation.id, if_match })
}

fn shown(answer: &Answer) -> String {
    match answer {
        Answer::Accepted { id, operation, generation, .. } => format!("yes: {id} {generation:?} {operation:?}"),
        Answer::Refused(why) => format!("no: {why}"),
        Answer::Unknown(why) => format!("perhaps: {why}"),
    }
}

fn new_vm(chance: &mut Chance, asked: u64) -> NewVm {
    let restart = match chance.draw() % 3 {
        0 => RestartPolicy::Never,
        1 => RestartPolicy::OnFailure,
        _ => RestartPolicy::Always,
    };
    let spec = VmSpec {
        host: None,
        vcpus: 1,
        mem_mib: 64 * chance.between(1, 6) as u32,
        kernel: None,
        image: if chance.hits(50) { "extra".to_owned() } else { "rootfs".to_owned() },
        disk_mib: None,
        cmdline: None,
        networks: interfaces(chance),
        restart,
        devices: Devices { mem_max_mib: chance.hits(500).then_some(64 * 7), ..Devices::default() },
    };
    let named = chance.hits(600);
    let name = chance.one_of(&NAMES).filter(|_| named).and_then(|name| name.parse().ok());
    let labels = Labels::from([("key".to_owned(), format!("key-{asked}"))]);
    NewVm { name, project: project(), labels, spec, start: chance.hits(700) }
}

/// Mostly one; now and then several, with MACs that others may have.
fn interfaces(chance: &mut Chance) -> Vec<Interface> {
    let count = if chance.hits(700) { 1 } else { chance.draw() % 4 };
    let one = |_| {
        let last = (chance.draw() % 6) as u8;
        let mac = chance.hits(200).then(|| Mac::new([2, 0, 0, 0, 0, last]).ok()).flatten();
        Interface { mac, .."default".into() }
    };
    (0..count).map(one).collect()
}

fn project() -> Name {
    "default".parse().expect("a name")
}

/// As the edge does it: one turn a key, what is on record first.
async fn once(node: &Node, turns: &Turns, key: &str, wish: Wish) -> Answer {
    let turn = {
        let mut turns = turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(key.to_owned()).or_default())
    };
    let Ok(_turn) = tokio::time::timeout(std::time::Duration::from_secs(30), turn.lock()).await else {
        return Answer::Unknown("another request with this key is under way".to_owned());
    };
    match node.journal().get(TABLE, key).map(|bytes| bytes.map(|bytes| envelope::decode::<Record>(&bytes))) {
        Err(error) => return Answer::Unknown(error.to_string()),
        Ok(Some(Ok(Record { outcome: Outcome::Accepted { kind, id, operation }, .. }))) => {
            return Answer::Accepted { kind, id, operation, generation: None, vm: None };
        }
        Ok(Some(_)) => return Answer::Refused("the key's record can't be read".to_owned()),
        Ok(None) => {}
    }
    let who = |if_match: Option<Generation>| Who {
        actor: format!("user:{key}"),
        if_match: if_match.map(Into::into),
        idempotency: Some(Idempotency { key: key.to_owned(), fingerprint: [0; 32] }),
    };
    let result = match wish {
        Wish::Vm(new) => node.create_vm(*new, who(None)).await.map(of_vm),
        Wish::Command { vm, command, if_match } => node.command_vm(vm, command, who(if_match)).await.map(of_vm),
        Wish::Image { name, kind } => {
            let spec = ImageSpec {
                kind,
                path: "/image".to_owned(),
                initrd: None,
                default: kind == ImageKind::Kernel,
                description: None,
            };
            let name = name.parse().expect("a name");
            let new = NewImage { name, project: project(), labels: Labels::new(), spec };
            node.create_image(new, who(None)).await.map(of_image)
        }
        Wish::LabelImage(id) => {
            let labels = Labels::from([("labelled".to_owned(), key.to_owned())]);
            let update = ImageCommand::Update { name: None, labels: Some(labels), default: None, description: None };
            node.command_image(id, update, who(None)).await.map(of_image)
        }
        Wish::DeleteImage(id) => node.command_image(id, ImageCommand::Delete, who(None)).await.map(of_image),
        Wish::Webhook(new) => node.create_webhook(*new, who(None)).await.map(of_webhook),
        Wish::CommandWebhook { id, command, secret, if_match } => {
            node.command_webhook(id, command, secret, who(if_match)).await.map(of_webhook)
        }
        Wish::Cancel { operation, if_match } => node.cancel(operation, who(if_match)).await.map(of_operation),
        Wish::Cordon(on) => {
            let command = if on { domain::host::Command::Cordon } else { domain::host::Command::Uncordon };
            let told = node.command_host(node.host(), command, who(None)).await;
            told.map(|host| Answer::Accepted {
                kind: Kind::Host,
                id: host.id.to_string(),
                operation: None,
                generation: Some(host.generation),
                vm: None,
            })
        }
    };
    result.unwrap_or_else(|error| match error {
        CommandError::Busy
        | CommandError::Storage { .. }
        | CommandError::Timeout
        | CommandError::Restarting
        | CommandError::SetAside { .. }
        | CommandError::Stopping => Answer::Unknown(actors::error::chain(&error)),
        refused => Answer::Refused(actors::error::chain(&refused)),
    })
}

fn of_vm(accepted: Accepted<Arc<Vm>>) -> Answer {
    let vm = accepted.resource;
    let (id, generation) = (vm.id.to_string(), Some(vm.generation));
    Answer::Accepted { kind: Kind::Vm, id, operation: accepted.operation, generation, vm: Some(vm) }
}

fn of_image(accepted: Accepted<Arc<domain::image::Image>>) -> Answer {
    let image = accepted.resource;
    let (id, generation) = (image.id.to_string(), Some(image.generation));
    Answer::Accepted { kind: Kind::Image, id, operation: accepted.operation, generation, vm: None }
}

fn of_webhook(accepted: Accepted<Arc<Webhook>>) -> Answer {
    let (id, generation) = (accepted.resource.id.to_string(), Some(accepted.resource.generation));
    Answer::Accepted { kind: Kind::Webhook, id, operation: None, generation, vm: None }
}

fn of_operation(accepted: Accepted<Arc<Operation>>) -> Answer {
    let id = accepted.resource.id.to_string();
    // No generation: the operation goes on, and its target answers for what came of it.
    Answer::Accepted { kind: Kind::Operation, id, operation: accepted.operation, generation: None, vm: None }
}
