//! What a server printed, of all its lives. Two threads read it, so that a full pipe never holds the server.

use anyhow::{Context, Result};
use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    process::Child,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

/// Lines kept, the newest: a test's server says some hundreds, one that is killed a hundred times more.
const LINES_MAX: usize = 5000;
const READY: &str = "hearth is ready: ";

#[derive(Default)]
pub struct Output {
    log: Log,
    readers: Vec<JoinHandle<()>>,
}

/// What was read so far; outlives the server.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    lines: VecDeque<String>,
    ready: bool,
}

impl Output {
    /// Of a new life of the server.
    pub fn follow(&mut self, child: &mut Child) -> Result<()> {
        self.drained();
        self.log.kept().ready = false;
        let stdout = child.stdout.take().context("stdout is no pipe")?;
        let stderr = child.stderr.take().context("stderr is no pipe")?;
        for stream in [Box::new(stdout) as Box<dyn Read + Send>, Box::new(stderr)] {
            let log = self.log.clone();
            self.readers.push(std::thread::spawn(move || read(stream, &log)));
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
        self.log.kept().ready
    }

    pub fn text(&self) -> String {
        self.log.text()
    }

    pub fn log(&self) -> Log {
        self.log.clone()
    }
}

impl Log {
    pub fn text(&self) -> String {
        self.kept().lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(stream: Box<dyn Read + Send>, log: &Log) {
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let mut kept = log.kept();
        kept.ready |= line.starts_with(READY);
        if kept.lines.len() == LINES_MAX {
            kept.lines.pop_front();
        }
        kept.lines.push_back(line);
    }
}
