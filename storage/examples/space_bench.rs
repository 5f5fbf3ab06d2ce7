//! Steps on VMs, and what they cost in disk and memory: a line for every part of the run.
//!
//! A step is what a change of a VM is: its record, its operation's record, an event, committed by one of 64 callers. Operations end and are
//! deleted, as hearth does. Ends with 1 when the directory was ever larger than [`storage::disk_bound`] of what is alive.
//!
//!     cargo run --release -p hearth-storage --example space_bench [steps] [vms] [keep_events] [directory]

use std::{
    fs, io,
    io::Write,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};
use storage::{Batch, Journal, Options, disk_bound, offline::Offline};

const CALLERS: u64 = 64;
const PARTS: u64 = 10;
const VM_BYTES: u64 = 450;
const OPERATION_BYTES: u64 = 300;
const EVENT_BYTES: u64 = 220;
/// Operations that are kept after their end.
const OPERATIONS_KEPT: u64 = 1000;

fn value(bytes: u64, step: u64) -> Vec<u8> {
    (0..bytes + step % 64).map(|at| (at.wrapping_mul(step | 1) >> 2) as u8).collect()
}

fn batch(step: u64, vms: u64) -> Batch {
    let operation = |step: u64| format!("op_{step:020}");
    let batch = Batch::default()
        .put("vms", format!("vm_{:026}", step.wrapping_mul(0x9E37_79B9_7F4A_7C15) % vms), value(VM_BYTES, step))
        .put("operations", operation(step), value(OPERATION_BYTES, step))
        .event(value(EVENT_BYTES, step));
    match step.checked_sub(OPERATIONS_KEPT) {
        Some(old) => batch.delete("operations", operation(old)),
        None => batch,
    }
}

fn folder_bytes(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { folder_bytes(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

fn resident_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, usual: u64| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (steps, vms, keep_events) = (number(0, 1_000_000), number(1, 1000), number(2, 500_000));
    let dir = tempfile::tempdir_in(arguments.get(3).map_or(".", String::as_str))?;
    let path = dir.path().join("journal");
    let journal = Journal::open(Options { keep_events, ..Options::new(&path) }).map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (mut out, start, mut most) = (io::stdout(), Instant::now(), 0);
    writeln!(out, "{:>10} {:>10} {:>12} {:>10}", "steps", "seconds", "folder MiB", "RSS MiB")?;
    for part in 0..PARTS {
        let (from, to) = (steps * part / PARTS, steps * (part + 1) / PARTS);
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for caller in 0..CALLERS {
                let journal = journal.clone();
                tasks.spawn(async move {
                    for step in (from + caller..to).step_by(CALLERS as usize) {
                        journal.commit(batch(step, vms)).await.expect("the journal commits");
                    }
                });
            }
            tasks.join_all().await;
        });
        most = most.max(folder_bytes(&path)?);
        let seconds = start.elapsed().as_secs();
        writeln!(out, "{to:>10} {seconds:>10} {:>12.1} {:>10}", folder_bytes(&path)? as f64 / 1048576.0, resident_mib())?;
    }
    drop(journal);
    let opened = Instant::now();
    let content = Offline::open(&path).map_err(io::Error::other)?.read()?;
    let looked: Duration = opened.elapsed();
    let live: u64 =
        content.records.iter().map(|((table, key), value)| (table.len() + key.len() + value.len()) as u64).sum::<u64>()
            + content.events.values().map(|event| event.len() as u64 + 10).sum::<u64>();
    let opened = Instant::now();
    drop(Journal::open(Options { keep_events, ..Options::new(&path) }).map_err(io::Error::other)?);
    writeln!(
        out,
        "alive {:.1} MiB, at most {:.1} MiB on disk ({:.2} times), bound {:.1} MiB; looking took {:.1} s, a start {:.1} s",
        live as f64 / 1048576.0,
        most as f64 / 1048576.0,
        most as f64 / live as f64,
        disk_bound(live) as f64 / 1048576.0,
        looked.as_secs_f64(),
        opened.elapsed().as_secs_f64()
    )?;
    Ok(if most <= disk_bound(live) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
