//! `hearth operation …`.

use super::context::Context;
use super::error::{CliError, INTERRUPTED};
use super::facts::Facts;
use super::filter::ListArgs;
use super::progress::Progress;
use super::style::of_state;
use super::table::{Cell, Table};
use super::{output, units};
use api::client::{ClientError, Options};
use api::v1::{Operation, OperationStatus, StepStatus};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum OperationCommand {
    /// List operations; --state takes running, succeeded, failed, cancelled
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Show operations with their steps
    #[command(visible_alias = "show")]
    Get {
        /// Ids
        #[arg(required = true, value_name = "OPERATION")]
        operations: Vec<String>,
    },
    /// Wait for the end; fails if the operation failed
    Wait {
        /// Ids
        #[arg(required = true, value_name = "OPERATION")]
        operations: Vec<String>,
    },
    /// Turn operations back: what they did is undone. `get` says whether one can be
    Cancel {
        /// Ids
        #[arg(required = true, value_name = "OPERATION")]
        operations: Vec<String>,
    },
}

pub async fn run(context: &Context, command: OperationCommand) -> Result<(), CliError> {
    let operations = context.client.operations();
    match command {
        OperationCommand::Ls(args) => {
            let items = args.read(context, operations.list(args.query())).await?;
            list(context, &args, &items)
        }
        OperationCommand::Get { operations: ids } => {
            let mut found = Vec::new();
            for id in &ids {
                found.push(operations.get(id).await.map_err(|error| context.explain(error, (ids.len() > 1).then_some(id)))?);
            }
            show(context, &found)
        }
        OperationCommand::Wait { operations: ids } => wait(context, &ids).await,
        OperationCommand::Cancel { operations: ids } => {
            for id in &ids {
                let operation =
                    cancel(context, id).await.map_err(|error| context.explain(error, (ids.len() > 1).then_some(id)))?;
                if context.json() {
                    output::json(&operation)?;
                } else if operation.status == OperationStatus::Running {
                    output::line(&format!("operation {}: cancel goes on", operation.id))?;
                } else {
                    output::line(&format!("operation {} {}", operation.id, operation.status.as_str()))?;
                }
            }
            Ok(())
        }
    }
}

/// Asks, and waits until all is undone.
async fn cancel(context: &Context, id: &str) -> Result<Operation, ClientError> {
    let operation = context.client.operations().cancel(id, &Options::default()).await?;
    if operation.status != OperationStatus::Running || !context.wait {
        return Ok(operation);
    }
    let progress = Progress::new();
    match context.client.follow(id, context.timeout, |seen| progress.seen(&seen.target.name, seen)).await {
        // That is what was asked for.
        Err(ClientError::Cancelled { .. }) => context.client.operations().get(id).await,
        other => other,
    }
}

async fn wait(context: &Context, ids: &[String]) -> Result<(), CliError> {
    let mut failure = None;
    for id in ids {
        let progress = Progress::new();
        let followed = tokio::select! {
            followed = context.client.follow(id, context.timeout, |seen| progress.seen(&seen.target.name, seen)) => followed,
            _ = tokio::signal::ctrl_c() => return Err(CliError::Told(INTERRUPTED)),
        };
        drop(progress);
        match followed {
            Ok(operation) if context.json() => output::json(&operation)?,
            Ok(operation) => output::line(&format!("operation {} {}", operation.id, operation.status.as_str()))?,
            Err(error) => {
                let error = context.explain(error, (ids.len() > 1).then_some(id));
                failure = Some(CliError::Told(error.report(context.output)));
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

fn list(context: &Context, args: &ListArgs, operations: &[Operation]) -> Result<(), CliError> {
    if args.quiet {
        return operations.iter().try_for_each(|operation| output::line(&operation.id));
    }
    if context.json() {
        return output::json(&operations);
    }
    let now = jiff::Timestamp::now();
    let mut table = Table::new(&["ID", "KIND", "TARGET", "STATUS", "PROGRESS", "AGE", "ERROR"]);
    for operation in operations {
        let status = operation.status.as_str();
        table.row(vec![
            operation.id.as_str().into(),
            operation.kind.as_str().into(),
            operation.target.name.as_str().into(),
            Cell::coloured(status, of_state(status)),
            progress_of(operation).into(),
            units::age(operation.created_at, now).into(),
            operation.error.as_ref().map_or("", |problem| problem.detail.as_str()).into(),
        ]);
    }
    output::table(&table)
}

/// Per cent, and bytes where they are known.
fn progress_of(operation: &Operation) -> String {
    match (operation.done_bytes, operation.total_bytes) {
        (Some(done), Some(total)) => format!("{}% ({} of {})", operation.progress, units::bytes(done), units::bytes(total)),
        _ => format!("{}%", operation.progress),
    }
}

fn show(context: &Context, operations: &[Operation]) -> Result<(), CliError> {
    if context.json() {
        return if let [operation] = operations { output::json(operation) } else { output::json(&operations) };
    }
    for (index, operation) in operations.iter().enumerate() {
        let mut facts = Facts::new();
        facts.add("id", &operation.id);
        facts.add("kind", &operation.kind);
        facts.add("target", &format!("{} {} ({})", operation.target.kind, operation.target.name, operation.target.id));
        facts.state(operation.status.as_str(), None);
        facts.add("progress", &progress_of(operation));
        facts.add("asked by", &operation.actor);
        if let Some(problem) = &operation.error {
            facts.add("error", &problem.detail);
            facts.maybe("hint", Some(problem.hint.as_str()).filter(|hint| !hint.is_empty()));
        }
        for step in &operation.steps {
            let took = step
                .ended_at
                .map_or(String::new(), |end| format!(" in {} ms", end.as_millisecond() - step.started_at.as_millisecond()));
            let status = match step.status {
                StepStatus::Running => "running",
                StepStatus::Done => "done",
                StepStatus::Failed => "failed",
                StepStatus::Unknown => "unknown",
            };
            facts.add("step", &format!("{} {status}{took}", step.name));
        }
        match &operation.cancel_refused {
            Some(why) if operation.status == OperationStatus::Running => facts.add("cancellable", &format!("no: {why}")),
            _ => facts.add("cancellable", if operation.cancellable { "yes" } else { "no" }),
        }
        facts.add("created", &operation.created_at.to_string());
        facts.print(index > 0)?;
    }
    Ok(())
}
