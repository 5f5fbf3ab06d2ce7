//! `vm metrics`: what VMs use, once or live.

use super::outside;
use crate::cli::context::Context;
use crate::cli::error::{CliError, FAILED};
use crate::cli::style::{wants_colour, width};
use crate::cli::table::Table;
use crate::cli::{output, units};
use api::client::{Client, ClientError, ListQuery};
use api::v1::VmMetrics;
use clap::Args;
use rustix::termios::isatty;
use std::collections::BTreeMap;
use tokio::sync::mpsc;

pub const EXAMPLES: &str = "\
Examples:
  hearth vm metrics demo          one sample
  hearth vm metrics --vmm demo    what the VMM counts of it
  hearth vm top                   the running VMs, one sample each
  hearth vm top -f demo web       live; Ctrl-C ends it";

/// VMs shown at once: each is a connection, and no terminal shows more lines.
const MOST: usize = 100;
/// Samples that wait to be shown.
const QUEUE: usize = 256;

#[derive(Debug, Args)]
pub struct MetricsArgs {
    /// Names or ids [default: those that run, at most 100]
    #[arg(value_name = "VM")]
    pub vms: Vec<String>,
    /// What the VMM and the host count, from outside the guest, which need not answer
    #[arg(long, conflicts_with = "follow")]
    vmm: bool,
    /// Go on, a sample a second
    #[arg(short, long)]
    follow: bool,
}

/// The newest sample and the one before, for rates.
#[derive(Debug, Default, Clone)]
struct Samples {
    newest: VmMetrics,
    before: Option<VmMetrics>,
}

enum Told {
    Sample(String, Box<VmMetrics>),
    Ended(String, Option<ClientError>),
}

pub async fn run(context: &Context, args: &MetricsArgs) -> Result<(), CliError> {
    let names = if args.vms.is_empty() { running(context).await? } else { args.vms.clone() };
    if names.len() > MOST {
        return Err(CliError::Usage {
            detail: format!("{} VMs are too many to watch at once", names.len()),
            hint: "name at most 100",
        });
    }
    if args.vmm {
        return outside::run(context, args, &names).await;
    }
    if args.follow { follow(context, &names).await } else { once(context, args, &names).await }
}

async fn running(context: &Context) -> Result<Vec<String>, CliError> {
    let query = ListQuery { state: Some("running".to_owned()), limit: Some(MOST as u32), ..ListQuery::default() };
    let (vms, _more) = context.client.vms().list(query).collect(MOST).await.map_err(|error| context.explain(error, None))?;
    Ok(vms.into_iter().map(|vm| vm.name).collect())
}

async fn once(context: &Context, args: &MetricsArgs, names: &[String]) -> Result<(), CliError> {
    let mut samples = BTreeMap::new();
    let mut failure = None;
    for name in names {
        match context.client.vms().metrics(name).await {
            Ok(newest) => {
                samples.insert(name.clone(), Samples { newest, before: None });
            }
            Err(error) => {
                let error = context.explain(error, (names.len() > 1).then_some(name));
                failure = Some(CliError::Told(error.report(context.output)));
            }
        }
    }
    match (context.json(), args.vms.as_slice()) {
        (true, [one]) => samples.get(one).map_or(Ok(()), |samples| output::json(&samples.newest))?,
        (true, _) => output::json(&samples.iter().map(|(name, samples)| (name, &samples.newest)).collect::<BTreeMap<_, _>>())?,
        // The error says it all.
        (false, _) if samples.is_empty() && failure.is_some() => {}
        (false, _) => output::table(&table(&samples))?,
    }
    failure.map_or(Ok(()), Err)
}

async fn follow(context: &Context, names: &[String]) -> Result<(), CliError> {
    let (told, mut heard) = mpsc::channel(QUEUE);
    for name in names {
        tokio::spawn(watch(context.client.clone(), name.clone(), told.clone()));
    }
    drop(told);
    let live = isatty(std::io::stdout()) && !context.json();
    let mut samples: BTreeMap<String, Samples> = BTreeMap::new();
    let mut failed = false;
    while let Some(told) = heard.recv().await {
        match told {
            Told::Sample(name, sample) if context.json() => {
                output::json_line(&serde_json::json!({ "vm": name, "metrics": sample }))?;
            }
            Told::Sample(name, sample) => {
                let before = samples.remove(&name).map(|samples| samples.newest);
                samples.insert(name.clone(), Samples { newest: *sample, before });
                if live {
                    let stdout = std::io::stdout();
                    // Home and clear below: the screen does not flicker as it would if it were cleared first.
                    let text = table(&samples).render(width(&stdout), wants_colour(&stdout)).replace('\n', "\x1b[K\n");
                    output::text(&format!("\x1b[H{text}\x1b[J"))?;
                } else {
                    let one = BTreeMap::from([(name.clone(), samples[&name].clone())]);
                    let text = table(&one).render(None, false);
                    output::text(&text[text.find('\n').map_or(0, |end| end + 1)..])?;
                }
            }
            Told::Ended(name, error) => {
                samples.remove(&name);
                if let Some(error) = error {
                    failed = true;
                    context.explain(error, Some(&name)).report(context.output);
                } else {
                    output::note(&format!("vm {name}: no more samples"));
                }
            }
        }
    }
    if failed { Err(CliError::Told(FAILED)) } else { Ok(()) }
}

async fn watch(client: Client, name: String, told: mpsc::Sender<Told>) {
    let error = match client.vm_metrics(&name).await {
        Ok(mut stream) => loop {
            match stream.next().await {
                Ok(Some(sample)) => {
                    if told.send(Told::Sample(name.clone(), Box::new(sample))).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        },
        Err(error) => Some(error),
    };
    // Nobody listens any more: then nobody wants to know.
    let _ = told.send(Told::Ended(name, error)).await;
}

fn table(samples: &BTreeMap<String, Samples>) -> Table {
    let mut table = Table::new(&["NAME", "CPU", "MEMORY", "DISK", "READ", "WRITE", "RECEIVE", "SEND", "LOAD", "PROCS", "UP"]);
    for (name, Samples { newest, before }) in samples {
        let rate = |count: fn(&VmMetrics) -> u64| rate(newest, before.as_ref(), count);
        table.row(vec![
            name.as_str().into(),
            format!("{:.1}%", newest.cpu_percent).into(),
            format!("{}/{}", units::bytes(newest.mem_used_bytes), units::bytes(newest.mem_total_bytes)).into(),
            format!("{}/{}", units::bytes(newest.disk_used_bytes), units::bytes(newest.disk_total_bytes)).into(),
            rate(|sample| sample.disk_read_bytes_total).into(),
            rate(|sample| sample.disk_written_bytes_total).into(),
            rate(|sample| sample.net_received_bytes_total).into(),
            rate(|sample| sample.net_sent_bytes_total).into(),
            format!("{:.2}", newest.load1).into(),
            newest.processes.to_string().into(),
            units::seconds(newest.uptime_s).into(),
        ]);
    }
    table
}

/// Per second since the sample before; without one the whole since the guest's boot.
fn rate(newest: &VmMetrics, before: Option<&VmMetrics>, count: fn(&VmMetrics) -> u64) -> String {
    let Some(before) = before else { return units::bytes(count(newest)) };
    let millis = newest.time_ms.saturating_sub(before.time_ms).max(1);
    // A guest that rebooted counts from zero again.
    let grown = count(newest).saturating_sub(count(before));
    format!("{}/s", units::bytes(u64::try_from(u128::from(grown) * 1000 / u128::from(millis)).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_need_two_samples() {
        let before = VmMetrics { time_ms: 1000, net_sent_bytes_total: 100, ..VmMetrics::default() };
        let newest = VmMetrics { time_ms: 3000, net_sent_bytes_total: 100 + 4096, ..VmMetrics::default() };
        let sent = |sample: &VmMetrics| sample.net_sent_bytes_total;
        assert_eq!(rate(&newest, None, sent), "4.1K");
        assert_eq!(rate(&newest, Some(&before), sent), "2K/s");
        assert_eq!(rate(&before, Some(&newest), sent), "0B/s");
    }
}
