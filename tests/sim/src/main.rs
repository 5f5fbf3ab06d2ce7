//! `hearth-sim`: runs seeds, and shows what happened in one.

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use domain::mutant::Mutant;
use sim::{
    life::{Life, Wanted},
    sweep, watch,
};
use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

#[derive(Parser)]
#[command(about = "Runs hearth's nodes in a simulation, each run from one seed")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs many seeds; exit code 1 when one broke a promise.
    Run {
        /// How many.
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
        /// The first; a fresh one when absent.
        #[arg(long)]
        from: Option<u64>,
        /// Not longer than this.
        #[arg(long)]
        seconds: Option<u64>,
        #[arg(long, value_parser = mutant)]
        mutant: Option<Mutant>,
    },
    /// Runs one seed and prints its trace.
    Replay {
        seed: u64,
        /// At most so many faults.
        #[arg(long)]
        faults: Option<u64>,
        /// At most so many commands of users.
        #[arg(long)]
        commands: Option<u64>,
        #[arg(long, value_parser = mutant)]
        mutant: Option<Mutant>,
        /// Stop after each slice of time; Enter goes on, a number goes on so many, `s` shows the state.
        #[arg(long)]
        step: bool,
        /// Show the state after so many slices, and end there.
        #[arg(long)]
        until: Option<u64>,
        /// Only the broken promises and the sum.
        #[arg(long)]
        quiet: bool,
    },
    /// Finds a shorter run with the same failure.
    Shrink {
        seed: u64,
        #[arg(long, value_parser = mutant)]
        mutant: Option<Mutant>,
    },
}

fn mutant(text: &str) -> Result<Mutant, String> {
    let names = || Mutant::ALL.map(|mutant| format!("{mutant:?}")).join(", ");
    Mutant::ALL.into_iter().find(|mutant| format!("{mutant:?}") == text).ok_or_else(|| format!("one of {}", names()))
}

fn main() -> anyhow::Result<()> {
    watch::catch_panics();
    match Arguments::parse().command {
        Command::Run { seeds, from, seconds, mutant } => run(seeds, from, seconds, mutant),
        Command::Replay { seed, faults, commands, mutant, step, until, quiet } => {
            let wanted = Wanted { seed, faults, commands, mutant, keeps_trace: true };
            replay(&wanted, step, until, quiet)
        }
        Command::Shrink { seed, mutant } => {
            let shorter = sweep::shrink(&Wanted { mutant, ..Wanted::seed(seed) });
            say(&sweep::command(&shorter))
        }
    }
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("standard output is gone")
}

fn run(seeds: u64, from: Option<u64>, seconds: Option<u64>, mutant: Option<Mutant>) -> anyhow::Result<()> {
    // From the clock, and short enough to be typed.
    let fresh = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() % 100_000_000 * 100);
    let from = from.unwrap_or_else(fresh);
    let begun = Instant::now();
    let sum = sweep::seeds(from..from.saturating_add(seeds), mutant, seconds.map(Duration::from_secs), 5);
    say(&format!(
        "{} seeds from {from}: {} commands, {} cancellations, {} faults, {} crashes of nodes, {} of actors, {} events pruned, \
         {} heard by subscribers, who came too late {} times, {} deliveries, {} polls, {:.1} simulated hours in {:.1} s; {} failed",
        sum.seeds,
        sum.commands,
        sum.cancelled,
        sum.faults,
        sum.crashes,
        sum.falls,
        sum.pruned,
        sum.heard,
        sum.refused,
        sum.delivered,
        sum.polls,
        sum.simulated_ms as f64 / 3_600_000.0,
        begun.elapsed().as_secs_f64(),
        sum.failed.len(),
    ))?;
    for (seed, broken) in &sum.failed {
        say(&format!("seed {seed} broke {} promises:", broken.len()))?;
        for line in broken.iter().take(5) {
            say(&format!("   {line}"))?;
        }
        let wanted = Wanted { mutant, ..Wanted::seed(*seed) };
        say(&format!("   again: {}", sweep::command(&wanted)))?;
    }
    if let Some((seed, _)) = sum.failed.first() {
        let shorter = sweep::shrink(&Wanted { mutant, ..Wanted::seed(*seed) });
        say(&format!("the first, shorter: {}", sweep::command(&shorter)))?;
        bail!("{} of {} seeds failed", sum.failed.len(), sum.seeds);
    }
    Ok(())
}

fn replay(wanted: &Wanted, step: bool, until: Option<u64>, quiet: bool) -> anyhow::Result<()> {
    let mut life = Life::new(wanted);
    let (mut shown, mut slices, mut free) = (0, 0_u64, 0_u64);
    loop {
        let goes_on = life.step();
        slices += 1;
        let lines = life.trace.from(shown);
        shown += lines.len();
        if !quiet {
            lines.iter().try_for_each(|line| say(line))?;
        }
        if until == Some(slices) {
            return state(&life, slices);
        }
        if !goes_on {
            break;
        }
        free = free.saturating_sub(1);
        if step && free == 0 {
            free = ask(&life, slices)?;
        }
    }
    let outcome = life.outcome();
    say(&format!(
        "{slices} slices, {} lines, hash {:016x}, {} commands, {} faults, {} crashes of nodes, {} of actors, {} s simulated",
        outcome.lines,
        outcome.hash,
        outcome.commands,
        outcome.faults,
        outcome.crashes,
        outcome.falls,
        outcome.simulated_ms / 1000
    ))?;
    for line in &outcome.broken {
        say(&format!("BROKEN {line}"))?;
    }
    if outcome.broken.is_empty() { Ok(()) } else { bail!("{} promises broken", outcome.broken.len()) }
}

/// How many slices to go on for.
fn ask(life: &Life, slices: u64) -> anyhow::Result<u64> {
    loop {
        if std::io::stdin().is_terminal() {
            write!(std::io::stdout(), "[{slices}] Enter, a number, or s: ")?;
            std::io::stdout().flush()?;
        }
        let mut line = String::new();
        if std::io::stdin().read_line(&mut line)? == 0 {
            return Ok(u64::MAX);
        }
        match line.trim() {
            "s" => state(life, slices)?,
            "" => return Ok(1),
            number => match number.parse() {
                Ok(number) => return Ok(number),
                Err(_) => say("Enter goes on, a number goes on so many slices, s shows the state")?,
            },
        }
    }
}

fn state(life: &Life, slices: u64) -> anyhow::Result<()> {
    say(&format!("-- after {slices} slices, at {} ms, {:?}", life.now, life.phase()))?;
    for (node, watch) in life.nodes.iter().zip(&life.watches) {
        let how = if node.is_up() { "up" } else { "down" };
        say(&format!("{}: {how}, {} polls, batch {}", node.name(), node.polls, node.machine.disk.batches()))?;
        for vm in watch.durable().vms.values() {
            let (name, state, operation) = (&vm.name, &vm.state, vm.operation.map(|in_flight| in_flight.kind));
            say(&format!("   {} {name} generation {} attempt {} {state:?} {operation:?}", vm.id, vm.generation.0, vm.attempt.0))?;
        }
        let found = node.machine.found();
        for process in &found.processes {
            say(&format!("   machine of {} launch {} {:?}", process.vm, process.launch.0, process.phase))?;
        }
        say(&format!("   interfaces {:?}, disks {:?}, images {:?}", found.taps, found.disks, found.images))?;
    }
    Ok(())
}
