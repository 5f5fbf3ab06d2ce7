//! Every state by every input, against `table.txt`.
//!
//! The file lists what each input does in each state; what is not listed changes nothing. A new state or input does not compile until it
//! is counted here, and a changed decision shows as a changed line: `HEARTH_WRITE_TABLE=1 cargo test -p hearth-domain table` writes
//! the file anew, to be read line by line before it is committed.

use super::fixture::{ATTEMPT, GRACEFUL, LAUNCH, ends, machine, path, ticket, verb, vm};
use crate::{
    Attempt, OperationId, Timestamp,
    host::{Capabilities, Capability, Offer},
    ipam::mac_of,
    vm::{
        Action, Change, CloudInit, Command, DriveChange, Driver, DrivesChange, Effect, Exit, Finished, Input, Inspection,
        NetworksChange, Nic, Observed, PasswordChange, RateLimitsChange, Starting, State, StopMode, StopStage, Stopping, Then,
        Ticket, Timer, Vm, admit, invariant, step::step, table,
    },
};
use std::{collections::BTreeSet, fmt::Write, net::Ipv4Addr};

const EXPECTED: &str = include_str!("table.txt");
const THENS: [Then; 5] = [Then::Stopped, Then::Relaunch, Then::Restart, Then::Failed, Then::Delete];
const TIMERS: [Timer; 5] = [Timer::Boot, Timer::Stop, Timer::Backoff, Timer::Retry, Timer::Hold];

fn states() -> Vec<State> {
    let m = || machine(LAUNCH);
    let mut states = vec![
        State::Creating { start: false },
        State::Creating { start: true },
        State::Created,
        State::Starting(Starting::Launching),
        State::Starting(Starting::Releasing(m())),
        State::Starting(Starting::Booting(m())),
        State::Starting(Starting::BackingOff),
        State::Running(m()),
        State::Pausing(m()),
        State::Paused(m()),
        State::Resuming(m()),
        State::Snapshotting(m()),
        State::Restoring,
        State::Stopped,
        State::Failed,
        State::Deleting,
    ];
    for stage in [StopStage::Asking(m()), StopStage::Killing(m()), StopStage::Cleaning, StopStage::Waiting(m())] {
        for then in THENS {
            states.push(State::Stopping(Stopping { stage: stage.clone(), then, tries: 0 }));
        }
    }
    states
}

/// A number for each kind of state: a new one does not compile until it has its number, and then its place above.
fn number_of_state(state: &State) -> usize {
    match state {
        State::Creating { start: false } => 0,
        State::Creating { start: true } => 1,
        State::Created => 2,
        State::Starting(Starting::Launching) => 3,
        State::Starting(Starting::Releasing(_)) => 4,
        State::Starting(Starting::Booting(_)) => 5,
        State::Starting(Starting::BackingOff) => 6,
        State::Running(_) => 7,
        State::Pausing(_) => 8,
        State::Paused(_) => 9,
        State::Resuming(_) => 10,
        State::Snapshotting(_) => 11,
        State::Restoring => 12,
        State::Stopped => 13,
        State::Failed => 14,
        State::Deleting => 15,
        State::Stopping(stopping) => {
            let then = match stopping.then {
                Then::Stopped => 0,
                Then::Relaunch => 1,
                Then::Restart => 2,
                Then::Failed => 3,
                Then::Delete => 4,
            };
            let stage = match stopping.stage {
                StopStage::Asking(_) => 0,
                StopStage::Killing(_) => 1,
                StopStage::Cleaning => 2,
                StopStage::Waiting(_) => 3,
            };
            16 + stage * 5 + then
        }
    }
}

const STATES: usize = 36;

fn a_limit() -> RateLimitsChange {
    RateLimitsChange { disk_mib_per_s: Some(Some(9)), ..RateLimitsChange::default() }
}

fn a_drive() -> Option<Box<DrivesChange>> {
    let drive = DriveChange { name: "data".parse().expect("a name"), size_mib: Some(9), read_only: None };
    Some(Box::new(DrivesChange { set: vec![drive], remove: vec![] }))
}

fn two_interfaces() -> Option<Box<NetworksChange>> {
    let nics = (2..4).map(|last| {
        let address = Ipv4Addr::new(10, 0, 0, last);
        let tap = format!("tap{last}");
        Nic { address, prefix: 24, gateway: Ipv4Addr::new(10, 0, 0, 1), mac: mac_of(address), tap }
    });
    Some(Box::new(NetworksChange { wanted: vec!["default".into(); 2], nics: nics.collect(), note: None }))
}

fn a_password() -> Box<CloudInit> {
    Box::new(CloudInit { password_hash: Some("$6$salt$hash".into()), ..CloudInit::default() })
}

fn commands() -> Vec<(&'static str, Command)> {
    let looks = Change { name: Some("other".parse().expect("a name")), ..Change::default() };
    vec![
        ("start", Command::Start),
        ("stop", Command::Stop(GRACEFUL)),
        ("stop force", Command::Stop(StopMode::Force)),
        ("pause", Command::Pause),
        ("resume", Command::Resume),
        ("reboot", Command::Reboot(GRACEFUL)),
        ("reboot force", Command::Reboot(StopMode::Force)),
        ("delete", Command::Delete { force: false }),
        ("delete force", Command::Delete { force: true }),
        ("update name", Command::Update(looks)),
        ("update vcpus", Command::Update(Change { vcpus: Some(2), ..Change::default() })),
        ("update disk", Command::Update(Change { disk_mib: Some(900), ..Change::default() })),
        ("update networks", Command::Update(Change { networks: two_interfaces(), ..Change::default() })),
        ("update drives", Command::Update(Change { drives: a_drive(), ..Change::default() })),
        ("update cpu template", Command::Update(Change { cpu_template: Some(None), ..Change::default() })),
        ("update limits", Command::Update(Change { rate_limits: a_limit(), ..Change::default() })),
        ("update balloon", Command::Update(Change { balloon_mib: Some(9), ..Change::default() })),
        ("update password", Command::Update(Change { cloud_init: Some(Some(a_password())), ..Change::default() })),
        (
            "keep password",
            Command::Update(Change {
                cloud_init: Some(Some(Box::default())),
                password: PasswordChange::Kept,
                ..Change::default()
            }),
        ),
        ("cancel", Command::Cancel { operation: OperationId::from_bits(1) }),
        ("cancel another", Command::Cancel { operation: OperationId::from_bits(99) }),
    ]
}

fn exits() -> Vec<(&'static str, Exit)> {
    vec![
        ("shutdown", Exit::GuestShutdown),
        ("reboot", Exit::GuestReboot),
        ("panic", Exit::GuestPanic),
        ("killed", Exit::Killed { signal: 9 }),
        ("failed", Exit::Failed { code: 1, detail: "seen".into() }),
        ("unknown", Exit::Unknown),
        ("oom", Exit::OutOfMemory),
        ("seccomp", Exit::Seccomp),
    ]
}

fn observations(launch: Attempt) -> Vec<(String, Observed)> {
    let mut all = vec![("guest-ready".to_owned(), Observed::GuestReady { launch })];
    for (name, exit) in exits() {
        all.push((format!("exited {name}"), Observed::Exited { launch, exit: exit.clone() }));
        all.push((format!("inspected gone {name}"), Observed::Inspected { launch, found: Inspection::Gone { exit } }));
    }
    for (name, found) in [
        ("running", Inspection::Running),
        ("paused", Inspection::Paused),
        ("held", Inspection::Held),
        ("disk-full", Inspection::DiskFull),
    ] {
        all.push((format!("inspected {name}"), Observed::Inspected { launch, found }));
    }
    all
}

fn results() -> Vec<(&'static str, Finished)> {
    let (code, detail) = (|| "disk-full".to_owned(), || "seen".to_owned());
    vec![
        ("disk-ready", Finished::DiskReady),
        ("disk-failed", Finished::DiskFailed { code: code(), detail: detail() }),
        ("launched", Finished::Launched { machine: machine(ATTEMPT) }),
        ("launch-failed", Finished::LaunchFailed { code: code(), detail: detail() }),
        ("released", Finished::Released),
        ("release-failed", Finished::ReleaseFailed { detail: detail() }),
        ("paused", Finished::Paused),
        ("pause-failed", Finished::PauseFailed { detail: detail() }),
        ("resumed", Finished::Resumed),
        ("resume-failed", Finished::ResumeFailed { detail: detail() }),
        ("tuned", Finished::Tuned),
        ("tune-failed", Finished::TuneFailed { detail: detail() }),
        ("shutdown-asked", Finished::ShutdownAsked),
        ("shutdown-failed", Finished::ShutdownFailed { detail: detail() }),
        ("killed", Finished::Killed),
        ("kill-failed", Finished::KillFailed { detail: detail() }),
        ("cleaned", Finished::Cleaned),
        ("clean-failed", Finished::CleanFailed { detail: detail() }),
        ("removed", Finished::Removed),
        ("remove-failed", Finished::RemoveFailed { detail: detail() }),
    ]
}

/// What is told at once where the driver has a metadata service.
fn tellings() -> Vec<(&'static str, Change)> {
    vec![
        ("tell metadata", Change { metadata: Some(Some("{}".into())), ..Change::default() }),
        ("tell no metadata", Change { metadata: Some(None), ..Change::default() }),
        ("tell name", Change { name: Some("other".parse().expect("a name")), ..Change::default() }),
        ("tell keys", Change { cloud_init: Some(Some(Box::default())), ..Change::default() }),
    ]
}

/// Everything that can happen to a record of [`vm`], with its name.
fn inputs() -> Vec<(String, Input)> {
    let mut all = Vec::new();
    for (name, command) in commands() {
        all.push((name.to_owned(), Input::Command { command, ticket: ticket(2) }));
    }
    for (name, change) in tellings() {
        let [_, all_there_is, _] = offers();
        let ticket = Ticket { offer: all_there_is, ..ticket(2) };
        all.push((name.to_owned(), Input::Command { command: Command::Update(change), ticket }));
    }
    for (name, observed) in observations(LAUNCH) {
        all.push((name, Input::Observed(observed)));
    }
    for (name, result) in results() {
        all.push((name.to_owned(), Input::Finished { attempt: ATTEMPT, result }));
    }
    for timer in TIMERS {
        all.push((format!("elapsed {}", format!("{timer:?}").to_lowercase()), Input::Elapsed { attempt: ATTEMPT, timer }));
    }
    all.push(("recovered".to_owned(), Input::Recovered));
    all
}

/// The same with everything that has a number carrying another one.
fn stale_inputs() -> Vec<(String, Input)> {
    let mut all = Vec::new();
    for number in [0, 2, 4, 9] {
        all.extend(observations(Attempt(number)).into_iter().map(|(name, observed)| (name, Input::Observed(observed))));
    }
    for attempt in [Attempt(0), LAUNCH, Attempt(ATTEMPT.0 - 1), ATTEMPT.next()] {
        all.extend(results().into_iter().map(|(name, result)| (name.to_owned(), Input::Finished { attempt, result })));
        all.extend(TIMERS.map(|timer| (format!("{timer:?}"), Input::Elapsed { attempt, timer })));
    }
    all
}

/// A number for each kind of input, as for states.
fn number_of_input(input: &Input) -> usize {
    match input {
        Input::Command { command, .. } => match command {
            Command::Start => 0,
            Command::Stop(StopMode::Graceful { .. }) => 1,
            Command::Stop(StopMode::Force) => 2,
            Command::Pause => 3,
            Command::Resume => 4,
            Command::Reboot(StopMode::Graceful { .. }) => 5,
            Command::Reboot(StopMode::Force) => 6,
            Command::Delete { force: false } => 7,
            Command::Delete { force: true } => 8,
            Command::Update(_) => 9,
            Command::Cancel { .. } => 53,
        },
        Input::Observed(Observed::GuestReady { .. }) => 10,
        Input::Observed(Observed::Exited { exit, .. }) => 14 + number_of_exit(exit),
        Input::Observed(Observed::Inspected { found, .. }) => match found {
            Inspection::Running => 11,
            Inspection::Paused => 12,
            Inspection::Held => 13,
            Inspection::DiskFull => 54,
            Inspection::Gone { exit } => 22 + number_of_exit(exit),
        },
        Input::Finished { result: Finished::Tuned, .. } => 54,
        Input::Finished { result: Finished::TuneFailed { .. }, .. } => 55,
        Input::Finished { result, .. } => 30 + number_of_result(result),
        Input::Elapsed { timer, .. } => match timer {
            Timer::Boot => 48,
            Timer::Stop => 49,
            Timer::Backoff => 50,
            Timer::Retry => 51,
            Timer::Hold => 55,
        },
        Input::Recovered => 52,
    }
}

const INPUTS: usize = 56;

fn number_of_exit(exit: &Exit) -> usize {
    match exit {
        Exit::GuestShutdown => 0,
        Exit::GuestReboot => 1,
        Exit::GuestPanic => 2,
        Exit::Killed { .. } => 3,
        Exit::Failed { .. } => 4,
        Exit::Unknown => 5,
        Exit::OutOfMemory => 6,
        Exit::Seccomp => 7,
    }
}

fn number_of_result(result: &Finished) -> usize {
    match result {
        Finished::DiskReady => 0,
        Finished::DiskFailed { .. } => 1,
        Finished::Launched { .. } => 2,
        Finished::LaunchFailed { .. } => 3,
        Finished::Released => 4,
        Finished::ReleaseFailed { .. } => 5,
        Finished::Paused => 6,
        Finished::PauseFailed { .. } => 7,
        Finished::Resumed => 8,
        Finished::ResumeFailed { .. } => 9,
        Finished::ShutdownAsked => 10,
        Finished::ShutdownFailed { .. } => 11,
        Finished::Killed => 12,
        Finished::KillFailed { .. } => 13,
        Finished::Cleaned => 14,
        Finished::CleanFailed { .. } => 15,
        Finished::Removed => 16,
        Finished::RemoveFailed { .. } => 17,
        Finished::Tuned | Finished::TuneFailed { .. } => unreachable!("numbered by itself"),
    }
}

/// What `input` does: where it leads, what is asked of the world, what becomes of operations. Absent: nothing.
fn outcome(before: &Vm, input: Input) -> Option<String> {
    let step = match step(before, input, Timestamp(2)) {
        Err(refused) => return Some(format!("refused {}", refused.code())),
        Ok(step) => step,
    };
    if let Some(next) = &step.next {
        invariant::check(next).expect("the invariants hold");
        if next == before && step.effects.is_empty() {
            assert!(step.events.is_empty() && step.operations.is_empty(), "{step:?}");
            return None;
        }
        // To look, and to follow what is found as recorded, is no change.
        let looks = |effect: &Effect| matches!(effect, Effect::Inspect(_) | Effect::Watch(_) | Effect::AwaitGuest(_));
        if next == before {
            assert!(step.effects.iter().all(looks) && step.operations.is_empty(), "{step:?}");
        } else {
            assert_eq!(next.generation, before.generation.next(), "a change is one generation");
        }
    }
    let mut words = vec![step.next.as_ref().map_or("gone".to_owned(), |next| path(&next.state))];
    words.extend(step.effects.iter().map(verb));
    words.extend(step.operations.iter().filter_map(ends));
    Some(words.join(" "))
}

fn render() -> String {
    let mut text = String::new();
    for state in states() {
        writeln!(text, "{}", path(&state)).expect("a String takes all");
        for (name, input) in inputs() {
            if let Some(outcome) = outcome(&vm(state.clone()), input) {
                writeln!(text, "  {name:<24}{outcome}").expect("a String takes all");
            }
        }
    }
    text
}

#[test]
fn the_lists_are_complete() {
    let states: BTreeSet<usize> = states().iter().map(number_of_state).collect();
    assert_eq!(states, (0..STATES).collect());
    let inputs: BTreeSet<usize> = inputs().iter().map(|(_, input)| number_of_input(input)).collect();
    assert_eq!(inputs, (0..INPUTS).collect());
}

#[test]
fn every_state_by_every_input() {
    let found = render();
    if std::env::var_os("HEARTH_WRITE_TABLE").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/vm/step/tests/table.txt");
        std::fs::write(file, &found).expect("the table is written");
        return;
    }
    for (number, (found, expected)) in found.lines().zip(EXPECTED.lines()).enumerate() {
        assert_eq!(found, expected, "line {} of table.txt", number + 1);
    }
    assert_eq!(found.lines().count(), EXPECTED.lines().count(), "table.txt and the machine have different lengths");
}

#[test]
fn what_carries_another_number_changes_nothing() {
    for state in states() {
        let before = vm(state);
        for (name, input) in stale_inputs() {
            assert_eq!(outcome(&before, input.clone()), None, "{} + {name}: {input:?}", path(&before.state));
        }
    }
}

/// What a driver may offer: nothing is known of it, all, or nothing.
fn offers() -> [Option<Offer>; 3] {
    let offer = |capabilities| Some(Offer { driver: Driver::Simulated, capabilities });
    [None, offer(Capabilities::from(Capability::ALL.to_vec())), offer(Capabilities::NONE)]
}

#[test]
fn what_is_shown_is_what_is_admitted() {
    for (state, offer) in states().into_iter().flat_map(|state| offers().map(|offer| (state.clone(), offer))) {
        let before = vm(state);
        let has = |what| offer.is_none_or(|offer| offer.capabilities.has(what));
        let refusal = |command: Command| admit(&before, &command, offer).err();
        for (action, shown) in table(&before, offer) {
            let admitted = match action {
                Action::Start => refusal(Command::Start),
                // Shown as possible when either way is; else the refusal is the same for both.
                Action::Stop => refusal(Command::Stop(GRACEFUL)).and(refusal(Command::Stop(StopMode::Force))),
                Action::Pause => refusal(Command::Pause),
                Action::Resume => refusal(Command::Resume),
                Action::Reboot => {
                    assert_eq!(refusal(Command::Reboot(GRACEFUL)), refusal(Command::Reboot(StopMode::Force)));
                    refusal(Command::Reboot(GRACEFUL))
                }
                Action::Delete => refusal(Command::Delete { force: false }),
                Action::Update => refusal(Command::Update(Change::default())),
                // No command of the machine: they need a guest, a process, or nothing.
                Action::Shell | Action::Exec => {
                    assert_eq!(shown.is_none(), has(Capability::GuestAgent) && matches!(before.state, State::Running(_)));
                    continue;
                }
                Action::Console => {
                    assert_eq!(shown.is_none(), before.state.machine().is_some());
                    continue;
                }
                Action::Logs => None,
            };
            assert_eq!(shown, admitted, "{} in {}", action.as_str(), path(&before.state));
        }
        for (name, command) in commands() {
            let ticket = Ticket { offer, ..ticket(2) };
            let answer = step(&before, Input::Command { command: command.clone(), ticket }, Timestamp(2));
            assert_eq!(answer.err(), refusal(command), "{name} in {}", path(&before.state));
        }
    }
}

#[test]
fn what_the_driver_can_not_do_is_refused_in_every_state_and_nothing_else_is() {
    for state in states() {
        let before = vm(state);
        for what in [Capability::Pause, Capability::GuestAgent] {
            let all = Capability::ALL.into_iter().filter(|other| *other != what).collect::<Vec<_>>();
            let offer = Some(Offer { driver: Driver::Firecracker, capabilities: Capabilities::from(all) });
            for ((action, without), (_, with)) in table(&before, offer).into_iter().zip(table(&before, None)) {
                let needs_it = match what {
                    // Resume is not: one that was paused when the driver could, by an earlier hearth, must not stay so.
                    Capability::Pause => action == Action::Pause,
                    _ => matches!(action, Action::Shell | Action::Exec),
                };
                match needs_it {
                    false => assert_eq!(without, with, "{} in {}", action.as_str(), path(&before.state)),
                    true => {
                        let refused = without.expect("the driver lacks it");
                        assert_eq!(refused.code(), "unsupported-by-driver");
                        assert!(refused.to_string().contains("firecracker"), "{refused}");
                    }
                }
            }
        }
    }
}
