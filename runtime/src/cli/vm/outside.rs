//! `vm metrics --vmm`: what the VMM and the host count of a VM, whether its guest answers or not.

use super::metrics::MetricsArgs;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::table::Table;
use crate::cli::{output, units};
use api::v1::{VmmDrive, VmmInterface, VmmMetrics};
use std::collections::BTreeMap;

pub async fn run(context: &Context, args: &MetricsArgs, names: &[String]) -> Result<(), CliError> {
    let (mut all, mut failure) = (BTreeMap::new(), None);
    for name in names {
        match context.client.vms().vmm_metrics(name).await {
            Ok(metrics) => drop(all.insert(name.clone(), metrics)),
            Err(error) => {
                let error = context.explain(error, (names.len() > 1).then_some(name));
                failure = Some(CliError::Told(error.report(context.output)));
            }
        }
    }
    match (context.json(), args.vms.as_slice()) {
        (true, [one]) => all.get(one).map_or(Ok(()), output::json)?,
        (true, _) => output::json(&all)?,
        // The error says it all.
        (false, _) if all.is_empty() && failure.is_some() => {}
        (false, _) => {
            output::table(&table(&all))?;
            for (name, metrics) in &all {
                metrics.missing.iter().for_each(|missing| output::note(&format!("vm {name}: not known: {missing}")));
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

/// A line for the process, and one for each device; what is not known is a dash.
fn table(all: &BTreeMap<String, VmmMetrics>) -> Table {
    let mut table = Table::new(&["NAME", "WHAT", "READ/RECEIVED", "WRITTEN/SENT", "COUNT", "THROTTLED", "FAILED", "ALSO"]);
    for (name, metrics) in all {
        let mut line = |what: &str, cells: [String; 6]| {
            let cells = cells.into_iter().map(Into::into);
            table.row([name.as_str().into(), what.into()].into_iter().chain(cells).collect());
        };
        line("process", [dash(), dash(), dash(), dash(), dash(), process(metrics)]);
        for drive in &metrics.drives {
            line(&format!("drive {}", drive.name), self::drive(drive));
        }
        for interface in &metrics.interfaces {
            line(&format!("net {}", interface.name), self::interface(interface));
        }
        if let Some(safety) = &metrics.safety {
            let exits = [
                safety.exits_io_in_total,
                safety.exits_io_out_total,
                safety.exits_mmio_read_total,
                safety.exits_mmio_write_total,
            ];
            let also = format!(
                "{} seccomp faults, {} API failures, exits {} io in, {} io out, {} mmio read, {} mmio write",
                safety.seccomp_faults_total, safety.api_failures_total, exits[0], exits[1], exits[2], exits[3]
            );
            line("vcpus", [dash(), dash(), dash(), dash(), safety.vcpu_failures_total.to_string(), also]);
        }
    }
    table
}

fn process(metrics: &VmmMetrics) -> String {
    let mut also = Vec::new();
    if let Some(process) = &metrics.process {
        also.push(format!("{} resident", units::bytes(process.rss_bytes)));
        also.push(format!("{} s of processor", process.cpu_ms_total / 1000));
        also.push(format!("{} threads", process.threads));
        also.extend(process.oom_kills_total.map(|kills| format!("{kills} killed for memory")));
    }
    also.extend(metrics.balloon_bytes.map(|bytes| format!("balloon {}", units::bytes(bytes))));
    also.join(", ")
}

fn drive(drive: &VmmDrive) -> [String; 6] {
    [
        units::bytes(drive.read_bytes_total),
        units::bytes(drive.written_bytes_total),
        format!("{}/{}", drive.reads_total, drive.writes_total),
        known(drive.throttled_total),
        known(drive.failed_total),
        dash(),
    ]
}

fn interface(interface: &VmmInterface) -> [String; 6] {
    let dropped = interface.received_dropped_total.zip(interface.sent_dropped_total);
    [
        units::bytes(interface.received_bytes_total),
        units::bytes(interface.sent_bytes_total),
        format!("{}/{}", interface.received_packets_total, interface.sent_packets_total),
        known(interface.throttled_total),
        known(interface.refused_total),
        dropped.map_or_else(dash, |(received, sent)| format!("{received}/{sent} dropped")),
    ]
}

fn known(count: Option<u64>) -> String {
    count.map_or_else(dash, |count| count.to_string())
}

fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_a_dash() {
        let drive = VmmDrive { name: "root".into(), written_bytes_total: 4096, writes_total: 1, ..VmmDrive::default() };
        let metrics = VmmMetrics { drives: vec![drive], balloon_bytes: Some(8 << 20), ..VmmMetrics::default() };
        let text = table(&BTreeMap::from([("web".to_owned(), metrics)])).render(None, false);
        let root = text.lines().find(|line| line.contains("drive root")).unwrap();
        assert_eq!(root.split_whitespace().collect::<Vec<_>>(), ["web", "drive", "root", "0B", "4K", "0/1", "-", "-", "-"]);
        assert!(text.contains("balloon 8M") && !text.contains("vcpus"), "{text}");
    }
}
