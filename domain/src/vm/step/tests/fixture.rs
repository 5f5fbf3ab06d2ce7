//! What the tests of the machine share: records, names for states and inputs, and a VM whose story can be told step by step.

use crate::{
    Attempt, Generation, HostId, ImageId, Labels, Name, OperationId, Timestamp, VmId,
    operation::{Change as OperationChange, Input as OperationInput, OperationKind},
    vm::{
        Agent, BootImages, Command, Driver, Effect, Exit, Finished, InFlight, Input, Inspection, Machine, Observed, Reason,
        ReasonCode, RestartPolicy, Starting, State, Step, StopMode, StopStage, Then, Ticket, Timer, Vm, VmSpec, invariant,
        step::{Draft, create, step},
    },
};
use std::collections::BTreeMap;

/// The launch of the machine in [`vm`]'s records, and the newest attempt of those records.
pub const LAUNCH: Attempt = Attempt(3);
pub const ATTEMPT: Attempt = Attempt(7);
pub const GRACEFUL: StopMode = StopMode::Graceful { deadline_ms: 5_000 };

pub fn machine(launch: Attempt) -> Machine {
    Machine { launch, driver: Driver::Qemu, pid: 42, start_ticks: 1, executable: "/usr/bin/vmm".into(), version: "1".into() }
}

pub fn draft(start: bool, restart: RestartPolicy) -> Draft {
    let name: Name = "demo".parse().expect("a name");
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
        devices: crate::vm::Devices::default(),
    };
    Draft {
        id: VmId::from_bits(1),
        name: name.clone(),
        project: name,
        labels: Labels::new(),
        spec,
        boot: BootImages { kernel: ImageId::from_bits(1), rootfs: ImageId::from_bits(2) },
        host: HostId::from_bits(1),
        nics: vec![],
        network_note: None,
        start,
    }
}

pub fn ticket(operation: u128) -> Ticket {
    Ticket { operation: OperationId::from_bits(operation), actor: "user:admin".into(), agent: Agent::Connected, offer: None }
}

/// A record in `state` as it would be met: with an operation where a user's command leads there.
pub fn vm(state: State) -> Vm {
    let mut vm = create(draft(false, RestartPolicy::OnFailure), ticket(1), Timestamp(1)).next.expect("a record");
    vm.generation = Generation(5);
    vm.attempt = ATTEMPT;
    vm.operation = kind_in_flight(&state).map(|kind| InFlight { id: OperationId::from_bits(1), kind });
    if matches!(&state, State::Failed) || matches!(&state, State::Stopping(stopping) if stopping.then == Then::Failed) {
        vm.reason = Some(Reason { code: ReasonCode::GuestPanic, detail: "seen".into() });
    }
    vm.state = state;
    invariant::check(&vm).expect("a legal record");
    vm
}

fn kind_in_flight(state: &State) -> Option<OperationKind> {
    match state {
        State::Creating { .. } => Some(OperationKind::VmCreate),
        State::Starting(Starting::BackingOff) => None,
        State::Starting(_) => Some(OperationKind::VmStart),
        State::Pausing(_) => Some(OperationKind::VmPause),
        State::Resuming(_) => Some(OperationKind::VmResume),
        State::Stopping(stopping) => match stopping.then {
            Then::Stopped => Some(OperationKind::VmStop),
            Then::Relaunch => Some(OperationKind::VmReboot),
            Then::Delete => Some(OperationKind::VmDelete),
            Then::Restart | Then::Failed => None,
        },
        State::Deleting => Some(OperationKind::VmDelete),
        State::Created
        | State::Running(_)
        | State::Paused(_)
        | State::Stopped
        | State::Snapshotting(_)
        | State::Restoring
        | State::Failed => None,
    }
}

/// A state with what is inside it: `starting/launching`, `stopping/asking>relaunch`.
pub fn path(state: &State) -> String {
    match state {
        State::Creating { start: true } => "creating>start".to_owned(),
        State::Starting(starting) => format!("starting/{}", stage_of(starting)),
        State::Stopping(stopping) => {
            let stage = match stopping.stage {
                StopStage::Asking(_) => "asking",
                StopStage::Killing(_) => "killing",
                StopStage::Cleaning => "cleaning",
                StopStage::Waiting(_) => "waiting",
            };
            format!("stopping/{stage}>{}", format!("{:?}", stopping.then).to_lowercase())
        }
        other => other.name().to_owned(),
    }
}

fn stage_of(starting: &Starting) -> &'static str {
    match starting {
        Starting::Launching => "launching",
        Starting::Releasing(_) => "releasing",
        Starting::Booting(_) => "booting",
        Starting::BackingOff => "backing-off",
    }
}

/// An effect without its data.
pub fn verb(effect: &Effect) -> String {
    match effect {
        Effect::PrepareDisk => "prepare-disk".to_owned(),
        Effect::Launch => "launch".to_owned(),
        Effect::Release(_) => "release".to_owned(),
        Effect::AwaitGuest(_) => "await-guest".to_owned(),
        Effect::Watch(_) => "watch".to_owned(),
        Effect::Inspect(_) => "inspect".to_owned(),
        Effect::Pause(_) => "pause".to_owned(),
        Effect::Resume(_) => "resume".to_owned(),
        Effect::Tune(_) => "tune".to_owned(),
        Effect::GoOn(_) => "go-on".to_owned(),
        Effect::AskShutdown { .. } => "ask".to_owned(),
        Effect::Kill(_) => "kill".to_owned(),
        Effect::Clean => "clean".to_owned(),
        Effect::Remove => "remove".to_owned(),
        Effect::StartTimer { timer, after_ms } => format!("{}-timer({after_ms})", format!("{timer:?}").to_lowercase()),
    }
}

/// What becomes of operations: `+vm-start`, `=ok`, `=superseded`. Progress is left out.
pub fn ends(change: &OperationChange) -> Option<String> {
    match change {
        OperationChange::Begin { kind, .. } => Some(format!("+{}", kind.as_str())),
        OperationChange::Apply { input: OperationInput::Succeed, .. } => Some("=ok".to_owned()),
        OperationChange::Apply { input: OperationInput::Fail(error), .. } => Some(format!("={}", error.code)),
        OperationChange::Apply { input: OperationInput::Cancel, .. } => Some("=cancelled".to_owned()),
        OperationChange::Apply { input: OperationInput::Advance { .. } | OperationInput::Measure { .. }, .. } => None,
    }
}

/// A VM whose story is told step by step; the effects of the last step are what the story may answer.
pub struct Story {
    pub vm: Option<Vm>,
    pub effects: Vec<Effect>,
    pub events: Vec<&'static str>,
    /// How each operation ended; `None`: under way.
    pub operations: BTreeMap<OperationId, Option<String>>,
    pub now: u64,
}

impl Story {
    pub fn create(start: bool, restart: RestartPolicy) -> Story {
        let now = 1_000_000;
        let first = create(draft(start, restart), ticket(1), Timestamp(now));
        let mut story = Story { vm: None, effects: vec![], events: vec![], operations: BTreeMap::new(), now };
        story.take(first);
        story
    }

    /// A VM that runs, its operation 1 done.
    pub fn running(restart: RestartPolicy) -> Story {
        let mut story = Story::create(true, restart);
        story.answers(Finished::DiskReady);
        story.boots();
        story.is("running");
        story
    }

    fn take(&mut self, step: Step) {
        for change in step.operations {
            match &change {
                OperationChange::Begin { id, .. } => assert_eq!(self.operations.insert(*id, None), None, "begun twice"),
                OperationChange::Apply { id, .. } => {
                    let state = self.operations.get_mut(id).expect("a known operation");
                    assert_eq!(*state, None, "changed after its end: {change:?}");
                    *state = ends(&change);
                }
            }
        }
        self.events.extend(step.events.iter().map(|event| event.name));
        self.effects = step.effects;
        self.vm = step.next;
        let open: Vec<_> = self.operations.iter().filter(|(_, end)| end.is_none()).map(|(id, _)| *id).collect();
        let in_flight: Vec<_> = self.vm.iter().filter_map(|vm| vm.operation).map(|operation| operation.id).collect();
        assert_eq!(open, in_flight, "what is under way is what the record says");
        if let Some(vm) = &self.vm {
            invariant::check(vm).expect("the invariants hold");
        }
    }

    pub fn record(&self) -> &Vm {
        self.vm.as_ref().expect("the VM is still there")
    }

    pub fn input(&mut self, input: Input) -> &mut Story {
        let step = step(self.record(), input, Timestamp(self.now)).expect("not refused");
        self.take(step);
        self
    }

    /// A user's command; its operation gets the next free number.
    pub fn user(&mut self, command: Command) -> &mut Story {
        let ticket = ticket(self.operations.len() as u128 + 1);
        self.input(Input::Command { command, ticket })
    }

    /// A user turns the operation in flight back.
    pub fn cancels(&mut self) -> &mut Story {
        let operation = self.record().operation.expect("an operation in flight").id;
        self.input(Input::Command { command: Command::Cancel { operation }, ticket: ticket(operation.bits()) })
    }

    /// An effect of the last step ends so.
    pub fn answers(&mut self, result: Finished) -> &mut Story {
        let asked = self.effects.iter().any(|effect| effect.is_answered_by(&result));
        assert!(asked, "{result:?} answers none of {:?}", self.effects);
        let attempt = self.record().attempt;
        self.input(Input::Finished { attempt, result })
    }

    pub fn observes(&mut self, observed: Observed) -> &mut Story {
        self.input(Input::Observed(observed))
    }

    pub fn exits(&mut self, exit: Exit) -> &mut Story {
        let launch = self.launch();
        self.observes(Observed::Exited { launch, exit })
    }

    pub fn finds(&mut self, found: Inspection) -> &mut Story {
        let launch = self.launch();
        self.observes(Observed::Inspected { launch, found })
    }

    /// The newest attempt's timer fires, at its time.
    pub fn passes(&mut self, timer: Timer) -> &mut Story {
        let attempt = self.record().attempt;
        self.now += self.effects.iter().find_map(|effect| wait_of(effect, timer)).unwrap_or(0);
        self.input(Input::Elapsed { attempt, timer })
    }

    pub fn launch(&self) -> Attempt {
        self.record().state.machine().expect("a machine").launch
    }

    /// The process is made.
    pub fn launches(&mut self) -> &mut Story {
        let launch = self.record().attempt;
        self.answers(Finished::Launched { machine: machine(launch) })
    }

    /// From `launching` to `running`, everything well.
    pub fn boots(&mut self) -> &mut Story {
        let launch = self.record().attempt;
        self.launches().answers(Finished::Released);
        self.observes(Observed::GuestReady { launch })
    }

    pub fn is(&mut self, expected: &str) -> &mut Story {
        assert_eq!(self.vm.as_ref().map_or("gone".to_owned(), |vm| path(&vm.state)), expected);
        self
    }

    pub fn wants(&mut self, expected: &[&str]) -> &mut Story {
        assert_eq!(self.effects.iter().map(verb).collect::<Vec<_>>(), expected);
        self
    }

    pub fn because(&mut self, expected: ReasonCode) -> &mut Story {
        assert_eq!(self.record().reason.as_ref().map(|reason| reason.code), Some(expected));
        self
    }

    /// Operation `number` ended so: `=ok`, or `=` and the error's code.
    pub fn ended(&mut self, number: u128, expected: &str) -> &mut Story {
        let end = self.operations.get(&OperationId::from_bits(number)).cloned().flatten();
        assert_eq!(end.as_deref(), Some(expected), "operation {number}");
        self
    }
}

pub fn wait_of(effect: &Effect, wanted: Timer) -> Option<u64> {
    match effect {
        Effect::StartTimer { timer, after_ms } if *timer == wanted => Some(*after_ms),
        _ => None,
    }
}
