//! Durable commits per second: the journal with 1 and 64 callers, beside sled with fdatasync by hand.
//!
//! Each runs on a new directory beside the others, in turns, so that a slow disk slows them alike. By hand is the least that keeps
//! the promise: one writer, `apply_batch`, `flush`, `fdatasync`, no queue, no numbers. A commit is one record of 300 bytes and
//! one event of 200; by hand writes the same two values.
//!
//!     cargo run --release -p hearth-storage --example commit_bench [seconds] [directory]

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use storage::{Batch, Journal, Options};

const RECORD_BYTES: usize = 300;
const EVENT_BYTES: usize = 200;
/// Records are overwritten, as states are.
const KEYS: u64 = 10_000;
const CALLERS: u64 = 64;
const ROUNDS: usize = 3;

#[derive(Default)]
struct Run {
    latencies: Vec<Duration>,
    per_s: Vec<f64>,
}

impl Run {
    fn add(&mut self, latencies: Vec<Duration>, commits: usize, took: Duration) {
        self.latencies.extend(latencies);
        self.per_s.push(commits as f64 / took.as_secs_f64());
    }

    fn us(&mut self, percent: usize) -> f64 {
        self.latencies.sort_unstable();
        self.latencies[(self.latencies.len() - 1) * percent / 100].as_secs_f64() * 1e6
    }

    fn rate(&self) -> f64 {
        self.per_s.iter().sum::<f64>() / self.per_s.len() as f64
    }
}

fn by_hand(path: &Path, group: u64, time: Duration, run: &mut Run) {
    let db = sled::Config::new().path(path).cache_capacity(64 << 20).flush_every_ms(None).open().expect("sled opens");
    let file = File::open(path.join("db")).expect("the data file opens");
    let (mut step, mut latencies, start) = (0u64, Vec::new(), Instant::now());
    while start.elapsed() < time {
        let before = Instant::now();
        let mut batch = sled::Batch::default();
        for _ in 0..group {
            step += 1;
            batch.insert(format!("s/vm\0{:06}", step % KEYS).into_bytes(), vec![1; RECORD_BYTES]);
            batch.insert([b"e/", &step.to_be_bytes()[..]].concat(), vec![2; EVENT_BYTES]);
        }
        db.apply_batch(batch).expect("sled applies");
        db.flush().expect("sled flushes");
        file.sync_data().expect("the disk syncs");
        latencies.push(before.elapsed());
    }
    run.add(latencies, step as usize, start.elapsed());
}

fn batch(step: u64) -> Batch {
    Batch::default().put("vm", format!("{:06}", step % KEYS), vec![1; RECORD_BYTES]).event(vec![2; EVENT_BYTES])
}

fn journal(runtime: &tokio::runtime::Runtime, path: &Path, callers: u64, time: Duration, run: &mut Run) {
    let journal = Arc::new(Journal::open(Options::new(path)).expect("the journal opens"));
    let start = Instant::now();
    let all = runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for caller in 0..callers {
            let journal = journal.clone();
            tasks.spawn(async move {
                let (mut step, mut latencies) = (caller, Vec::new());
                while start.elapsed() < time {
                    let before = Instant::now();
                    journal.commit(batch(step)).await.expect("the journal commits");
                    latencies.push(before.elapsed());
                    step += callers;
                }
                latencies
            });
        }
        tasks.join_all().await.into_iter().flatten().collect::<Vec<_>>()
    });
    let took = start.elapsed();
    let stats = journal.stats();
    assert_eq!(stats.commits, all.len() as u64);
    let commits = all.len();
    run.add(all, commits, took);
    runtime.block_on(journal.close());
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let time = Duration::from_secs(arguments.next().and_then(|text| text.parse().ok()).unwrap_or(3));
    let base = arguments.next().unwrap_or_else(|| ".".into());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let mut runs: [Run; 4] = Default::default();
    for _ in 0..ROUNDS {
        let dir = tempfile::tempdir_in(&base)?;
        let path = |name: &str| dir.path().join(name);
        by_hand(&path("hand-1"), 1, time, &mut runs[0]);
        journal(&runtime, &path("journal-1"), 1, time, &mut runs[1]);
        by_hand(&path("hand-64"), CALLERS, time, &mut runs[2]);
        journal(&runtime, &path("journal-64"), CALLERS, time, &mut runs[3]);
    }
    let names = ["by hand, 1 at a time", "journal, 1 caller", "by hand, batches of 64", "journal, 64 callers"];
    let mut out = io::stdout().lock();
    writeln!(out, "{:<24} {:>9} {:>10} {:>9} {:>9}", "", "n", "commits/s", "p50 us", "p99 us")?;
    let mut rows = Vec::new();
    for (name, run) in names.iter().zip(&mut runs) {
        let row = (run.rate(), run.us(50), run.us(99));
        writeln!(out, "{name:<24} {:>9} {:>10.0} {:>9.0} {:>9.0}", run.latencies.len(), row.0, row.1, row.2)?;
        rows.push(row);
    }
    for (ours, hand) in [(1, 0), (3, 2)] {
        let (a, b) = (rows[ours], rows[hand]);
        writeln!(out, "{} / {}: rate {:.2}, p50 {:.2}, p99 {:.2}", names[ours], names[hand], a.0 / b.0, a.1 / b.1, a.2 / b.2)?;
    }
    Ok(())
}
