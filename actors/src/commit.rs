//! Making a decision durable: the record, its events, its operation's record and the answer to an idempotency key, in one atomic batch.
//! Nobody hears "yes", and no effect runs, before this returned.

use crate::{
    error::{CommandError, chain},
    idempotency::{self, Outcome},
    node::Who,
    operation::OperationsRef,
    shared::{Shared, now},
};
use domain::{
    Generation, Name, OperationId,
    event::{Datum, Draft, Event, Kind},
    mutant::{self, Mutant},
    operation::{self, Change, Operation, Status, Target},
};
use std::sync::Arc;
use storage::{
    Batch,
    envelope::{self, Stored},
    schema,
};

/// Whose decision it is.
pub struct Subject<'a> {
    pub kind: Kind,
    pub id: String,
    pub name: &'a Name,
    pub project: &'a Name,
    pub generation: Generation,
}

/// Who waits for the answer, and what it is about.
pub struct Asked<'a> {
    pub who: &'a Who,
    pub kind: Kind,
    pub id: String,
    pub operation: Option<OperationId>,
}

/// One decision on its way to the disk.
pub struct Commit {
    batch: Batch,
    operations: Vec<Arc<Operation>>,
}

impl Commit {
    pub fn new() -> Commit {
        Commit { batch: Batch::default(), operations: Vec::new() }
    }

    pub fn put<T: Stored>(&mut self, table: &'static str, key: String, record: &T) -> Result<(), CommandError> {
        let bytes = encode(record)?;
        self.batch = std::mem::take(&mut self.batch).put(table, key, bytes);
        Ok(())
    }

    /// Bytes that were encoded before, such as an event's.
    pub fn put_bytes(&mut self, table: &'static str, key: String, bytes: Vec<u8>) {
        self.batch = std::mem::take(&mut self.batch).put(table, key, bytes);
    }

    pub fn delete(&mut self, table: &'static str, key: String) {
        self.batch = std::mem::take(&mut self.batch).delete(table, key);
    }

    fn event(&mut self, event: &Event) -> Result<(), CommandError> {
        let bytes = encode(event)?;
        self.batch = std::mem::take(&mut self.batch).event(bytes);
        Ok(())
    }

    /// The subject's events, in order.
    pub fn events(&mut self, subject: &Subject<'_>, drafts: Vec<Draft>) -> Result<(), CommandError> {
        for draft in drafts {
            if mutant::on(Mutant::KeepsAnEventBack) && draft.name == "vm-paused" {
                continue;
            }
            self.event(&Event {
                time: now(),
                kind: subject.kind,
                id: subject.id.clone(),
                name: subject.name.to_string(),
                project: subject.project.clone(),
                generation: subject.generation,
                event: draft.name.to_owned(),
                actor: draft.actor.unwrap_or_else(|| "system".to_owned()),
                operation: draft.operation,
                data: draft.data.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            })?;
        }
        Ok(())
    }

    /// What the subject's step wants of its operations; a change of one that has ended is dropped.
    pub fn operations(&mut self, shared: &Shared, subject: &Subject<'_>, changes: Vec<Change>) -> Result<(), CommandError> {
        for change in changes {
            let next = match change {
                Change::Begin { id, kind, actor } => {
                    let target = Target { kind: subject.kind, id: subject.id.clone(), name: subject.name.clone() };
                    operation::begin(id, kind, target, subject.project.clone(), actor, now())
                }
                Change::Apply { id, input } => {
                    let Some(current) = self.current(shared, id) else { continue };
                    let Ok(step) = operation::step(&current, input, now()) else { continue };
                    step.next
                }
            };
            self.operations.retain(|earlier| earlier.id != next.id);
            self.operations.push(Arc::new(next));
        }
        for operation in self.operations.clone() {
            self.put(schema::OPERATIONS, operation.id.to_string(), operation.as_ref())?;
            let begins = operation.generation == Generation(1) || shared.view.operation(operation.id).is_none();
            if begins || operation.status.is_final() {
                self.event(&operation_event(&operation, begins))?;
            }
        }
        Ok(())
    }

    fn current(&self, shared: &Shared, id: OperationId) -> Option<Arc<Operation>> {
        let here = self.operations.iter().find(|operation| operation.id == id).cloned();
        here.or_else(|| shared.view.operation(id))
    }

    /// What a repetition of this request is answered with.
    pub fn answer(&mut self, who: &Who, kind: Kind, id: String, operation: Option<OperationId>) -> Result<(), CommandError> {
        let Some(idempotency) = &who.idempotency else { return Ok(()) };
        if mutant::on(Mutant::ForgetsTheKey) {
            return Ok(());
        }
        let record = idempotency::Record {
            fingerprint: idempotency.fingerprint,
            at_ms: now().0,
            outcome: Outcome::Accepted { kind, id, operation },
        };
        self.put(idempotency::TABLE, idempotency.key.clone(), &record)?;
        let (table, entry, bytes) = record.entry(&idempotency.key);
        self.put_bytes(table, entry, bytes);
        Ok(())
    }

    /// To the disk, then into the view (`show`), then to those who wait for the operations.
    pub async fn write_with(self, shared: &Shared, operations: &OperationsRef, show: impl FnOnce()) -> Result<(), CommandError> {
        if mutant::on(Mutant::AnswersBeforeTheDisk) {
            let (journal, batch) = (shared.journal.clone(), self.batch);
            drop(tokio::spawn(async move { journal.commit(batch).await }));
        } else if !self.batch.is_empty() {
            #[cfg(any(test, feature = "faults"))]
            if let Some(gate) = &shared.gate {
                gate.before().await?;
            }
            shared.journal.commit(self.batch).await?;
            #[cfg(any(test, feature = "faults"))]
            if let Some(gate) = &shared.gate {
                gate.after().await?;
            }
        }
        show();
        for operation in self.operations {
            operations.changed(shared, operation);
        }
        Ok(())
    }
}

fn operation_event(operation: &Operation, begins: bool) -> Event {
    let mut data = vec![
        ("status".to_owned(), Datum::Text(operation.status.as_str().to_owned())),
        ("operation_kind".to_owned(), Datum::Text(operation.kind.as_str().to_owned())),
        ("target".to_owned(), Datum::Text(operation.target.id.clone())),
    ];
    if let Status::Failed(error) = &operation.status {
        data.push(("reason".to_owned(), Datum::Text(error.code.clone())));
        data.push(("detail".to_owned(), Datum::Text(error.detail.clone())));
    }
    let event = match (&operation.status, begins) {
        (Status::Succeeded, _) => "operation-succeeded",
        (Status::Failed(_), _) => "operation-failed",
        (Status::Cancelled, _) => "operation-cancelled",
        (Status::Running, _) => "operation-started",
    };
    Event {
        time: now(),
        kind: Kind::Operation,
        id: operation.id.to_string(),
        name: operation.target.name.to_string(),
        project: operation.project.clone(),
        generation: operation.generation,
        event: event.to_owned(),
        actor: operation.actor.clone(),
        operation: Some(operation.id),
        data,
    }
}

fn encode<T: Stored>(record: &T) -> Result<Vec<u8>, CommandError> {
    envelope::encode(record).map_err(|error| CommandError::Storage { detail: chain(&error), full: false })
}

/// An event as the journal's readers get it.
pub fn decode_event(bytes: &[u8]) -> Result<Event, envelope::DecodeError> {
    envelope::decode(bytes)
}
