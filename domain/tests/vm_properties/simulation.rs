//! A VM's record, its world, and everything that is under way between them; what must hold is checked at every step.

use crate::world::{Fault, Phase, Tuning, World};
use domain::{
    Attempt, Generation, HostId, ImageId, Labels, Name, OperationId, Timestamp, VmId,
    event::Kind,
    host::{Capability, Offer},
    operation::{self, Change as OperationChange, Operation, OperationKind, Status, Target},
    vm::{
        Agent, BootImages, Command, Driver, Effect, Exit, Finished, Input, Observed, ReasonCode, RestartPolicy, Starting, State,
        Step, StopStage, Ticket, Timer, Vm, VmSpec, cancel, create, invariant,
        step::{Draft, step},
    },
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// With faults at an end a VM settles in far fewer steps: five restarts of some ten inputs each.
const SETTLES_WITHIN: usize = 500;

pub struct Simulation {
    pub vm: Option<Vm>,
    pub world: World,
    queue: VecDeque<(Attempt, Tuning, Effect)>,
    answers: Vec<Input>,
    timers: Vec<(u64, Attempt, Timer)>,
    operations: BTreeMap<OperationId, Operation>,
    /// Those whose cancellation was admitted.
    cancelled: BTreeSet<OperationId>,
    now: u64,
}

/// How the guest behaves once faults are at an end.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    pub says_hello: bool,
    pub shuts_down: bool,
}

fn tuning(vm: &Vm) -> Tuning {
    let devices = &vm.spec.devices;
    (devices.rate_limits, devices.balloon_mib, devices.metadata.clone(), vm.name.to_string())
}

fn name() -> Name {
    "demo".parse().expect("a name")
}

impl Simulation {
    pub fn new(start: bool, restart: RestartPolicy) -> Simulation {
        let spec = VmSpec {
            host: None,
            vcpus: 1,
            mem_mib: 128,
            kernel: None,
            image: "base".into(),
            disk_mib: None,
            cmdline: None,
            networks: vec![],
            restart,
            devices: domain::vm::Devices::default(),
        };
        let draft = Draft {
            id: VmId::from_bits(1),
            name: name(),
            project: name(),
            labels: Labels::new(),
            spec,
            boot: BootImages { kernel: ImageId::from_bits(1), rootfs: ImageId::from_bits(2) },
            host: HostId::from_bits(1),
            nics: vec![],
            network_note: None,
            start,
        };
        let mut simulation = Simulation {
            vm: None,
            world: World::default(),
            queue: VecDeque::new(),
            answers: Vec::new(),
            timers: Vec::new(),
            operations: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            now: 1_000_000,
        };
        let ticket = Ticket { operation: OperationId::from_bits(1), actor: "user:admin".into(), agent: Agent::Away, offer: None };
        let first = create(draft, ticket, Timestamp(simulation.now));
        assert_eq!(first.next.as_ref().map(|vm| vm.generation), Some(Generation(1)));
        simulation.take(first);
        simulation
    }

    /// The step's outcome: the record first, then operations, then effects.
    fn take(&mut self, step: Step) {
        for change in step.operations {
            let succeeded = match &change {
                OperationChange::Apply { id, input: operation::Input::Succeed } => {
                    self.operations.get(id).map(|known| known.kind)
                }
                OperationChange::Apply { .. } | OperationChange::Begin { .. } => None,
            };
            match &change {
                OperationChange::Apply { id, input: operation::Input::Cancel } => {
                    assert!(self.cancelled.contains(id), "nobody cancelled it: {:?}", step.next);
                }
                OperationChange::Apply { id, input: operation::Input::Succeed } => {
                    assert!(!self.cancelled.contains(id), "it was cancelled: {:?}", step.next);
                }
                OperationChange::Apply { .. } | OperationChange::Begin { .. } => {}
            }
            if let Some(kind) = succeeded {
                assert!(reached(kind, step.next.as_ref()), "{kind:?} is told done: {:?}", step.next);
            }
            self.change(change);
        }
        let before = std::mem::replace(&mut self.vm, step.next);
        if let Some(vm) = &self.vm {
            invariant::check(vm).unwrap_or_else(|broken| panic!("{broken}: {vm:?}"));
        }
        let running: Vec<OperationId> = self
            .operations
            .values()
            .filter(|operation| operation.status == Status::Running)
            .map(|operation| operation.id)
            .collect();
        let in_flight: Vec<OperationId> = self.vm.iter().filter_map(|vm| vm.operation).map(|operation| operation.id).collect();
        assert_eq!(running, in_flight, "what is under way is what the record says: {:?}", self.vm);
        let Some(attempt) = self.vm.as_ref().map(|vm| vm.attempt) else {
            assert!(step.effects.is_empty(), "a VM that is no more wants nothing");
            return;
        };
        for effect in step.effects {
            self.begin(before.as_ref(), attempt, effect);
        }
    }

    fn change(&mut self, change: OperationChange) {
        let now = Timestamp(self.now);
        match change {
            OperationChange::Begin { id, kind, actor } => {
                let target = Target { kind: Kind::Vm, id: "vm".into(), name: name() };
                let begun = operation::begin(id, kind, target, name(), actor, now);
                assert!(self.operations.insert(id, begun).is_none(), "begun twice");
            }
            OperationChange::Apply { id, input } => {
                let operation = self.operations.get_mut(&id).expect("an operation that was begun");
                let next = operation::step(operation, input, now).expect("an operation ends once").next;
                operation::invariant::check(&next).expect("the operation's invariants hold");
                *operation = next;
            }
        }
    }

    fn begin(&mut self, before: Option<&Vm>, attempt: Attempt, effect: Effect) {
        let asked = self.vm.as_ref().map(tuning).unwrap_or_default();
        match effect {
            Effect::StartTimer { timer, after_ms } => self.timers.push((self.now + after_ms, attempt, timer)),
            Effect::Watch(_) | Effect::AwaitGuest(_) => {
                let inputs = self.world.act(attempt, &effect, asked, Fault::None);
                self.answers.extend(inputs);
            }
            Effect::Kill(_) => {
                // As the performer does: what ending the machine makes pointless is given up.
                self.queue.retain(|(_, _, queued)| {
                    matches!(queued, Effect::PrepareDisk | Effect::Launch | Effect::Clean | Effect::Remove)
                });
                self.queue.push_back((attempt, asked, effect));
            }
            Effect::Launch => {
                let cleaned = before.is_none_or(|vm| !matches!(vm.state, State::Failed | State::Starting(Starting::Launching)));
                let runs = self.world.process.as_ref().is_some_and(|process| process.phase != Phase::Held);
                assert!(!(cleaned && runs), "another launch while a machine runs: {before:?}");
                self.queue.push_back((attempt, asked, effect));
            }
            effect => self.queue.push_back((attempt, asked, effect)),
        }
    }

    /// One input, and what holds of every single one.
    pub fn input(&mut self, input: Input) {
        let Some(before) = self.vm.clone() else { return };
        self.now += 1;
        let Ok(step) = step(&before, input.clone(), Timestamp(self.now)) else {
            assert!(matches!(input, Input::Command { .. }), "only commands are refused");
            return;
        };
        if let Some(next) = &step.next {
            if *next == before {
                // To look at a machine and to follow one that is as recorded changes no record, nor does it to make one so.
                let looks = |effect: &Effect| match effect {
                    Effect::Inspect(_) | Effect::Watch(_) | Effect::AwaitGuest(_) => true,
                    Effect::Tune(_) => before.retuned,
                    _ => false,
                };
                assert!(
                    step.events.iter().all(|event| event.name == "vm-adopted")
                        && step.operations.is_empty()
                        && step.effects.iter().all(looks),
                    "news of nothing: {step:?}"
                );
            } else {
                assert!(!is_stale(&before, &input), "{input:?} is late and changes {before:?}");
                assert_eq!(next.generation, before.generation.next(), "{input:?} on {before:?}");
                assert!(next.attempt >= before.attempt);
            }
        }
        Self::check_shown(Some(&before), &step);
        self.take(step);
        self.check_world();
    }

    /// What the world may look like while the record says this.
    fn check_world(&self) {
        let World { disk, interface, process, .. } = &self.world;
        let Some(vm) = &self.vm else {
            assert!(!disk && !interface && process.is_none(), "the VM is gone and left something: {:?}", self.world);
            return;
        };
        match &vm.state {
            State::Created | State::Stopped | State::Starting(Starting::BackingOff) | State::Deleting => {
                assert!(!interface && process.is_none(), "{} with {:?}", vm.state.name(), self.world);
            }
            _ => {}
        }
        // Nothing runs that the record does not name, unless it is being cleaned away or that failed and was said.
        if let Some(process) = process.as_ref().filter(|process| process.phase != Phase::Held) {
            let known = match &vm.state {
                State::Stopping(stopping) if stopping.stage == StopStage::Cleaning => true,
                State::Failed | State::Starting(Starting::Launching) => true,
                state => state.machine() == Some(&process.machine),
            };
            assert!(known, "{process:?} runs, and the record says {:?}", vm.state);
        }
    }

    pub fn user(&mut self, command: Command, agent: Agent) {
        let operation = OperationId::from_bits(self.operations.len() as u128 + 1);
        let offer = Some(Offer { driver: Driver::Simulated, capabilities: Capability::ALL.to_vec().into() });
        let ticket = Ticket { operation, actor: "user:admin".into(), agent, offer };
        self.input(Input::Command { command, ticket });
    }

    /// A user cancels what is in flight; what is shown to be possible is, and the rest changes nothing.
    pub fn cancel(&mut self) {
        let Some(before) = self.vm.clone() else { return };
        let operation = before.operation.map_or(OperationId::from_bits(1), |in_flight| in_flight.id);
        let shown = cancel::admit(&before, operation);
        let ticket = Ticket { operation, actor: "user:admin".into(), agent: Agent::Away, offer: None };
        if shown.is_ok() {
            self.cancelled.insert(operation);
        }
        self.input(Input::Command { command: Command::Cancel { operation }, ticket });
        let unchanged = self.vm.as_ref() == Some(&before);
        assert_eq!(unchanged, shown.is_err(), "shown {shown:?}: {before:?}");
    }

    /// Whoever holds the operation's ETag learns of every change of what it may be asked.
    fn check_shown(before: Option<&Vm>, step: &Step) {
        let (Some(before), Some(next)) = (before, &step.next) else { return };
        let Some(operation) = before.operation.map(|in_flight| in_flight.id) else { return };
        if cancel::admit(before, operation) != cancel::admit(next, operation) {
            let changes = step.operations.iter();
            let told = changes.filter(|change| matches!(change, OperationChange::Apply { id, .. } if *id == operation)).count();
            assert!(told > 0, "whether it can be cancelled changed in silence: {before:?} to {next:?}");
        }
    }

    /// The next effect is carried out; its answer is under way.
    pub fn perform(&mut self, fault: Fault) -> bool {
        let Some((attempt, asked, effect)) = self.queue.pop_front() else { return false };
        let inputs = self.world.act(attempt, &effect, asked, fault);
        self.answers.extend(inputs);
        true
    }

    /// Some answer that is under way arrives; `again`: and once more, now or later.
    pub fn deliver(&mut self, pick: usize, again: Again) -> bool {
        if self.answers.is_empty() {
            return false;
        }
        let pick = pick % self.answers.len();
        let input = self.answers.remove(pick);
        // The host is asked once and answers once.
        let doubled = !matches!(input, Input::Observed(Observed::Inspected { .. }));
        self.input(input.clone());
        match again {
            Again::Now if doubled => {
                let before = self.vm.clone();
                let moves_on = matches!(input, Input::Observed(Observed::GuestReady { .. }))
                    || matches!(input, Input::Finished { result: Finished::ShutdownAsked, .. });
                self.input(input.clone());
                assert!(moves_on || self.vm == before, "{input:?} counted twice");
            }
            Again::Later if doubled => self.answers.push(input),
            Again::Now | Again::Later | Again::No => {}
        }
        true
    }

    /// Some timer fires, in time or late.
    pub fn fire(&mut self, pick: usize) -> bool {
        if self.timers.is_empty() {
            return false;
        }
        let pick = pick % self.timers.len();
        let (due, attempt, timer) = self.timers.remove(pick);
        self.now = self.now.max(due);
        self.input(Input::Elapsed { attempt, timer });
        true
    }

    pub fn guest_ends(&mut self, exit: Exit) {
        if self.world.process.as_ref().is_some_and(|process| process.phase == Phase::Running) {
            let input = self.world.end(exit);
            self.answers.extend(input);
        }
    }

    pub fn hello(&mut self) -> bool {
        let input = self.world.hello();
        self.answers.extend(input.clone());
        input.is_some()
    }

    /// hearth ends: all that is under way is lost, an effect perhaps half-way. It comes back with the record alone.
    pub fn crash(&mut self, half_way: Option<Fault>, host_too: bool) {
        if let Some(fault) = half_way {
            self.perform(fault);
        }
        self.queue.clear();
        self.answers.clear();
        self.timers.clear();
        (self.world.watched, self.world.awaited) = (None, None);
        if host_too {
            self.world.process = None;
            self.world.interface = false;
        }
        self.input(Input::Recovered);
    }

    /// Everything that is under way comes to its end, well.
    pub fn settle(&mut self, manners: Manners) {
        for _ in 0..SETTLES_WITHIN {
            let acted =
                self.perform(Fault::None) || self.deliver(0, Again::No) || self.guest_acts(manners) || self.fire_earliest();
            if !acted {
                return self.check_rest();
            }
        }
        panic!("never comes to rest: {:?}", self.vm);
    }

    fn guest_acts(&mut self, manners: Manners) -> bool {
        let awaited = self.vm.as_ref().is_some_and(|vm| match &vm.state {
            State::Starting(starting) => matches!(starting, Starting::Booting(_)),
            State::Stopping(stopping) => matches!(stopping.stage, StopStage::Waiting(_)),
            _ => false,
        });
        if awaited && manners.says_hello {
            return self.hello();
        }
        if manners.shuts_down && self.world.process.as_ref().is_some_and(|process| process.shutting_down) {
            self.guest_ends(Exit::GuestShutdown);
            return true;
        }
        false
    }

    fn fire_earliest(&mut self) -> bool {
        let earliest = (0..self.timers.len()).min_by_key(|index| self.timers[*index].0);
        earliest.is_some_and(|index| self.fire(index))
    }

    /// Nothing is under way any more: the state is one of rest, operations have ended, and the world is what the record says.
    fn check_rest(&self) {
        let unended: Vec<_> = self.operations.values().filter(|operation| !operation.status.is_final()).collect();
        assert!(unended.is_empty(), "never ended: {unended:?}");
        self.check_world();
        let Some(vm) = &self.vm else { return };
        let phase = self.world.process.as_ref().map(|process| (process.phase, &process.machine));
        // Whatever happened meanwhile: it has what is recorded, or a try failed, which is said.
        let told = vm.reason.as_ref().is_some_and(|reason| reason.code == ReasonCode::NotApplied);
        if let (State::Running(_) | State::Paused(_), Some(process)) = (&vm.state, &self.world.process) {
            assert!(process.tuned == tuning(vm) || told, "{process:?} has not what is recorded: {vm:?}");
        }
        if told {
            assert!(
                vm.state.machine().is_none() || self.world.not_tuned,
                "it has what is recorded, and the record says no: {vm:?}"
            );
        }
        match &vm.state {
            State::Created | State::Stopped => assert!(self.world.disk, "{vm:?}"),
            State::Running(machine) => {
                assert_eq!(phase, Some((Phase::Running, machine)));
                assert!(self.world.disk && self.world.interface);
            }
            State::Paused(machine) => {
                assert_eq!(phase, Some((Phase::Paused, machine)));
                assert!(self.world.disk && self.world.interface);
            }
            State::Failed => {
                let said = vm
                    .reason
                    .as_ref()
                    .is_some_and(|reason| matches!(reason.code, ReasonCode::CleanFailed | ReasonCode::DeleteFailed));
                assert!(said || (phase.is_none() && !self.world.interface), "failed, and left {:?}", self.world);
            }
            state => panic!("stuck in {state:?}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    No,
    Now,
    Later,
}

fn is_stale(vm: &Vm, input: &Input) -> bool {
    let launch = |launch: &Attempt| vm.state.machine().is_none_or(|machine| machine.launch != *launch);
    match input {
        Input::Finished { attempt, .. } | Input::Elapsed { attempt, .. } => *attempt != vm.attempt,
        Input::Observed(
            Observed::Exited { launch: of, .. } | Observed::GuestReady { launch: of } | Observed::Inspected { launch: of, .. },
        ) => launch(of),
        Input::Command { .. } | Input::Recovered => false,
    }
}

/// Whether the record is where an operation of that kind was to lead.
fn reached(kind: OperationKind, vm: Option<&Vm>) -> bool {
    let state = vm.map(|vm| &vm.state);
    match kind {
        OperationKind::VmCreate => matches!(state, Some(State::Created | State::Running(_))),
        OperationKind::VmStart | OperationKind::VmResume | OperationKind::VmReboot => matches!(state, Some(State::Running(_))),
        OperationKind::VmStop => matches!(state, Some(State::Stopped)),
        OperationKind::VmPause => matches!(state, Some(State::Paused(_))),
        OperationKind::VmDelete => state.is_none(),
        OperationKind::ImageCreate | OperationKind::ImageDelete => false,
    }
}
