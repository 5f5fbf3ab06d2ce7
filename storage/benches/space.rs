//! Steps on VMs, and what they cost in disk and memory: a line for every part of the run. Then how long a start takes, beside sled's own.
//!
//! A step is what a change of a VM is: its record, its operation's record, an event, committed by one of 64 callers. Operations end and are
//! deleted, as hearth does. Ends with 1 when the directory was ever larger than [`storage::disk_bound`] of what is alive, or memory than
//! [`MEMORY_MIB`].
//!
//!     cargo bench -p hearth-storage --bench space -- [steps] [vms] [keep_events] [directory]
//!
//! A directory that is named keeps the journal; with 0 steps, the starts of the journal that it has are measured.

use std::{
    fs, io,
    io::Write,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};
use storage::{Batch, Journal, Options, disk_bound, offline::Offline};

/// What the journal may hold in memory: 64 MiB are sled's cache as it is told, which holds up to three times as much; the ring of events
/// 8 MiB, the queue 32 MiB.
const MEMORY_MIB: u64 = 300;
/// As the journal's own.
const CACHE_MIB: u64 = 64;
const CALLERS: u64 = 64;
const PARTS: u64 = 10;
const STARTS: usize = 5;
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

/// The folder as it is, so that what is measured in one does not help the next.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name()))?,
            false => drop(fs::copy(entry.path(), to.join(entry.file_name()))?),
        }
    }
    Ok(())
}

/// Starts, each on a copy of the folder, in turn: of sled alone, and of the journal, which looks at the file before.
fn starts(path: &Path, keep_events: u64) -> io::Result<(Vec<Duration>, Vec<Duration>)> {
    let (mut sled_alone, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let copied = path.with_extension("copy");
        copy(path, &copied)?;
        let begun = Instant::now();
        let config = sled::Config::new().path(&copied).cache_capacity(CACHE_MIB << 20).flush_every_ms(None);
        drop(config.open().map_err(io::Error::other)?);
        sled_alone.push(begun.elapsed());
        fs::remove_dir_all(&copied)?;
        copy(path, &copied)?;
        let begun = Instant::now();
        let journal = Journal::open(Options { keep_events, ..Options::new(&copied) }).map_err(io::Error::other)?;
        whole.push(begun.elapsed());
        drop(journal);
        fs::remove_dir_all(&copied)?;
    }
    sled_alone.sort();
    whole.sort();
    Ok((sled_alone, whole))
}

fn tell_starts(path: &Path, keep_events: u64) -> io::Result<()> {
    let (sled_alone, whole) = starts(path, keep_events)?;
    let middle = |all: &[Duration]| all[all.len() / 2].as_secs_f64();
    writeln!(
        io::stdout(),
        "a start with {:.1} MiB: {:.2} s, sled alone {:.2} s: {:.2} times (medians of {STARTS}: {whole:.2?}, {sled_alone:.2?})",
        folder_bytes(path)? as f64 / 1048576.0,
        middle(&whole),
        middle(&sled_alone),
        middle(&whole) / middle(&sled_alone),
    )
}

fn main() -> io::Result<ExitCode> {
    // cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let number = |at: usize, usual: u64| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (steps, vms, keep_events) = (number(0, 1_000_000), number(1, 1000), number(2, 500_000));
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let path = arguments.get(3).map_or(dir.path(), Path::new).join("journal");
    if steps == 0 {
        return tell_starts(&path, keep_events).map(|()| ExitCode::SUCCESS);
    }
    let journal = Journal::open(Options { keep_events, ..Options::new(&path) }).map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (mut out, start, mut most, mut resident) = (io::stdout(), Instant::now(), 0, 0);
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
        resident = resident.max(resident_mib());
        let seconds = start.elapsed().as_secs();
        writeln!(out, "{to:>10} {seconds:>10} {:>12.1} {:>10}", folder_bytes(&path)? as f64 / 1048576.0, resident_mib())?;
    }
    drop(journal);
    let content = Offline::open(&path).map_err(io::Error::other)?.read()?;
    let live: u64 =
        content.records.iter().map(|((table, key), value)| (table.len() + key.len() + value.len()) as u64).sum::<u64>()
            + content.events.values().map(|event| event.len() as u64 + 10).sum::<u64>();
    drop(content);
    let mib = |bytes: u64| bytes as f64 / 1048576.0;
    let (bound, times) = (disk_bound(live), most as f64 / live as f64);
    writeln!(
        out,
        "alive {:.1} MiB, at most {:.1} MiB on disk ({times:.2} times), bound {:.1} MiB; at most {resident} MiB of memory, bound {MEMORY_MIB}",
        mib(live),
        mib(most),
        mib(bound),
    )?;
    tell_starts(&path, keep_events)?;
    Ok(if most <= bound && resident <= MEMORY_MIB { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
