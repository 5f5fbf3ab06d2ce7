//! `vm start|stop|pause|resume|reboot|rm`.

use crate::cli::change::{Verb, each};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::units::parse_duration;
use api::client::Options;
use api::v1::StopRequest;
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
        context.client.vms().delete(&name, args.force, &Options::default()).await
    })
    .await
}
