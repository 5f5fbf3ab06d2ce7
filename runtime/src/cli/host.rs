//! `hearth host …`.

use super::change::{self, Verb};
use super::context::Context;
use super::error::CliError;
use super::facts::Facts;
use super::filter::ListArgs;
use super::style::of_state;
use super::table::{Cell, Table};
use super::{output, units};
use api::client::Options;
use api::v1::Host;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum HostCommand {
    /// List hosts
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Show hosts in full
    #[command(visible_alias = "show")]
    Get {
        /// Names or ids
        #[arg(required = true, value_name = "HOST")]
        hosts: Vec<String>,
    },
    /// Place no new VMs there; those that are there go on
    Cordon {
        /// Names or ids
        #[arg(required = true, value_name = "HOST")]
        hosts: Vec<String>,
    },
    /// Place new VMs there again
    Uncordon {
        /// Names or ids
        #[arg(required = true, value_name = "HOST")]
        hosts: Vec<String>,
    },
}

pub async fn run(context: &Context, command: HostCommand) -> Result<(), CliError> {
    let hosts = context.client.hosts();
    match command {
        HostCommand::Ls(args) => {
            let items = args.read(context, hosts.list(args.query())).await?;
            list(context, &args, &items)
        }
        HostCommand::Get { hosts: names } => {
            let mut found = Vec::new();
            for name in &names {
                found.push(hosts.get(name).await.map_err(|error| context.explain(error, (names.len() > 1).then_some(name)))?);
            }
            show(context, &found)
        }
        HostCommand::Cordon { hosts: names } => {
            change::each(context, &names, Verb::new("cordon", "cordoned"), false, |name| async move {
                context.client.hosts().cordon(&name, &Options::default()).await
            })
            .await
        }
        HostCommand::Uncordon { hosts: names } => {
            change::each(context, &names, Verb::new("uncordon", "uncordoned"), false, |name| async move {
                context.client.hosts().uncordon(&name, &Options::default()).await
            })
            .await
        }
    }
}

fn list(context: &Context, args: &ListArgs, hosts: &[Host]) -> Result<(), CliError> {
    if args.quiet {
        return hosts.iter().try_for_each(|host| output::line(&host.id));
    }
    if context.json() {
        return output::json(&hosts);
    }
    let mut table = Table::new(&["NAME", "STATE", "VMM", "VMS", "VCPUS", "MEMORY", "PROBLEMS"]);
    for host in hosts {
        let status = &host.status;
        let state = status.state.as_str();
        let state_text = if host.spec.cordoned { format!("{state}, cordoned") } else { state.to_owned() };
        table.row(vec![
            host.name.as_str().into(),
            Cell::coloured(&state_text, of_state(state)),
            format!("{} ({})", status.vmm, status.acceleration).into(),
            status.vms.to_string().into(),
            format!("{}/{}", status.held_vcpus, status.vm_vcpus).into(),
            format!("{}/{}", units::mib(status.held_mem_mib), units::mib(status.vm_mem_mib)).into(),
            status.problems.join("; ").into(),
        ]);
    }
    output::table(&table)
}

fn show(context: &Context, hosts: &[Host]) -> Result<(), CliError> {
    if context.json() {
        return if let [host] = hosts { output::json(host) } else { output::json(&hosts) };
    }
    for (index, host) in hosts.iter().enumerate() {
        let status = &host.status;
        let mut facts = Facts::new();
        facts.add("name", &host.name);
        facts.add("id", &host.id);
        facts.state(status.state.as_str(), None);
        facts.add("cordoned", if host.spec.cordoned { "yes" } else { "no" });
        facts.add("hostname", &status.hostname);
        facts.add("kernel", &format!("{} {}", status.kernel, status.architecture));
        facts.add("cpu", &format!("{} x {}", status.cpus, status.cpu_model));
        facts.add("memory", &units::mib(status.mem_mib));
        facts.add("vmm", &format!("{} {} ({})", status.vmm, status.vmm_version, status.acceleration));
        facts.add("vmm reason", &status.vmm_reason);
        let (can, can_not) = (status.capabilities.words(true), status.capabilities.words(false));
        facts.add("can", &can);
        facts.add("can not", &can_not);
        facts.add("vms", &status.vms.to_string());
        facts.add("held vcpus", &format!("{} of {}", status.held_vcpus, status.vm_vcpus));
        facts.add("held memory", &format!("{} of {}", units::mib(status.held_mem_mib), units::mib(status.vm_mem_mib)));
        facts.maybe("no network", status.network_problem.as_deref());
        for problem in &status.problems {
            facts.add("problem", problem);
        }
        facts.labels(&host.labels);
        facts.add("hearth", &status.hearth_version);
        facts.print(index > 0)?;
    }
    Ok(())
}
