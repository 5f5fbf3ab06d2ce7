//! The order of the parts, and the table of what they found.

mod commands;
mod events;
mod http;
mod idle;
mod images;
mod overhead;
mod scale;
mod server;
mod sizes;
mod stats;
mod websocket;

use anyhow::Result;
use stats::Row;
use std::io::Write;

const PARTS: [&str; 7] = ["overhead", "firecracker", "events", "commands", "scale", "idle", "sizes"];

pub fn run() -> Result<()> {
    // cargo adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut rows = Vec::new();
    for part in PARTS.into_iter().filter(|part| wanted.is_empty() || wanted.iter().any(|word| word == part)) {
        say(&format!("-- {part}"))?;
        let found = match part {
            "overhead" => runtime.block_on(overhead::qemu::run()),
            "firecracker" => runtime.block_on(overhead::firecracker::run()),
            "events" => runtime.block_on(events::run()),
            "commands" => runtime.block_on(commands::run()),
            "scale" => runtime.block_on(scale::run()),
            "idle" => runtime.block_on(idle::run()),
            _ => sizes::run(),
        }?;
        for row in &found {
            say(&row.line())?;
        }
        rows.extend(found);
    }
    say(&format!("\n{}\n\n{}", machine()?, Row::HEAD))?;
    rows.iter().try_for_each(|row| say(&row.line()))
}

pub fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// The machine, without its name.
fn machine() -> Result<String> {
    let cpus = std::fs::read_to_string("/proc/cpuinfo")?;
    let field =
        |name: &str| cpus.lines().find_map(|line| line.strip_prefix(name)?.split_once(": ").map(|(_, value)| value.trim()));
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let memory_kib: u64 = memory.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    Ok(format!(
        "Machine: {count} x {}, {} GiB, Linux {}, load at the end {}",
        field("model name").unwrap_or("unknown processor"),
        memory_kib.div_ceil(1 << 20),
        release.trim(),
        load.split_whitespace().next().unwrap_or("unknown")
    ))
}
