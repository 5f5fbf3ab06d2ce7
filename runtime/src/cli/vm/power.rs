//! `vm start|stop|pause|resume|reboot|rm`.

use crate::cli::change::{Verb, each};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::units::parse_duration;
use api::client::{Accepted, ClientError, Options};
use api::v1::{StopRequest, Vm};
use clap::Args;
use std::time::Duration;

#[derive(Debug, Args)]
pub struct StopArgs {
    /// Names or ids
    #[arg(required = true, value_name = "VM")]
    vms: Vec<String>,
    /// End the machine at once instead of asking the guest
    #[arg(short, long)]
    force: bool,
    /// How long the guest may take before it is ended: 30, 30s, 2m
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "force")]
    deadline: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// Names or ids
    #[arg(required = true, value_name = "VM")]
    vms: Vec<String>,
    /// End those that still run first
    #[arg(short, long)]
    force: bool,
}

impl StopArgs {
    fn request(&self) -> StopRequest {
        // The server refuses what is out of its range; a number that does not even fit is as far out.
        let deadline_s = self.deadline.map(|deadline| u32::try_from(deadline.as_secs()).unwrap_or(u32::MAX));
        StopRequest { force: self.force, deadline_s }
    }
}

pub async fn start(context: &Context, vms: &[String]) -> Result<(), CliError> {
    let call = |name: String| async move { context.client.vms().start(&name, &Options::default()).await };
    each(context, vms, Verb::new("start", "started"), false, call).await
}

pub async fn pause(context: &Context, vms: &[String]) -> Result<(), CliError> {
    let call = |name: String| async move { context.client.vms().pause(&name, &Options::default()).await };
    each(context, vms, Verb::new("pause", "paused"), false, call).await
}

pub async fn resume(context: &Context, vms: &[String]) -> Result<(), CliError> {
    let call = |name: String| async move { context.client.vms().resume(&name, &Options::default()).await };
    each(context, vms, Verb::new("resume", "resumed"), false, call).await
}

pub async fn stop(context: &Context, args: &StopArgs) -> Result<(), CliError> {
    let call = |name: String| async move { context.client.vms().stop(&name, &args.request(), &Options::default()).await };
    each(context, &args.vms, Verb::new("stop", "stopped"), false, call).await
}

pub async fn reboot(context: &Context, args: &StopArgs) -> Result<(), CliError> {
    let call = |name: String| async move { context.client.vms().reboot(&name, &args.request(), &Options::default()).await };
    each(context, &args.vms, Verb::new("reboot", "rebooted"), false, call).await
}

pub async fn remove(context: &Context, args: &RemoveArgs) -> Result<(), CliError> {
    each(context, &args.vms, Verb::REMOVE, false, |name| async move {
        if args.force {
            end_first(context, &name).await?;
        }
        context.client.vms().delete(&name, &Options::default()).await
    })
    .await
}

/// Stops a VM that runs; whether it does is the server's answer, not ours.
async fn end_first(context: &Context, name: &str) -> Result<(), ClientError> {
    let vms = context.client.vms();
    let vm = vms.get(name).await?;
    let may = |action: &str| vm.status.actions.iter().any(|other| other == action);
    if may("delete") || !may("stop") {
        return Ok(());
    }
    let stopped: Accepted<Vm> = vms.stop(name, &StopRequest { force: true, deadline_s: None }, &Options::default()).await?;
    match stopped.operation {
        Some(operation) => context.client.follow(&operation, context.timeout, |_seen| {}).await.map(|_ended| ()),
        None => Ok(()),
    }
}
