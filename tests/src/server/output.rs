//! What a server printed, of all its lives. Two threads read it, so that a full pipe never holds the server.

use anyhow::{Context, Result};
use std::{
    io::{BufRead, BufReader, Read},
    process::Child,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

/// Lines kept: a test's server says some hundreds.
const LINES_MAX: usize = 5000;
const READY: &str = "hearth is ready: ";

#[derive(Default)]
pub struct Output {
    shared: Arc<Mutex<Kept>>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Kept {
    lines: Vec<String>,
    ready: bool,
}

impl Output {
    /// Of a new life of the server.
    pub fn follow(&mut self, child: &mut Child) -> Result<()> {
        self.drained();
        self.kept().ready = false;
        let stdout = child.stdout.take().context("stdout is no pipe")?;
        let stderr = child.stderr.take().context("stderr is no pipe")?;
        for stream in [Box::new(stdout) as Box<dyn Read + Send>, Box::new(stderr)] {
            let shared = Arc::clone(&self.shared);
            self.readers.push(std::thread::spawn(move || read(stream, &shared)));
        }
        Ok(())
    }

    /// Waits until everything of a process that ended was read.
    pub fn drained(&mut self) {
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }

    pub fn ended(&self) -> bool {
        self.readers.iter().all(JoinHandle::is_finished)
    }

    pub fn ready_line(&self) -> bool {
        self.kept().ready
    }

    pub fn text(&self) -> String {
        self.kept().lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Whether somebody wants to read it although all went well.
    pub fn wanted(&self) -> bool {
        std::env::var_os("HEARTH_SHOW_LOG").is_some()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(stream: Box<dyn Read + Send>, shared: &Mutex<Kept>) {
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
        kept.ready |= line.starts_with(READY);
        if kept.lines.len() < LINES_MAX {
            kept.lines.push(line);
        }
    }
}
