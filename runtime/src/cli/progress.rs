//! One line on a terminal's stderr while operations run: who, which step, how far, how long. Without a terminal: nothing.

use super::style::{harmless, width};
use super::table::cut;
use super::units;
use api::v1::{Operation, StepStatus};
use rustix::termios::isatty;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::time::Instant;

const CLEAR: &str = "\r\x1b[K";
/// When the terminal does not know its width.
const USUAL_WIDTH: usize = 80;

pub struct Progress {
    shown: bool,
    start: Instant,
    running: Mutex<BTreeMap<String, String>>,
}

impl Progress {
    pub fn new() -> Progress {
        Progress { shown: isatty(std::io::stderr()), start: Instant::now(), running: Mutex::new(BTreeMap::new()) }
    }

    pub fn seen(&self, name: &str, operation: &Operation) {
        self.change(|running| {
            running.insert(name.to_owned(), describe(operation));
        });
    }

    pub fn ended(&self, name: &str) {
        self.change(|running| {
            running.remove(name);
        });
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, String>)) {
        if !self.shown {
            return;
        }
        let mut running = self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut running);
        let text = if running.is_empty() { String::new() } else { line(&running, self.start.elapsed().as_secs()) };
        let stderr = std::io::stderr();
        // The last column stays free: a full line would wrap and could not be cleared.
        let columns = width(&stderr).unwrap_or(USUAL_WIDTH).saturating_sub(1);
        let _ = stderr.lock().write_all(format!("{CLEAR}{}", cut(&harmless(&text), columns)).as_bytes());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.change(BTreeMap::clear);
    }
}

fn line(running: &BTreeMap<String, String>, seconds: u64) -> String {
    let parts: Vec<String> = running.iter().map(|(name, what)| format!("{name}: {what}")).collect();
    match parts.as_slice() {
        [one] => format!("{one} ({seconds}s)"),
        many => format!("{} running ({seconds}s) {}", many.len(), many.join(", ")),
    }
}

fn describe(operation: &Operation) -> String {
    let mut text = format!("{} {}%", operation.kind, operation.progress);
    if let Some(step) = operation.steps.iter().rev().find(|step| step.status == StepStatus::Running) {
        text.push_str(&format!(", {}", step.name));
    }
    if let (Some(done), Some(total)) = (operation.done_bytes, operation.total_bytes) {
        text.push_str(&format!(" {} of {}", units::bytes(done), units::bytes(total)));
    }
    text
}
