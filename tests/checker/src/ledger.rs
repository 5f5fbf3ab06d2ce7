//! What users were told, one JSON object a line, appended as it happens: the last line about a VM counts, with what was asked since and
//! not answered.
//!
//! A creation's line carries the id once it was answered; until then the VM is known by its name alone, which is never used twice.

use crate::{Finding, Kind, Seen};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub name: String,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Something is about to be asked that leads there (absent: to its end). Until it is answered, it may come or not.
    Asked { leads_to: Option<String> },
    /// It was accepted. What it leads to holds once its operation has succeeded.
    Accepted { id: Option<String>, operation: Option<String> },
    /// It was refused: nothing changed.
    Refused,
    /// The operation that was accepted last has ended.
    Ended { succeeded: bool },
    /// Where it was found after everything had come to rest (absent: nowhere); what was unknown is known now.
    Is { state: Option<String> },
}

/// Written by those who ask.
pub struct Writer(File);

impl Writer {
    pub fn open(path: &Path) -> Result<Writer> {
        let file = File::options().create(true).append(true).open(path).with_context(|| path.display().to_string())?;
        Ok(Writer(file))
    }

    pub fn write(&mut self, entry: &Entry) -> Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        Ok(self.0.write_all(&line)?)
    }
}

/// What may be true of one VM.
#[derive(Debug, Default, Clone)]
struct Promise {
    id: Option<String>,
    /// States that it may be in; absent: not there.
    may_be: Vec<Option<String>>,
    /// Asked last, not answered.
    open: Option<Option<String>>,
    /// Accepted last: the operation, and where it leads.
    accepted: Option<(Option<String>, Option<String>)>,
}

/// Where an operation that failed, and said so, may leave a VM besides where it was.
const AFTER_FAILURE: [&str; 2] = ["failed", "stopped"];

pub struct Ledger {
    path: PathBuf,
    promises: BTreeMap<String, Promise>,
}

impl Ledger {
    pub fn read(path: &Path) -> Result<Ledger> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let mut ledger = Ledger { path: path.to_owned(), promises: BTreeMap::new() };
        for line in text.lines() {
            let entry: Entry = serde_json::from_str(line).with_context(|| line.to_owned())?;
            ledger.take(entry);
        }
        Ok(ledger)
    }

    fn take(&mut self, entry: Entry) {
        let promise = self.promises.entry(entry.name).or_insert_with(|| Promise { may_be: vec![None], ..Promise::default() });
        match entry.what {
            What::Asked { leads_to } => {
                // What was open before it stays possible: a user who goes on without an answer does not know.
                if let Some(before) = promise.open.replace(leads_to) {
                    promise.may_be.push(before);
                }
                // An accepted one may have failed and left it where it was; both stay possible.
                if let Some((_, to)) = promise.accepted.take() {
                    promise.may_be.push(to);
                }
            }
            What::Accepted { id, operation } => {
                promise.id = id.or(promise.id.take());
                if let Some(to) = promise.open.take() {
                    promise.accepted = Some((operation, to));
                }
            }
            What::Refused => promise.open = None,
            What::Ended { succeeded: true } => {
                if let Some((_, to)) = promise.accepted.take() {
                    promise.may_be = vec![to];
                }
            }
            What::Ended { succeeded: false } => {
                if let Some((_, to)) = promise.accepted.take() {
                    promise.may_be.push(to);
                    promise.may_be.extend(AFTER_FAILURE.map(|state| Some(state.to_owned())));
                }
            }
            What::Is { state } => {
                promise.may_be = vec![state];
                (promise.open, promise.accepted) = (None, None);
            }
        }
    }

    /// Holds hearth to it.
    pub fn check(&self, seen: &Seen) -> Vec<Finding> {
        let mut findings = Vec::new();
        let by_name: BTreeMap<&str, (&String, &crate::SeenVm)> =
            seen.vms.iter().map(|(id, vm)| (vm.name.as_str(), (id, vm))).collect();
        for (name, promise) in &self.promises {
            let there = by_name.get(name.as_str());
            if let (Some(id), Some((other, _))) = (&promise.id, there)
                && id != *other
            {
                findings.push(Finding::new(Kind::UnknownVm, format!("{name} is {other}, it was acknowledged as {id}")));
            }
            let state = there.map(|(_, vm)| vm.state.clone());
            let may_be = promise.now(seen);
            if may_be.contains(&state) {
                continue;
            }
            let reason = there.and_then(|(_, vm)| vm.reason.clone()).unwrap_or_default();
            let told = format!("{name} is {state:?} {reason}, and may be {may_be:?}");
            findings.push(match (state, may_be.contains(&None)) {
                (None, _) => Finding::new(Kind::LostVm, told),
                (Some(_), true) if may_be.len() == 1 => Finding::new(Kind::UnknownVm, told),
                (Some(_), _) => Finding::new(Kind::WrongState, told),
            });
        }
        for (name, (id, _)) in by_name.iter().filter(|(name, _)| !self.promises.contains_key(**name)) {
            findings.push(Finding::new(Kind::UnknownVm, format!("{name} ({id}): {} knows nothing of it", self.path.display())));
        }
        findings
    }
}

impl Promise {
    /// Where it may be, now that operations have ended.
    fn now(&self, seen: &Seen) -> Vec<Option<String>> {
        let mut may_be = self.may_be.clone();
        if let Some((operation, to)) = &self.accepted {
            match operation.as_ref().map(|operation| seen.ended.get(operation)) {
                // Promised, and kept: nothing else will do.
                None | Some(Some(true)) => may_be.clear(),
                // It failed, and said so: where it was, or failed, or (a creation that found no room) nowhere.
                Some(Some(false)) => may_be.extend(AFTER_FAILURE.map(|state| Some(state.to_owned()))),
                // Under way, which is a finding of its own; or so old that it is forgotten.
                Some(None) => {}
            }
            may_be.push(to.clone());
        }
        if let Some(to) = &self.open {
            may_be.push(to.clone());
            // Asked, and failed for a reason that nobody was there to hear.
            may_be.push(Some("failed".to_owned()));
        }
        may_be
    }
}
