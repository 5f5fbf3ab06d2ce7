//! `vm ls` and `vm get`: VMs as people read them.

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::facts::Facts;
use crate::cli::filter::ListArgs;
use crate::cli::style::of_state;
use crate::cli::table::{Cell, Table};
use crate::cli::{output, units};
use api::v1::{InterfaceStatus, RestartPolicy, Vm, interface};

pub const EXAMPLES: &str = "\
Examples:
  hearth vm ls --state running --label app=web
  hearth vm stop $(hearth vm ls -q --label app=web)";

pub async fn list(context: &Context, args: ListArgs) -> Result<(), CliError> {
    let vms = args.read(context, context.client.vms().list(args.query())).await?;
    if args.quiet {
        return vms.iter().try_for_each(|vm| output::line(&vm.id));
    }
    if context.json() {
        return output::json(&vms);
    }
    output::table(&table(&vms, jiff::Timestamp::now()))
}

fn table(vms: &[Vm], now: jiff::Timestamp) -> Table {
    let mut table = Table::new(&["NAME", "STATE", "IMAGE", "VCPUS", "MEMORY", "IP", "HOST", "AGE"]);
    for vm in vms {
        let state = vm.status.state.as_str();
        table.row(vec![
            vm.name.as_str().into(),
            Cell::coloured(state, of_state(state)),
            vm.spec.image.as_str().into(),
            vm.spec.vcpus.to_string().into(),
            units::mib(u64::from(vm.spec.mem_mib)).into(),
            vm.status.ips.first().map_or("-", String::as_str).into(),
            vm.status.host.as_str().into(),
            units::age(vm.created_at, now).into(),
        ]);
    }
    table
}

pub async fn show(context: &Context, names: &[String]) -> Result<(), CliError> {
    let mut vms = Vec::new();
    for name in names {
        vms.push(
            context.client.vms().get(name).await.map_err(|error| context.explain(error, (names.len() > 1).then_some(name)))?,
        );
    }
    if context.json() {
        return if let [vm] = vms.as_slice() { output::json(vm) } else { output::json(&vms) };
    }
    for (index, vm) in vms.iter().enumerate() {
        facts(vm, jiff::Timestamp::now()).print(index > 0)?;
    }
    Ok(())
}

fn facts(vm: &Vm, now: jiff::Timestamp) -> Facts {
    let (spec, status) = (&vm.spec, &vm.status);
    let mut facts = Facts::new();
    facts.add("name", &vm.name);
    facts.add("id", &vm.id);
    facts.state(status.state.as_str(), status.reason.as_ref());
    facts.maybe("running for", status.started_at.map(|start| units::age(start, now)).as_deref());
    facts.add("image", &spec.image);
    facts.maybe("kernel", spec.kernel.as_deref());
    facts.add("vcpus", &spec.vcpus.to_string());
    facts.add("memory", &units::mib(u64::from(spec.mem_mib)));
    facts.maybe("memory at most", spec.mem_max_mib.map(|mib| units::mib(u64::from(mib))).as_deref());
    facts.maybe("disk", spec.disk_mib.map(units::mib).as_deref());
    for drive in &spec.drives {
        let read_only = if drive.read_only { " read-only" } else { "" };
        facts.add("drive", &format!("{} {}{read_only}", drive.name, units::mib(drive.size_mib)));
    }
    facts.maybe("rate limits", (!spec.rate_limits.is_none()).then(|| spec.rate_limits.words()).as_deref());
    facts.maybe("balloon", (spec.balloon_mib > 0).then(|| units::mib(u64::from(spec.balloon_mib))).as_deref());
    facts.maybe("cpu template", spec.cpu_template.map(api::v1::CpuTemplate::as_str));
    facts.maybe("cmdline", spec.cmdline.as_deref());
    facts.maybe("cloud-init", spec.cloud_init.as_ref().map(api::v1::CloudInit::words).as_deref());
    facts.maybe("metadata", spec.metadata.as_ref().map(|all| all.keys().cloned().collect::<Vec<_>>().join(" ")).as_deref());
    facts.add("restart", restart(spec.restart));
    facts.add("restarts", &status.restarts.to_string());
    facts.add("host", &status.host);
    if let Some(vmm) = &status.vmm {
        facts.add("vmm", &format!("{} {} (pid {})", vmm.driver, vmm.version, vmm.pid));
        facts.maybe("confined", vmm.confinement.as_ref().map(api::v1::Confinement::words).as_deref());
    }
    facts.add("networks", &interface::words(&vm.spec.networks, &vm.status.interfaces).unwrap_or_else(|| "none".to_owned()));
    facts.maybe("ip", (!status.ips.is_empty()).then(|| status.ips.join(" ")).as_deref());
    match status.interfaces.as_slice() {
        // One says nothing that the address and the MAC do not.
        [] | [_] => facts.maybe("mac", status.mac.as_deref()),
        several => {
            for (place, InterfaceStatus { network, address, mac }) in several.iter().enumerate() {
                facts.add("interface", &format!("eth{place} {address} {mac} {network}"));
            }
        }
    }
    facts.maybe("no network", status.network_problem.as_deref());
    if let Some(agent) = &status.agent {
        let connected = if agent.connected { "connected" } else { "not connected" };
        facts.add("agent", &format!("{connected}, version {}, seen {} ago", agent.version, units::age(agent.last_seen, now)));
        facts.add("guest", &agent.kernel);
    }
    facts.labels(&vm.labels);
    facts.maybe("operation", status.operation.as_deref());
    facts.add("can", &status.actions.join(" "));
    facts.add("created", &vm.created_at.to_string());
    facts.add("updated", &vm.updated_at.to_string());
    facts
}

fn restart(policy: RestartPolicy) -> &'static str {
    match policy {
        RestartPolicy::Never => "never",
        RestartPolicy::OnFailure => "on-failure",
        RestartPolicy::Always => "always",
    }
}
