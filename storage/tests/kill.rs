//! kill -9 at a random moment, fifty times on one directory: what was acknowledged is there, and nothing is half there.
//!
//! The child is this test binary run again, on the test `child`. It prints an acknowledgement on its standard output for
//! every batch; the parent kills it, reads the pipe to its end, reopens the journal itself and checks.
//! kill -9 keeps the page cache: this shows the order of acknowledging and writing, not the sync. The sync is for the
//! loss of power, which needs a machine to lose it.
#![allow(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rand::Rng;
use storage::{Batch, Journal, Options};

const ROUNDS: usize = 50;
const THREADS: u64 = 4;
/// Records that each batch overwrites, all with its number.
const RECORDS: u64 = 3;
/// Events that each batch appends.
const EVENTS: u64 = 2;
const DIR: &str = "HEARTH_KILL_TEST_DIR";
const EARLY: &str = "HEARTH_KILL_TEST_EARLY";
/// One record in this many is large enough to be stored in chunks.
const LARGE_EVERY: u64 = 7;
const LARGE_BYTES: usize = 9000;
/// A child that does not get to work in this time is broken.
const FIRST_ACK: Duration = Duration::from_secs(30);

fn options(path: &Path) -> Options {
    Options { keep_events: u64::MAX, ..Options::new(path) }
}

/// The value of every record and event of batch `step` of `thread`.
fn value(thread: u64, step: u64) -> Vec<u8> {
    let mut bytes = format!("{thread} {step}").into_bytes();
    if step.is_multiple_of(LARGE_EVERY) {
        bytes.resize(LARGE_BYTES, b' ');
    }
    bytes
}

fn parse(bytes: &[u8]) -> (u64, u64) {
    let text = std::str::from_utf8(bytes).unwrap();
    let mut numbers = text.split_whitespace().map(|number| number.parse().unwrap());
    let pair = (numbers.next().unwrap(), numbers.next().unwrap());
    assert_eq!(bytes, value(pair.0, pair.1), "a value is damaged");
    pair
}

fn batch(thread: u64, step: u64) -> Batch {
    let mut batch = Batch::default().put("steps", format!("{thread}-{step:08}"), value(thread, step));
    for record in 0..RECORDS {
        batch = batch.put("records", format!("{thread}-{record}"), value(thread, step));
    }
    for _ in 0..EVENTS {
        batch = batch.event(value(thread, step));
    }
    // A deletion is part of the same promise: at any time exactly one of these exists.
    batch.put("moving", format!("{thread}-{step}"), value(thread, step)).delete("moving", format!("{thread}-{}", step - 1))
}

/// Not a test of its own: the process that is killed. Does nothing when run with the others.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let early = std::env::var_os(EARLY).is_some();
    let journal = Journal::open(options(Path::new(&dir))).unwrap();
    let say = |line: String| std::io::stdout().write_all(line.as_bytes());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let journal = journal.clone();
            scope.spawn(move || {
                let done = journal.get("records", &format!("{thread}-0")).unwrap();
                let mut step = done.map_or(0, |bytes| parse(&bytes).1);
                loop {
                    step += 1;
                    if early {
                        say(format!("ack {thread} {step}\n")).unwrap();
                        journal.commit_blocking(batch(thread, step)).unwrap();
                    } else {
                        let committed = journal.commit_blocking(batch(thread, step)).unwrap();
                        let first = committed.first_cursor.unwrap();
                        say(format!("ack {thread} {step} {first} {}\n", committed.last_cursor)).unwrap();
                    }
                }
            });
        }
    });
}

struct Ack {
    thread: u64,
    step: u64,
    cursors: Option<(u64, u64)>,
}

/// Runs a child, kills it and returns its acknowledgements.
fn round(dir: &Path, early: bool) -> Vec<Ack> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture", "--test-threads=1"]).env(DIR, dir);
    if early {
        command.env(EARLY, "1");
    }
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let pipe = BufReader::new(child.stdout.take().unwrap());
    let (started, first_ack) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut acks = Vec::new();
        for line in pipe.split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            // The harness writes "test child ... " in front of the first.
            let Some((_, numbers)) = line.split_once("ack ") else {
                continue;
            };
            let numbers: Vec<u64> = numbers.split(' ').filter_map(|number| number.parse().ok()).collect();
            match numbers[..] {
                [thread, step] if early => acks.push(Ack { thread, step, cursors: None }),
                [thread, step, first, last] => acks.push(Ack { thread, step, cursors: Some((first, last)) }),
                _ => continue,
            }
            let _ = started.send(());
        }
        acks
    });
    first_ack.recv_timeout(FIRST_ACK).expect("the child commits something");
    // The moment is random on purpose; it is no wait for a condition.
    std::thread::sleep(Duration::from_micros(rand::rng().random_range(0..120_000)));
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

/// What the parent knows of the journal from earlier rounds.
#[derive(Default)]
struct Seen {
    cursor: u64,
    /// The last step of each thread.
    steps: BTreeMap<u64, u64>,
}

/// Everything that must hold after a kill; the error says what does not.
fn check(dir: &Path, acks: &[Ack], seen: &mut Seen) -> Result<(), String> {
    let journal = Journal::open(options(dir)).map_err(|error| format!("{error:?}"))?;
    let mut events = BTreeMap::new();
    let before = seen.cursor;
    while seen.cursor < journal.latest() {
        for (cursor, bytes) in journal.read(seen.cursor, usize::MAX).map_err(|error| format!("{error:?}"))? {
            if cursor != seen.cursor + 1 {
                return Err(format!("event {cursor} follows {}", seen.cursor));
            }
            seen.cursor = cursor;
            events.insert(cursor, parse(&bytes));
        }
    }
    // Whole batches, each thread's in order and without a gap.
    for cursor in (before + 1..=seen.cursor).step_by(EVENTS as usize) {
        let (thread, step) = events[&cursor];
        for part in 1..EVENTS {
            if events.get(&(cursor + part)) != Some(&(thread, step)) {
                return Err(format!("batch {thread}-{step} has only {part} of its events"));
            }
        }
        let last = seen.steps.entry(thread).or_default();
        if step != *last + 1 {
            return Err(format!("thread {thread} has step {step} after {last}"));
        }
        *last = step;
    }
    for ack in acks {
        if seen.steps.get(&ack.thread).copied().unwrap_or(0) < ack.step {
            return Err(format!("batch {}-{} was acknowledged and is not there", ack.thread, ack.step));
        }
        if let Some((first, last)) = ack.cursors {
            let pair = Some(&(ack.thread, ack.step));
            if last + 1 - first != EVENTS || events.get(&first) != pair || events.get(&last) != pair {
                return Err(format!("batch {}-{} is not at {first}..={last}", ack.thread, ack.step));
            }
        }
    }
    check_records(&journal, &seen.steps)
}

/// The records say exactly what the events say.
fn check_records(journal: &Journal, steps: &BTreeMap<u64, u64>) -> Result<(), String> {
    let load = |table| journal.load(table).map_err(|error| format!("{error:?}"));
    let records = load("records")?;
    if records.len() as u64 != steps.len() as u64 * RECORDS {
        return Err(format!("{} records of {} threads", records.len(), steps.len()));
    }
    for (key, bytes) in records {
        let (thread, step) = parse(&bytes);
        if steps.get(&thread) != Some(&step) {
            return Err(format!("record {key} is of step {step}, the events end at {:?}", steps.get(&thread)));
        }
    }
    let written = load("steps")?.len() as u64;
    if written != steps.values().sum::<u64>() {
        return Err(format!("{written} steps are recorded, the events tell of {steps:?}"));
    }
    let moving: Vec<(u64, u64)> = load("moving")?.into_iter().map(|(_, bytes)| parse(&bytes)).collect();
    let expected: Vec<(u64, u64)> = steps.iter().map(|(thread, step)| (*thread, *step)).collect();
    if moving != expected {
        return Err(format!("the moving records are {moving:?}, the events tell of {expected:?}"));
    }
    Ok(())
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_half_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let (mut seen, mut acks) = (Seen::default(), 0);
    for number in 0..ROUNDS {
        let round = round(&path, false);
        acks += round.len();
        if let Err(error) = check(&path, &round, &mut seen) {
            panic!("round {number}: {error}");
        }
    }
    assert!(acks > ROUNDS, "{acks} acknowledgements are too few to show anything");
    writeln!(std::io::stderr(), "{ROUNDS} kills, {acks} acknowledged batches, {} events", seen.cursor).unwrap();
}

/// The check above can fail: a child that speaks before it commits is found out.
#[test]
fn acknowledging_early_is_caught() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut seen = Seen::default();
    for _ in 0..ROUNDS {
        let round = round(&path, true);
        if let Err(error) = check(&path, &round, &mut seen) {
            assert!(error.contains("was acknowledged and is not there"), "caught for another reason: {error}");
            return;
        }
    }
    panic!("{ROUNDS} kills did not show that batches were acknowledged before they were committed");
}
