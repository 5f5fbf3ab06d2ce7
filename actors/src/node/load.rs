//! Reading the journal at start: records into the view. One that can't be read is set aside with its key; the rest starts.

use crate::{
    commit::Commit,
    error::StartError,
    operation::OperationsRef,
    shared::{Shared, now},
};
use domain::{
    event::Kind,
    operation::{self, Input, Operation, OperationError, Status},
};
use std::sync::Arc;
use storage::{Journal, envelope::Stored, schema};

/// All readable records of a table, oldest first: keys sort by time.
pub(super) fn table<T: Stored>(journal: &Journal, table: &'static str) -> Result<Vec<Arc<T>>, StartError> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let sorted = |key: &str, record| match record {
        Ok(record) => good.push(Arc::new(record)),
        Err(error) => bad.push((key.to_owned(), error)),
    };
    journal.each(table, sorted).map_err(StartError::Journal)?;
    for (key, error) in bad {
        tracing::error!(table, key, %error, "a record can't be read; it is set aside");
        if let Err(error) = journal.set_aside(table, &key, &error.to_string()) {
            tracing::error!(table, key, %error, "it could not be set aside");
        }
    }
    good.shrink_to_fit();
    Ok(good)
}

/// Operations go into the view. One that no record names any more ended with a crash: it is ended now.
pub(super) async fn operations(
    shared: &Shared,
    operations: &OperationsRef,
    records: Vec<Arc<Operation>>,
) -> Result<(), StartError> {
    for record in records {
        let orphan = !record.status.is_final() && !is_named(shared, &record);
        shared.view.put_operation(Arc::clone(&record));
        if orphan {
            let error = OperationError {
                code: "interrupted".to_owned(),
                detail: "hearth ended while this was under way".to_owned(),
                hint: "look at the resource and ask again".to_owned(),
            };
            if let Ok(step) = operation::step(&record, Input::Fail(error), now()) {
                debug_assert!(matches!(step.next.status, Status::Failed(_)));
                let next = Arc::new(step.next);
                let mut commit = Commit::new();
                commit.put(schema::OPERATIONS, next.id.to_string(), next.as_ref()).map_err(StartError::Commit)?;
                commit
                    .write_with(shared, operations, || shared.view.put_operation(Arc::clone(&next)))
                    .await
                    .map_err(StartError::Commit)?;
            }
        }
    }
    Ok(())
}

fn is_named(shared: &Shared, operation: &Operation) -> bool {
    match operation.target.kind {
        Kind::Vm => operation
            .target
            .id
            .parse()
            .ok()
            .and_then(|id| shared.view.vm(id))
            .and_then(|row| row.record.operation)
            .is_some_and(|in_flight| in_flight.id == operation.id),
        Kind::Image => operation
            .target
            .id
            .parse()
            .ok()
            .and_then(|id| shared.view.image(id))
            .is_some_and(|image| image.operation == Some(operation.id)),
        Kind::Host | Kind::Operation | Kind::Webhook => false,
    }
}
