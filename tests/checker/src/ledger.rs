//! What users were told, one JSON object a line, appended as it happens: the last line about a VM counts, with what was asked since and
//! not answered.
//!
//! A creation's line carries the id once it was answered; until then the VM is known by its name alone, which is never used twice.

use crate::{Failures, Finding, Kind, Seen, SeenVm};
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
    /// It was accepted. What it leads to holds once its operation has succeeded; without an operation, at once.
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

/// Where it may be; absent: nowhere.
type Place = Option<String>;

/// What may be true of one VM.
#[derive(Debug, Default, Clone)]
struct Promise {
    id: Option<String>,
    may_be: Vec<Place>,
    /// Asked last, not answered: where it leads.
    open: Option<Place>,
    /// Accepted last: the operation, and where it leads.
    accepted: Option<(Option<String>, Place)>,
}

/// Where an operation that failed, and said so, may leave a VM besides where it was.
const AFTER_FAILURE: [&str; 3] = ["failed", "stopped", "created"];

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
                    promise.may_be.extend(after_failure());
                }
            }
            What::Is { state } => {
                promise.may_be = vec![state];
                (promise.open, promise.accepted) = (None, None);
            }
        }
    }

    /// The operations whose ends decide what is true now.
    pub fn operations(&self) -> Vec<String> {
        self.promises.values().filter_map(|promise| promise.accepted.as_ref()?.0.clone()).collect()
    }

    /// Holds hearth to it. `ended`: the statuses of [`Ledger::operations`]; one that is not among them is forgotten.
    pub fn check(&self, seen: &Seen, ended: &BTreeMap<String, String>, failures: Failures) -> Vec<Finding> {
        let mut findings = Vec::new();
        let by_name: BTreeMap<&str, (&String, &SeenVm)> = seen.vms.iter().map(|(id, vm)| (vm.name.as_str(), (id, vm))).collect();
        for (name, promise) in &self.promises {
            let there = by_name.get(name.as_str()).copied();
            findings.extend(promise.lost_operation(name, ended));
            if let (Some(id), Some((other, _))) = (&promise.id, there)
                && id != other
            {
                findings.push(Finding::new(Kind::UnknownVm, format!("{name} is {other}, it was acknowledged as {id}")));
            }
            findings.extend(promise.broken(name, there.map(|(_, vm)| vm), ended, failures));
        }
        for (name, (id, _)) in by_name.iter().filter(|(name, _)| !self.promises.contains_key(**name)) {
            findings.push(Finding::new(Kind::UnknownVm, format!("{name} ({id}): {} knows nothing of it", self.path.display())));
        }
        findings
    }
}

fn after_failure() -> impl Iterator<Item = Place> {
    AFTER_FAILURE.into_iter().map(|state| Some(state.to_owned()))
}

impl Promise {
    fn lost_operation(&self, name: &str, ended: &BTreeMap<String, String>) -> Option<Finding> {
        let operation = self.accepted.as_ref()?.0.as_ref()?;
        let told = || Finding::new(Kind::LostOperation, format!("{operation} of {name} was acknowledged, and is not there"));
        (!ended.contains_key(operation)).then(told)
    }

    fn broken(
        &self,
        name: &str,
        there: Option<&SeenVm>,
        ended: &BTreeMap<String, String>,
        failures: Failures,
    ) -> Option<Finding> {
        let state = there.map(|vm| vm.state.clone());
        let may_be = self.now(ended, failures);
        if may_be.contains(&state) {
            return None;
        }
        let reason = there.and_then(|vm| vm.reason.clone()).unwrap_or_default();
        let told = format!("{name} is {state:?} {reason}, and may be {may_be:?}");
        Some(match (state, may_be.contains(&None)) {
            (None, _) => Finding::new(Kind::LostVm, told),
            (Some(_), true) if may_be.len() == 1 => Finding::new(Kind::UnknownVm, told),
            (Some(_), _) => Finding::new(Kind::WrongState, told),
        })
    }

    /// Where it may be, now that operations have ended.
    fn now(&self, ended: &BTreeMap<String, String>, failures: Failures) -> Vec<Place> {
        let mut may_be = self.may_be.clone();
        if let Some((operation, to)) = &self.accepted {
            match operation.as_ref().map(|operation| ended.get(operation).map(String::as_str)) {
                // Promised, and kept: nothing else will do.
                None | Some(Some("succeeded")) => may_be.clear(),
                // Under way, which is a finding of its own.
                Some(None | Some("running")) => {}
                // It failed, and said so; a creation that found no room leaves nothing, where it was before.
                Some(Some(_)) => may_be.extend(after_failure()),
            }
            may_be.push(to.clone());
        }
        if let Some(to) = &self.open {
            may_be.push(to.clone());
            if failures != Failures::Found {
                // Asked, and failed for a reason that nobody was there to hear.
                may_be.extend(after_failure());
                may_be.push(None);
            }
        }
        let ran = |place: &Place| matches!(place.as_deref(), Some("running" | "paused"));
        if failures == Failures::MachinesLost && may_be.iter().any(ran) {
            may_be.push(Some("failed".into()));
        }
        may_be
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[What]) -> Promise {
        let mut ledger = Ledger { path: PathBuf::new(), promises: BTreeMap::new() };
        for what in lines {
            ledger.take(Entry { name: "a".into(), what: what.clone() });
        }
        ledger.promises["a"].clone()
    }

    fn asked(state: &str) -> What {
        What::Asked { leads_to: Some(state.into()) }
    }

    fn accepted() -> What {
        What::Accepted { id: Some("vm_a".into()), operation: Some("op_a".into()) }
    }

    fn now(promise: &Promise, status: &str) -> Vec<Place> {
        promise.now(&BTreeMap::from([("op_a".to_owned(), status.to_owned())]), Failures::Found)
    }

    #[test]
    fn what_was_not_answered_may_be_or_not() {
        let promise = told(&[asked("running")]);
        assert_eq!(now(&promise, ""), [None, Some("running".into())]);
    }

    #[test]
    fn what_was_accepted_and_succeeded_is_nothing_else() {
        let promise = told(&[asked("running"), accepted()]);
        assert_eq!(now(&promise, "succeeded"), [Some("running".into())]);
        assert!(now(&promise, "running").contains(&None), "it is under way");
        assert!(now(&promise, "failed").contains(&Some("failed".into())));
    }

    #[test]
    fn what_was_refused_changes_nothing() {
        let promise = told(&[asked("running"), accepted(), What::Ended { succeeded: true }, asked("paused"), What::Refused]);
        assert_eq!(now(&promise, ""), [Some("running".into())]);
    }

    #[test]
    fn an_acknowledged_operation_that_is_forgotten_is_told() {
        let promise = told(&[asked("running"), accepted()]);
        assert_eq!(promise.lost_operation("a", &BTreeMap::new()).map(|finding| finding.kind), Some(Kind::LostOperation));
    }
}
