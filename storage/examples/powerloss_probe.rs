//! What a power-loss run executes inside the machine that loses power, and outside to check what the disk kept.
//!
//! `ENGINE DIR writer BASE`: four threads commit batches of several records, a deletion and events, and print `THREAD KEY VERSION` after
//! each batch that was acknowledged. Versions of a thread rise from BASE, which the caller chooses above every earlier one.
//! `ENGINE DIR verify`: reads such lines and exits 0, or 3 with a line MISSING, STALE or CORRUPT for each broken promise.
//!
//! Engines: `journal` is ours. `sled-flush` is sled with its own `flush`, to show that the test can fail; `sled-sync` the same with
//! `fdatasync`, to show that nothing else makes the difference. Owns the promises that are checked (`check`), not the loss of power.
//!
//!     cargo build -p hearth-storage --example powerloss_probe --target x86_64-unknown-linux-musl

#[path = "powerloss_probe/check.rs"]
mod check;
#[path = "powerloss_probe/engine.rs"]
mod engine;
#[path = "powerloss_probe/step.rs"]
mod step;

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use engine::{Engine, Kind};
use step::{KEYS, Step, THREADS};

/// Some promise was broken. Other failures of the program itself are 1, as panics are 101.
const BROKEN: u8 = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        [kind, dir, "writer", base] => match (Kind::parse(kind), base.parse()) {
            (Some(kind), Ok(base)) => write(kind, Path::new(dir), base).map(|()| ExitCode::SUCCESS),
            _ => Err(usage()),
        },
        [kind, dir, "verify"] => Kind::parse(kind).ok_or_else(usage).and_then(|kind| verify(kind, Path::new(dir))),
        _ => Err(usage()),
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "powerloss_probe: {error}");
        ExitCode::FAILURE
    })
}

fn usage() -> String {
    "usage: powerloss_probe journal|sled-flush|sled-sync DIR writer BASE | verify".into()
}

/// Commits until something ends the process, or the store refuses.
fn write(kind: Kind, dir: &Path, base: u64) -> Result<(), String> {
    let engine = Engine::open(kind, dir)?;
    say("open")?;
    std::thread::scope(|scope| {
        let engine = &engine;
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || commit_on(engine, thread, base))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a writer panicked".into())))
    })
}

fn commit_on(engine: &Engine, thread: u64, base: u64) -> Result<(), String> {
    let mut before = engine.newest(thread)?;
    for version in base.. {
        // Scattered over the keys, the same in every run.
        let key = version.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17) % KEYS;
        let step = Step { thread, key, version };
        engine.commit(step, before)?;
        say(&format!("{thread} {key} {version}"))?;
        before = Some(step);
    }
    Ok(())
}

/// One line, one write: a line is whole or not there.
fn say(line: &str) -> Result<(), String> {
    io::stdout().lock().write_all(format!("{line}\n").as_bytes()).map_err(|error| format!("cannot speak: {error}"))
}

fn verify(kind: Kind, dir: &Path) -> Result<ExitCode, String> {
    let acked = check::read_acknowledged(io::stdin().lock())?;
    let found = Engine::open(kind, dir).and_then(|engine| check::Found::load(&engine));
    let broken = match found {
        Ok(found) => {
            say(&found.to_string())?;
            found.broken_promises(&acked)
        }
        Err(error) => vec![format!("CORRUPT {error}")],
    };
    for line in &broken {
        let _ = writeln!(io::stderr(), "{line}");
    }
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(BROKEN) })
}
