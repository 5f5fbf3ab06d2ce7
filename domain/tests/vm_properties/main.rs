//! Random commands, answers, faults and crashes against a small world: whatever happens, a VM comes to rest, every operation ends once,
//! and nothing is left that the record does not know.

mod simulation;
mod world;

use domain::vm::{Agent, Change, Command, DriveChange, DriveName, DrivesChange, Exit, RateLimitsChange, RestartPolicy, StopMode};
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use simulation::{Again, Manners, Simulation};
use world::Fault;

#[derive(Debug, Clone)]
enum Move {
    User(Command, Agent),
    Cancel,
    Perform(Fault),
    Deliver(usize, Again),
    Fire(usize),
    GuestEnds(Exit),
    GuestSaysHello,
    Crash { half_way: Option<Fault>, host_too: bool },
    Settle(Manners),
}

fn command() -> impl Strategy<Value = Command> {
    let mode = || prop_oneof![Just(StopMode::Graceful { deadline_ms: 5_000 }), Just(StopMode::Force)];
    prop_oneof![
        4 => Just(Command::Start),
        3 => mode().prop_map(Command::Stop),
        2 => Just(Command::Pause),
        2 => Just(Command::Resume),
        2 => mode().prop_map(Command::Reboot),
        1 => any::<bool>().prop_map(|force| Command::Delete { force }),
        2 => prop::option::of(1..4u32).prop_map(|most| Command::Update(tune(most))),
        2 => prop::option::of(0..3u32).prop_map(|role| Command::Update(tell(role))),
        1 => (0..3u32).prop_map(|which| Command::Update(rename(which))),
        2 => (0..3u32, any::<bool>()).prop_map(|(which, add)| Command::Update(drive(which, add))),
        1 => policy().prop_map(|restart| Command::Update(Change { restart: Some(restart), ..Change::default() })),
    ]
}

/// Added under a name that may be one that was, or taken away.
fn drive(which: u32, add: bool) -> Change {
    let name: DriveName = format!("d{which}").parse().expect("a name");
    let change = match add {
        true => DrivesChange { set: vec![DriveChange { name, size_mib: Some(1), read_only: None }], remove: vec![] },
        false => DrivesChange { set: vec![], remove: vec![name] },
    };
    Change { drives: Some(Box::new(change)), ..Change::default() }
}

fn tune(most: Option<u32>) -> Change {
    let rate_limits = RateLimitsChange { disk_mib_per_s: Some(most), ..RateLimitsChange::default() };
    Change { rate_limits, balloon_mib: Some(most.unwrap_or(0)), ..Change::default() }
}

fn tell(role: Option<u32>) -> Change {
    let metadata = role.map(|role| format!("{{\"role\":{role}}}").into_boxed_str());
    Change { metadata: Some(metadata), ..Change::default() }
}

fn rename(which: u32) -> Change {
    Change { name: Some(format!("demo-{which}").parse().expect("a name")), ..Change::default() }
}

fn agent() -> impl Strategy<Value = Agent> {
    prop_oneof![Just(Agent::Connected), Just(Agent::Away)]
}

fn policy() -> impl Strategy<Value = RestartPolicy> {
    prop_oneof![Just(RestartPolicy::Never), Just(RestartPolicy::OnFailure), Just(RestartPolicy::Always)]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![8 => Just(Fault::None), 1 => Just(Fault::Refused), 1 => Just(Fault::Half)]
}

fn exit() -> impl Strategy<Value = Exit> {
    prop_oneof![
        Just(Exit::GuestShutdown),
        Just(Exit::GuestReboot),
        Just(Exit::GuestPanic),
        Just(Exit::Killed { signal: 9 }),
        Just(Exit::Failed { code: 1, detail: "seen".into() }),
        Just(Exit::Unknown),
        Just(Exit::OutOfMemory),
        Just(Exit::Seccomp),
    ]
}

fn manners() -> impl Strategy<Value = Manners> {
    (prop::bool::weighted(0.8), any::<bool>()).prop_map(|(says_hello, shuts_down)| Manners { says_hello, shuts_down })
}

fn a_move() -> impl Strategy<Value = Move> {
    let again = prop_oneof![6 => Just(Again::No), 1 => Just(Again::Now), 1 => Just(Again::Later)];
    prop_oneof![
        6 => (command(), agent()).prop_map(|(command, agent)| Move::User(command, agent)),
        2 => Just(Move::Cancel),
        12 => fault().prop_map(Move::Perform),
        // Mostly in order, else any of those under way.
        12 => (prop_oneof![3 => Just(0usize), 1 => 0..8usize], again).prop_map(|(pick, again)| Move::Deliver(pick, again)),
        3 => (0..8usize).prop_map(Move::Fire),
        2 => exit().prop_map(Move::GuestEnds),
        5 => Just(Move::GuestSaysHello),
        2 => (prop::option::of(fault()), prop::bool::weighted(0.2)).prop_map(|(half_way, host_too)| Move::Crash { half_way, host_too }),
        2 => manners().prop_map(Move::Settle),
    ]
}

fn play(simulation: &mut Simulation, a_move: Move) {
    match a_move {
        Move::User(command, agent) => simulation.user(command, agent),
        Move::Cancel => simulation.cancel(),
        Move::Perform(fault) => {
            simulation.perform(fault);
        }
        Move::Deliver(pick, again) => {
            simulation.deliver(pick, again);
        }
        Move::Fire(pick) => {
            simulation.fire(pick);
        }
        Move::GuestEnds(exit) => simulation.guest_ends(exit),
        Move::GuestSaysHello => {
            simulation.hello();
        }
        Move::Crash { half_way, host_too } => simulation.crash(half_way, host_too),
        Move::Settle(manners) => simulation.settle(manners),
    }
}

/// Failures are kept beside the test; cargo runs it in the crate's folder.
fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 3_000,
        max_shrink_iters: 20_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("proptest-regressions/vm_properties.txt"))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_it_comes_to_rest_and_leaves_nothing(
        start in any::<bool>(),
        policy in policy(),
        moves in prop::collection::vec(a_move(), 1..80),
        manners in manners(),
    ) {
        let mut simulation = Simulation::new(start, policy);
        for a_move in moves {
            play(&mut simulation, a_move);
        }
        simulation.settle(manners);
        simulation.user(Command::Delete { force: true }, Agent::Away);
        simulation.settle(manners);
        prop_assert!(simulation.vm.is_none(), "it can always be deleted: {:?}", simulation.vm);
    }
}
